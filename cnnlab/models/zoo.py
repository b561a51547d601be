"""Layer kind for a whole torchvision network, fitted to the data's classes, channels and image size."""

from typing import Any

from torch import nn

from cnnlab.models.kinds import layer
from cnnlab.models.merges import Shape
from cnnlab.registry import hint

SMALL = 64  # pixels; images below are small
AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}  # auxiliary classifiers


@layer()
def torchvision(
    shape: Shape, num_classes: int, arch: str, weights: str | None = None, small_stem: bool | None = None
) -> nn.Module:
    """Run a whole torchvision network, its input and output fitted to the data's channels and classes.

    It is one closed layer: nothing inside can be removed, resized or inspected. alexnet_torchvision, vgg11, vgg16,
    vgg19, googlenet, squeezenet, resnet18, resnet34 and resnet50 have the same parameters in separate layers.

    Args:
        arch: its name in torchvision, such as resnet18.
        weights: pretrained weights to download, such as DEFAULT; by default none.
        small_stem: replace a first convolution with stride, and the pool behind it, by a 3x3 convolution without; by
            default for images below 64 pixels.

    Raises:
        ValueError: there is no such network.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if arch not in known:
        raise ValueError(f'torchvision has no classifier "{arch}"{hint(arch, known)}')
    extra: dict[str, Any] = {"init_weights": True} if arch in AUXILIARY and weights is None else {}
    net: nn.Module = models.get_model(arch, weights=weights, **extra)
    for name in AUXILIARY.get(arch, ()):  # unused by the loss, so that DDP would wait for their gradients
        net.aux_logits = False  # type: ignore[assignment]
        setattr(net, name, None)
    net.register_load_state_dict_pre_hook(_former_names)
    _fit_output(net, num_classes)
    _fit_input(net, shape[0], min(shape[1:]) < SMALL if small_stem is None else small_stem)
    return net


def _former_names(net: nn.Module, state: dict[str, Any], prefix: str, *others: Any) -> None:
    """Rename keys of checkpoints of earlier versions, in which the network was a child `net` of its layer."""
    for key in [key for key in state if key.startswith(f"{prefix}net.")]:
        state[prefix + key.removeprefix(f"{prefix}net.")] = state.pop(key)


def _fit_output(net: nn.Module, num_classes: int) -> None:
    name, last = [(n, m) for n, m in net.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
    if isinstance(last, nn.Linear):
        new: nn.Module = nn.Linear(last.in_features, num_classes, last.bias is not None)
    else:  # squeezenet ends in a convolution
        new = nn.Conv2d(last.in_channels, num_classes, 1)
    net.set_submodule(name, new)


def _fit_input(net: nn.Module, channels: int, small: bool) -> None:
    name, first = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    strided = small and max(first.stride) > 1
    if first.in_channels == channels and not strided:
        return
    kernel, stride, padding = (3, 1, 1) if strided else (first.kernel_size, first.stride, first.padding)
    new = nn.Conv2d(channels, first.out_channels, kernel, stride, padding, bias=first.bias is not None)  # type: ignore[arg-type]
    net.set_submodule(name, new)
    pools = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.MaxPool2d)]
    if strided and pools and max(first.kernel_size) > 3:  # a ResNet stem: 7x7 with stride 2, then a pool
        net.set_submodule(pools[0][0], nn.Identity())
