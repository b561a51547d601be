"""The networks of the yardsticks, written by hand."""

from torch import nn


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def alexnet_cifar() -> nn.Module:
    def conv(i: int, o: int, k: int) -> list[nn.Module]:
        return [nn.Conv2d(i, o, k, padding=k // 2), nn.BatchNorm2d(o), nn.ReLU()]

    def dense(i: int, o: int) -> list[nn.Module]:
        return [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU()]

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, 1)

    return nn.Sequential(
        *conv(3, 32, 5), pool(), *conv(32, 96, 3), pool(), *conv(96, 160, 3), *conv(160, 160, 3), *conv(160, 128, 3),
        pool(), nn.Flatten(), *dense(2048, 256), *dense(256, 256), nn.Linear(256, 10),
    )  # fmt: skip
