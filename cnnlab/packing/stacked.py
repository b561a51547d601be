"""Stack the weights of networks of equal structure, so that one call computes all of them."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from cnnlab.models.hooks import watch
from cnnlab.models.network import Network

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Stacked:
    """Compute M networks of equal `structure` at once; torch.func.vmap batches products and groups convolutions.

    Args:
        networks: whose parameters and buffers become views of the stacked ones.
        reseed: called with m before network m draws dropout masks, so that they are those of a run by itself.
    """

    def __init__(self, networks: Sequence[Network], reseed: Callable[[int], None]) -> None:
        self.networks, self._reseed = list(networks), reseed
        self._rank = 1 + len(networks[0].shapes["input"])  # number of axes of one network's batch
        self.parameters = {
            name: _stack([n.get_parameter(name).detach() for n in networks]).requires_grad_(own.requires_grad)
            for name, own in networks[0].named_parameters()
        }
        self._buffers = {
            name: torch.stack([n.get_buffer(name) for n in networks])
            for name, _ in networks[0].named_buffers()
            if not name.startswith("input.")
        }
        state = self.parameters | self._buffers
        for m, network in enumerate(networks):
            for name, own in [*network.named_parameters(), *network.named_buffers()]:
                if name in state:
                    own.data = state[name].detach()[m]
        self._template = copy.deepcopy(networks[0]).to("meta")
        # the conversion of bytes to floats is shared, and done before vmap; word ids stay as they are
        self._floats: nn.Module = getattr(networks[0], "input", nn.Identity())
        if hasattr(networks[0], "input"):
            self._template.set_submodule("input", nn.Identity())
        self._dropouts = [name for name, part in self._template.named_modules() if isinstance(part, DROPOUTS)]
        for name in self._dropouts:
            self._template.set_submodule(name, Masked())
        # by input shape, then by dropout: shape and strides of the dropout's input
        self._dropout_inputs: dict[torch.Size, dict[str, tuple[torch.Size, tuple[int, ...]]]] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute logits (M, N, classes) of each network's own inputs (M, N, ...), or of shared inputs (N, ...)."""
        own = inputs.ndim == self._rank + 1
        training = self.networks[0].training
        self._template.train(training)
        floats = self._floats(inputs.flatten(0, 1) if own else inputs)
        floats = (floats.unflatten(0, inputs.shape[:2]) if own else floats).contiguous()  # as in `_stack`
        state = self.parameters | self._buffers
        if training and self._dropouts:
            state |= self._masks(floats)

        def one(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
            logits: Tensor = functional_call(self._template, state, (inputs,), tie_weights=False)
            return logits

        return vmap(one, in_dims=(0, 0 if own else None))(state, floats)

    def _masks(self, inputs: Tensor) -> dict[str, Tensor]:
        """Draw the dropout masks of each network, in the order in which it would draw them alone."""
        layouts = self._find_dropout_inputs(inputs)
        masks: dict[str, list[Tensor]] = {name: [] for name in layouts}
        for m, network in enumerate(self.networks):
            self._reseed(m)
            for name, (shape, strides) in layouts.items():
                ones = torch.empty_strided(shape, strides, device=inputs.device).fill_(1)
                masks[name].append(network.get_submodule(name)(ones))
        return {f"{name}.mask": torch.stack(each) for name, each in masks.items()}

    def _find_dropout_inputs(self, inputs: Tensor) -> dict[str, tuple[torch.Size, tuple[int, ...]]]:
        """Return shape and strides of each dropout's input in one network, in the order of computation.

        Masks are drawn in memory order, which is known only from a forward pass.
        """
        shape = inputs.shape[-self._rank :]
        if shape not in self._dropout_inputs:
            found: dict[str, tuple[torch.Size, tuple[int, ...]]] = {}
            network = self.networks[0].eval()
            dropouts = {name: network.get_submodule(name) for name in self._dropouts}
            with (
                torch.no_grad(),
                watch(dropouts, lambda name, i: found.update({name: (i[0].shape, i[0].stride())}), before=True),
            ):
                network(torch.zeros(shape, dtype=inputs.dtype, device=inputs.device))
            network.train()
            self._dropout_inputs[shape] = found
        return self._dropout_inputs[shape]


def _stack(values: Sequence[Tensor]) -> Tensor:
    """Stack with channels first: under vmap, batch norm on a GPU refuses the channels-last output of convolutions."""
    return torch.stack(list(values)).contiguous()


class Masked(nn.Module):
    """A dropout whose mask is set from outside."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.empty(0, device="meta"))

    def forward(self, values: Tensor) -> Tensor:
        """Multiply values by the mask in training; return them unchanged otherwise."""
        return values * self.mask if self.training else values


def structure(network: nn.Module) -> str | None:
    """Describe all of a network but the values of its weights and dropout rates; equal ones can be stacked.

    The sources of each layer count too. None if a network draws random numbers other than dropout's, or has modules
    that torch.func may not support.
    """
    parts = []
    for name, part in network.named_modules():
        known = type(part).__module__.startswith(("torch.nn.modules", "cnnlab."))
        if not known or isinstance(part, nn.RReLU):
            return None
        options = "" if isinstance(part, DROPOUTS) or list(part.children()) else part.extra_repr()
        parts.append(f"{name}: {type(part).__name__}({options})")
    shapes = [f"{name}: {tuple(values.shape)}" for name, values in network.state_dict().items()]
    reads = [f"{row.name} reads {', '.join(row.sources)}" for row in getattr(network, "table", [])]
    return "\n".join(parts + shapes + reads)
