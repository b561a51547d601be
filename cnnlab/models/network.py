"""An ordered mapping of named layers becomes a module whose children carry these names."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.models.initialisation import layer_rng
from cnnlab.models.layers import KINDS
from cnnlab.models.modules import Whiten2d
from cnnlab.models.table import Reach, Row, measure
from cnnlab.models.units import Spec, complete_spec, make_unit
from cnnlab.names import hint, pick


class Normalise(nn.Module):
    """Images to zero mean and unit deviation a channel.

    Takes (N, C, H, W) bytes, 0 to 255, or floats, 0 to 1; `mean` and `std` are on the scale 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Floats of the same shape, in the memory format that convolutions are fastest in."""
        scale = 255 if images.dtype == torch.uint8 else 1
        floats = images.to(self.mean.dtype, memory_format=torch.channels_last, copy=True)
        return floats.sub_(self.mean * scale).div_(self.std * scale)


class Network(nn.Sequential):
    """A network from its description.

    Args:
        model: what a `conf/model/*.yaml` says, as a plain mapping.
        input_shape: of one image, (channels, height, width).
        num_classes: what a layer of kind classifier gives.
        mean, std: per channel on the scale 0 to 1; the first child, `input`, then normalises, and the network takes
            bytes. Without them it takes floats as they are.
        seed: with each layer's name, decides its initial weights.

    Children are named as the layers are; `table` holds a Row for each. Built under `torch.device("meta")` it takes no
    memory.

    Raises:
        ValueError: names the layer, the shape that reached it, and the removal that caused it.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        input_shape: Sequence[int],
        num_classes: int,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if mean is not None and std is not None:
            self.input = Normalise(mean, std)
        self.table: list[Row] = []
        self.reaches: dict[str, Reach] = {}  # where in the image a value of a layer looks
        layers, self.removed = remove_layers(arrange(model["layers"]), model.get("remove") or [])
        shape, reach = tuple(input_shape), Reach.start(input_shape)
        for name, spec in layers.items():
            complete = complete_spec(spec, model, num_classes)
            try:
                with torch.device("meta"):
                    row, reach = measure(name, spec["kind"], make_unit(complete, shape), shape, reach)
                    if row.note and model.get("strict_sizes"):
                        raise ValueError(row.note)
                with layer_rng(seed, name):
                    self.add_module(name, make_unit(complete, shape))
            except (ValueError, TypeError, RuntimeError, KeyError, OverflowError) as error:
                raise ValueError(f"{name}: {_one_line(error)}{self._cause(layers, name, model['layers'])}") from error
            self.table.append(row)
            self.reaches[name] = reach
            shape = row.output_shape
        if shape != (num_classes,):
            last = list(layers)[-1] if layers else "nothing"
            raise ValueError(
                f"the network ends in {last} with {'x'.join(map(str, shape))} values where the data has "
                f"{num_classes} classes; let it end in a layer of kind classifier"
            )

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(row.macs for row in self.table)

    @torch.no_grad()
    def fit_to(self, images: Tensor) -> None:
        """Set what training images decide before the training: the filters of whitening layers.

        Args:
            images: (N, C, H, W) as the network takes them; a few thousand are enough.
        """
        layers = list(self.children())
        whitening = [i for i, layer in enumerate(layers) if any(isinstance(m, Whiten2d) for m in layer.children())]
        values, training = images, self.training
        self.eval()
        for layer in layers[: whitening[-1] + 1] if whitening else []:
            for module in layer.children():
                if isinstance(module, Whiten2d):
                    module.fit(values)
            values = layer(values)
        self.train(training)

    def _cause(self, layers: Mapping[str, Spec], name: str, written: Mapping[str, Any]) -> str:
        """The removals that came before a layer, for the message that it does not fit."""
        order = list(arrange(written))
        before = [r for r in self.removed if order.index(r) < order.index(name)]
        return f" (after removing {', '.join(before)})" if before else ""


def arrange(layers: Mapping[str, Any]) -> dict[str, Spec]:
    """The layers in their order: as written, those with `after` moved behind the layer they name ("input": first).

    Raises:
        ValueError: a name that cannot be a module's, a layer without kind, an unknown anchor.
    """
    if not isinstance(layers, Mapping):
        raise ValueError(f"model.layers is a mapping of names to layers, not {layers!r}")
    specs: dict[str, Spec] = {}
    for name, spec in layers.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or name == "input" or hasattr(nn.Sequential, name):
            raise ValueError(f'a layer cannot be called "{name}"; take letters, digits and _, and no name torch has')
        if spec is None:  # model.layers.conv2=null
            continue
        if not isinstance(spec, Mapping) or "kind" not in spec:
            raise ValueError(
                f"{name}: a layer is a mapping with a kind, such as {{kind: conv, channels: 6, kernel_size: 5}}"
            )
        pick(KINDS, spec["kind"], f"kind of {name}")
        specs[name] = dict(spec)
    order = [name for name, spec in specs.items() if "after" not in spec]
    waiting = {name: spec.pop("after") for name, spec in specs.items() if "after" in spec}
    for name, anchor in reversed(waiting.items()):  # so that the first written stands first behind a shared anchor
        if anchor not in (*specs, "input"):
            raise ValueError(f'{name}: there is no layer "{anchor}" to come after{hint(anchor, specs)}')
        if anchor in waiting:
            raise ValueError(f"{name}: {anchor} is itself inserted; name the layer both come after")
        order.insert(0 if anchor == "input" else order.index(anchor) + 1, name)
    return {name: specs[name] for name in order}


def remove_layers(layers: Mapping[str, Spec], patterns: Sequence[str] | str) -> tuple[dict[str, Spec], list[str]]:
    """What is left without the layers that match a name or glob, and the names that went.

    Raises:
        ValueError: a pattern that matches nothing, or the classifier.
    """
    if not isinstance(patterns, (str, list, tuple)):
        raise ValueError(f"model.remove is a list of names, such as [conv2], not {patterns!r}")
    patterns = [patterns] if isinstance(patterns, str) else [str(p) for p in patterns]
    for pattern in patterns:
        matched = [name for name in layers if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(f'model.remove: no layer is called "{pattern}"{hint(pattern, layers)}')
        if heads := [name for name in matched if "num_classes" in KINDS[layers[name]["kind"]].options]:
            raise ValueError(f'model.remove: "{pattern}" takes {heads[0]}, which gives the classes and has to stay')
    removed = [name for name in layers if any(fnmatchcase(name, p) for p in patterns)]
    return {name: spec for name, spec in layers.items() if name not in removed}, removed


def _one_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
