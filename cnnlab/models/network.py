"""Build a network from a model config: an ordered mapping of named layers becomes a module with these children."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from cnnlab.models.arrangement import Spec, arrange, as_patterns, matching, remove_layers
from cnnlab.models.conv_modules import Local, Whiten2d
from cnnlab.models.hooks import watch
from cnnlab.models.initialisation import drawn_parts, layer_rng
from cnnlab.models.layers import KINDS
from cnnlab.models.merges import refuse_misfit, repair, show
from cnnlab.models.table import Reach, Row, measure
from cnnlab.models.units import MODEL_WIDE, SIZES_OF_WIDTH, complete_spec, make_unit, takes

# raised by torch and Python where an option or a shape does not fit
REFUSALS = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AttributeError)


class Normalise(nn.Module):
    """Normalise inputs to zero mean and unit standard deviation per channel.

    Takes (N, C, ...) bytes, 0 to 255, or floats; `mean` and `std` are on the scale of the floats, 0 to 1 for images.

    Args:
        mean, std: per channel.
        axes: number of axes behind the channels; 2 for images, 0 for points.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], axes: int = 2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, *[1] * axes))
        self.register_buffer("std", torch.tensor(std).view(-1, *[1] * axes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return floats of the same shape, in the memory format in which convolutions are fastest."""
        scale = 255 if inputs.dtype == torch.uint8 else 1
        order = torch.channels_last if inputs.ndim == 4 else torch.contiguous_format
        floats = inputs.to(self.mean.dtype, memory_format=order, copy=True)
        return floats.sub_(self.mean * scale).div_(self.std * scale)


class Network(nn.Sequential):
    """A network built from a model config: each layer reads the one before it, or those that its `from` names.

    Args:
        model: the content of a `conf/model/*.yaml` as a plain mapping.
        input_shape: of one example: (channels, height, width) for images; or channels and one or three axes.
        num_classes: number of outputs of a layer of kind classifier.
        vocabulary: the words in the order of their ids, where examples are sentences.
        mean, std: per channel; a first child, `input`, then normalises, and the network takes bytes too. Without them
            it takes floats, or word ids, as they are.
        seed: decides a layer's initial weights, together with the layer's name.

    Children have the names of the layers; `table` holds a Row for each. Layers that `model.freeze` names are not
    trained: their parameters need no gradient, and they stay in evaluation mode, which keeps their batch statistics.
    Built under `torch.device("meta")` it takes no memory.

    Raises:
        ValueError: names the layer, the shape that reached it, and the removal that caused it.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        input_shape: Sequence[int],
        num_classes: int,
        vocabulary: Sequence[str] = (),
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if mean and std:
            self.input = Normalise(mean, std, len(input_shape) - 1)
        self.vocabulary = tuple(vocabulary)
        self.table: list[Row] = []
        self.shapes = {"input": tuple(input_shape)}  # output shape of each layer, without the batch axis
        self.reaches = {"input": Reach.start(input_shape)}  # receptive field of each layer's values
        arranged = arrange(model["layers"])
        refuse_unused(model, arranged)
        layers, self.removed = remove_layers(arranged, model.get("remove") or [])
        self._freeze = as_patterns(model.get("freeze") or [], "model.freeze")
        for name, spec in layers.items():
            try:
                complete = complete_spec(spec, model, num_classes, len(self.vocabulary))
                projections = repair(name, complete, self.shapes) if model.get("repair") else {}
                for projection, own_spec in projections.items():
                    self._append(projection, complete_spec(own_spec, {**model, "width": 1}, num_classes), model, seed)
                self._append(name, complete, model, seed)
                given = isinstance(spec.get("weights"), (list, tuple))
                if spec.get("init") and (given or not drawn_parts(self.get_submodule(name))):
                    raise ValueError(f"init={spec['init']}: kind {spec['kind']} has no weights that it could draw")
            except REFUSALS as error:
                message = f"{name}: {_one_line(error)}"
                cause = self._cause(message, name, model, input_shape, num_classes, vocabulary)
                raise ValueError(message + cause) from error
        last, shape = list(self.shapes.items())[-1]
        if shape != (num_classes,):
            raise ValueError(
                f"the network ends in {last if layers else 'nothing'} with {show(shape)} values where the data has "
                f"{num_classes} classes; let it end in a layer of kind classifier"
            )
        built = (row.name for row in self.table)  # model.freeze may name projections and removed layers
        matching(dict.fromkeys([*arranged, *built]), self._freeze, "model.freeze")
        if self.frozen and not any(p.requires_grad for p in self.parameters()):
            raise ValueError(f"model.freeze=[{','.join(self._freeze)}] leaves nothing to train; freeze fewer layers")
        self._steps = _steps(self.table)

    def _append(self, name: str, spec: Spec, model: Mapping[str, Any], seed: int) -> None:
        """Build a layer behind the existing ones and add its row to the table."""
        shapes = {source: self.shapes[source] for source in spec["from"]}
        if self.vocabulary and "input" in shapes and not KINDS[spec["kind"]].reads_words:
            raise ValueError("reads ids of words, which are no quantities; let a layer of kind embedding come first")
        if len(shapes) > 1:
            refuse_misfit(name, spec["kind"], shapes)
        with torch.device("meta"):
            unit = make_unit(spec, list(shapes.values()))
            row, self.reaches[name] = measure(name, spec["kind"], unit, shapes, self.reaches)
        if row.note and model.get("strict_sizes"):
            raise ValueError(row.note)
        if torch.get_default_device().type == "meta":
            unit.train()  # `measure` leaves it in evaluation mode
        else:
            with layer_rng(seed, name):
                unit = make_unit(spec, list(shapes.values()))
        if matching([name], self._freeze):
            unit.requires_grad_(False).eval()
            row = replace(row, params=0, frozen=row.params)
        self.add_module(name, unit)
        self.table.append(row)
        self.shapes[name] = row.output_shape

    def example(self, count: int = 1, device: torch.device | str = "cpu") -> Tensor:
        """Return inputs (count, ...) of zeros, in the dtype of the data."""
        dtype = torch.int64 if self.vocabulary else torch.uint8
        return torch.zeros(count, *self.shapes["input"], dtype=dtype, device=device)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (N, num_classes) of inputs (N, ...), such as images (N, C, H, W)."""
        if self._steps is None:
            logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
            return logits
        values = {"input": self.input(images) if "input" in self._modules else images}
        for name, sources, unneeded in self._steps:
            values[name] = self.get_submodule(name)(*[values[source] for source in sources])
            for source in unneeded:
                del values[source]
        return values[name]

    def channels_last(self) -> Self:
        """Store 2-D filters in the channels_last memory format, which is faster on CPU and GPU."""
        for module in self.modules():
            for values in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if values.ndim == 4 and not isinstance(module, Local):
                    values.data = values.data.to(memory_format=torch.channels_last)
        return self

    def walk(self, images: Tensor) -> Iterator[tuple[str, list[Tensor], Tensor]]:
        """Compute layer by layer; yield the name of each, its inputs, and its output.

        Every reader gets its own view of a value, so that gradients can be taken for each reader separately.
        """
        reads = {"input": ("input",), **{row.name: row.sources for row in self.table}}
        values = {"input": images}
        for name, layer in self.named_children():
            read = [values[source].view_as(values[source]) for source in reads[name]]
            values[name] = layer(*read)
            yield name, read, values[name]

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    @property
    def frozen(self) -> list[str]:
        """Return the names of the layers that are not trained."""
        return [row.name for row in self.table if row.frozen is not None]

    @property
    def params(self) -> int:
        """Return the number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def macs(self) -> int:
        """Return the number of multiply-adds for one example."""
        return sum(row.macs for row in self.table)

    @torch.no_grad()
    def fit_to(self, images: Tensor) -> None:
        """Fit the filters of whitening layers to training images, before the training.

        Args:
            images: (N, C, H, W) as the network takes them; a few thousand are enough.
        """
        whitening = {name: m for name, m in self.named_modules() if isinstance(m, Whiten2d)}
        if not whitening:
            return
        last, training = list(whitening)[-1].partition(".")[0], self.training
        self.eval()
        with watch(whitening, lambda name, inputs: whitening[name].fit(*inputs), before=True):
            for name, _, _ in self.walk(images):
                if name == last:
                    break
        self.train(training)

    def _cause(self, message: str, name: str, model: Mapping[str, Any], *facts: Any) -> str:
        """Name the removals before a failing layer, unless it fails in the same way with nothing removed."""
        order = list(arrange(model["layers"]))
        before = [r for r in self.removed if order.index(r) < order.index(name)]
        if not before:
            return ""
        try:
            with torch.device("meta"):
                Network({**model, "remove": []}, *facts)
        except ValueError as error:
            if str(error) == message:
                return ""
        return f" (after removing {', '.join(before)})"


def _steps(table: Sequence[Row]) -> list[tuple[str, tuple[str, ...], list[str]]] | None:
    """Return the steps of a forward pass: a layer, its inputs, the values no longer needed. None for a chain."""
    if all(
        row.sources == (before,) for row, before in zip(table, ["input", *(row.name for row in table)], strict=False)
    ):
        return None
    last_reader = {source: row.name for row in table for source in row.sources}
    return [(row.name, row.sources, [s for s, reader in last_reader.items() if reader == row.name]) for row in table]


def refuse_unused(model: Mapping[str, Any], layers: Mapping[str, Spec]) -> None:
    """Refuse a model-wide choice that no layer takes, removed layers included.

    Raises:
        ValueError: names the choice.
    """
    name = model.get("name", "the network")
    specs = list(layers.values())
    for key in MODEL_WIDE:
        if model.get(key) and not any(takes(spec, key) for spec in specs):
            units = "dense unit" if key == "dropout" else "unit"
            raise ValueError(f"model.{key}={model[key]} changes nothing: {name} has no {units} that takes it")
    sized = any(size in spec for spec in specs for size in SIZES_OF_WIDTH)
    if model.get("width", 1) != 1 and not sized:
        raise ValueError(f"model.width={model['width']} changes nothing: {name} has no channels or features to widen")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).strip().split("\n")[0].split())
