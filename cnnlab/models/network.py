"""An ordered mapping of named layers becomes a module whose children carry these names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.models.arrangement import Spec, arrange, remove_layers
from cnnlab.models.initialisation import drawn_parts, layer_rng
from cnnlab.models.modules import Whiten2d
from cnnlab.models.table import Reach, Row, measure
from cnnlab.models.units import MODEL_WIDE, SIZES_OF_WIDTH, complete_spec, make_unit, takes

# what torch and Python raise where an option or a shape does not fit
REFUSALS = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AttributeError)


class Normalise(nn.Module):
    """Normalise images to zero mean and unit standard deviation a channel.

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
        arranged = arrange(model["layers"])
        refuse_unused(model, arranged)
        layers, self.removed = remove_layers(arranged, model.get("remove") or [])
        shape, reach = tuple(input_shape), Reach.start(input_shape)
        for name, spec in layers.items():
            try:
                complete = complete_spec(spec, model, num_classes)
                with torch.device("meta"):
                    row, reach = measure(name, spec["kind"], make_unit(complete, shape), shape, reach)
                    if row.note and model.get("strict_sizes"):
                        raise ValueError(row.note)
                with layer_rng(seed, name):
                    unit = make_unit(complete, shape)
                if spec.get("init") and not drawn_parts(unit):
                    raise ValueError(f"init={spec['init']}: kind {spec['kind']} has no weights that it could draw")
                self.add_module(name, unit)
            except REFUSALS as error:
                message = f"{name}: {_one_line(error)}"
                raise ValueError(message + self._cause(message, name, model, input_shape, num_classes)) from error
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

    def _cause(
        self, message: str, name: str, model: Mapping[str, Any], input_shape: Sequence[int], num_classes: int
    ) -> str:
        """Name the removals before a layer that fails, unless it fails the same way with nothing removed."""
        order = list(arrange(model["layers"]))
        before = [r for r in self.removed if order.index(r) < order.index(name)]
        if not before:
            return ""
        try:
            with torch.device("meta"):
                Network({**model, "remove": []}, input_shape, num_classes)
        except ValueError as error:
            if str(error) == message:
                return ""
        return f" (after removing {', '.join(before)})"


def refuse_unused(model: Mapping[str, Any], layers: Mapping[str, Spec]) -> None:
    """Refuse a model-wide choice that no layer takes, before any is removed.

    Raises:
        ValueError: names it.
    """
    name = model.get("name", "the network")
    specs = list(layers.values())
    for layer, spec in layers.items():
        specs += arrange(spec["layers"], f"{layer}.layers").values() if "layers" in spec else []
    for key in MODEL_WIDE:
        if model.get(key) and not any(takes(spec, key) for spec in specs):
            units = "dense unit" if key == "dropout" else "unit"
            raise ValueError(f"model.{key}={model[key]} changes nothing: {name} has no {units} that takes it")
    sized = any(size in spec for spec in specs for size in SIZES_OF_WIDTH)
    if model.get("width", 1) != 1 and not sized:
        raise ValueError(f"model.width={model['width']} changes nothing: {name} has no channels or features to widen")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).strip().split("\n")[0].split())
