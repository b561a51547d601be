"""Extend torch.optim: options by parameter name, weight decay for weights alone, schedules in epochs."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from math import cos, floor, pi
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from cnnlab.config.identity import Config
from cnnlab.config.targets import target
from cnnlab.registry import check_options, hint


def decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return two parameter groups: weights, with the optimizer's weight decay, and biases and norms, without."""
    trained = [p for p in module.parameters() if p.requires_grad]
    weights = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    return [g for g in ({"params": weights}, {"params": others, "weight_decay": 0.0}) if g["params"]]


def optimizer_target(config: Config) -> Callable[..., torch.optim.Optimizer]:
    """Return the factory that makes a config's optimizer from parameter groups; `groups` is not passed to it."""
    node = config["optimizer"]
    own = {k: v for k, v in node.items() if k != "groups"} if isinstance(node, Mapping) else node
    return target(own, torch.optim.Optimizer, config["trusted_modules"])


def optimizer_of(
    make: Callable[..., torch.optim.Optimizer], network: nn.Module, own: Mapping[str, Mapping[str, float]] | None
) -> torch.optim.Optimizer:
    """Make the optimizer of a network, with options of their own for some parameters.

    Args:
        make: makes the optimizer from parameter groups; keyword options apply to all of them.
        network: whose parameters are trained.
        own: options by parameter name or glob, {"head.*": {"lr_factor": 2, "weight_decay": 0}}; of several matches,
            the last counts. `lr_factor` multiplies the learning rate throughout the schedule; the others are numeric
            options of the optimizer.

    Raises:
        ValueError: a name that matches nothing, an unknown option, or a value that is not a number or out of range.
    """
    if not own:
        return make(decay_groups(network))
    optimizer = make(_own_groups(network, own))
    numbers = {k: v for k, v in optimizer.defaults.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for pattern, options in own.items():
        check_options(f"groups.{pattern}", options, {"lr_factor": 1.0, **numbers})
        if isinstance(factor := options.get("lr_factor", 1.0), (list, tuple)) or not factor >= 0:
            raise ValueError(f"groups.{pattern}: lr_factor is a number of at least 0, not {factor!r}")
        make(decay_groups(network), **{k: v for k, v in options.items() if k != "lr_factor"})  # checks the values
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_factor", 1)
    return optimizer


def _own_groups(network: nn.Module, own: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Split `decay_groups` by options; groups without `lr_factor` come first: the first group's rate is logged."""
    names = {p: name for name, p in network.named_parameters() if p.requires_grad}
    if not isinstance(own, Mapping):
        raise ValueError(f"groups is a mapping of parameter names to options, not {own!r}")
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    for pattern, options in own.items():
        if not any(fnmatchcase(name, pattern) for name in names.values()):
            if any(fnmatchcase(name, pattern) for name in frozen):
                raise ValueError(f'groups: what is called "{pattern}" is not trained; see model.freeze')
            layers = dict.fromkeys(f"{name.partition('.')[0]}.*" for name in names.values())
            raise ValueError(f'groups: no parameter is called "{pattern}"{hint(pattern, layers)}')
        if not isinstance(options, Mapping):
            raise ValueError(f"groups.{pattern} is a mapping of options, such as {{lr_factor: 2}}, not {options!r}")
    split: dict[str, dict[str, Any]] = {}
    for group in decay_groups(network):
        for parameter in group["params"]:
            options = {k: v for k, v in group.items() if k != "params"}
            for pattern, given in own.items():
                if fnmatchcase(names[parameter], pattern):
                    options |= given
            split.setdefault(str(sorted(options.items())), {**options, "params": []})["params"].append(parameter)
    return sorted(split.values(), key=lambda group: "lr_factor" in group)


class Schedule(LambdaLR):
    """Multiply the initial learning rate by a factor that is updated at every step.

    Args:
        optimizer: whose groups are scheduled.
        epochs: length of the training.
        steps_per_epoch: optimizer steps in an epoch.
        warmup_epochs: epochs over which the factor is also ramped up linearly from almost 0; fractions are allowed.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, epochs: float, steps_per_epoch: float, warmup_epochs: float = 0.0
    ) -> None:
        if not 0 <= warmup_epochs <= epochs:
            raise ValueError(f"scheduler.warmup_epochs={warmup_epochs} of {epochs} epochs")
        self.epochs = epochs
        warmup_steps = warmup_epochs * steps_per_epoch

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
            return warm * self.factor(step / steps_per_epoch)

        super().__init__(optimizer, factor)

    def factor(self, epoch: float) -> float:
        """Return the factor at a time in epochs since the start."""
        raise NotImplementedError


class Constant(Schedule):
    """Keep the factor at 1."""

    def factor(self, epoch: float) -> float:
        """Return 1."""
        return 1.0


class Step(Schedule):
    """Multiply by `gamma` every `every` epochs.

    Args:
        every: epochs between two multiplications.
        gamma: factor of each multiplication.
    """

    def __init__(self, *args: Any, every: int = 10, gamma: float = 0.1, **kwargs: Any) -> None:
        if every < 1:
            raise ValueError(f"scheduler.every must be at least 1 epoch, not {every}")
        self.every, self.gamma = every, gamma
        super().__init__(*args, **kwargs)

    def factor(self, epoch: float) -> float:
        """Return gamma ^ floor(epoch / every)."""
        return float(self.gamma ** (floor(epoch) // self.every))


class Exponential(Schedule):
    """Multiply by `gamma` every epoch.

    Args:
        gamma: factor of each multiplication.
    """

    def __init__(self, *args: Any, gamma: float = 0.9, **kwargs: Any) -> None:
        self.gamma = gamma
        super().__init__(*args, **kwargs)

    def factor(self, epoch: float) -> float:
        """Return gamma ^ floor(epoch)."""
        return float(self.gamma ** floor(epoch))


class Cosine(Schedule):
    """Follow half a cosine from 1 to `final` (Loshchilov & Hutter 2017, without restarts).

    Args:
        final: factor at the end.
    """

    def __init__(self, *args: Any, final: float = 0.0, **kwargs: Any) -> None:
        self.final = final
        super().__init__(*args, **kwargs)

    def factor(self, epoch: float) -> float:
        """Return the factor on the half cosine from 1 to `final`."""
        return _between(1.0, self.final, epoch / self.epochs)


class OneCycle(Schedule):
    """Go up from `start` to 1 until the share `peak` of the training, then down to `final` (Smith & Topin 2018).

    Args:
        peak: share of the training during which the factor rises.
        start: factor at the start.
        final: factor at the end.
    """

    def __init__(
        self, *args: Any, peak: float = 0.25, start: float = 0.04, final: float = 0.0001, **kwargs: Any
    ) -> None:
        if not 0 < peak < 1:
            raise ValueError(f"scheduler.peak is a share of the training between 0 and 1, not {peak}")
        self.peak, self.start, self.final = peak, start, final
        super().__init__(*args, **kwargs)

    def factor(self, epoch: float) -> float:
        """Return the factor, on half cosines from `start` to 1 to `final`."""
        share = epoch / self.epochs
        if share < self.peak:
            return _between(self.start, 1.0, share / self.peak)
        return _between(1.0, self.final, (share - self.peak) / (1 - self.peak))


def schedule(
    make: Callable[..., LRScheduler], optimizer: torch.optim.Optimizer, epochs: int, steps_per_epoch: float
) -> dict[str, Any]:
    """Make a schedule in Lightning's format: cnnlab's are updated every step, torch's every epoch, as documented.

    Args:
        make: a scheduler class, a functools.partial of one, or a callable that makes one.
        optimizer, epochs, steps_per_epoch: as in Schedule.
    """
    kind: Any = getattr(make, "func", make)
    if isinstance(kind, type) and issubclass(kind, Schedule):
        return {"scheduler": make(optimizer, epochs, steps_per_epoch), "interval": "step"}
    made = make(optimizer)
    watched = {"monitor": "val/loss"} if isinstance(made, torch.optim.lr_scheduler.ReduceLROnPlateau) else {}
    return {"scheduler": made, "interval": "epoch", **watched}


def _between(first: float, last: float, share: float) -> float:
    """Interpolate on a half cosine; `share` is 0 at `first` and 1 at `last`."""
    return last + (first - last) * (1 + cos(pi * min(share, 1.0))) / 2
