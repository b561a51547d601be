"""Networks of one structure as one: their weights lie stacked, and one call computes all of them."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from cnnlab.models.hooks import watch
from cnnlab.models.network import Network

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Stacked:
    """Computes M networks of one structure at once; torch.func.vmap makes products batched and convolutions grouped.

    Args:
        networks: which keep their parameters and buffers, as parts of the stacked ones, so that whatever changes the
            ones changes the others; a structure as `structure` says.
        reseed: called with m before the dropout of network m is drawn, so that it is what it would be alone.
    """

    def __init__(self, networks: Sequence[Network], reseed: Callable[[int], None]) -> None:
        self.networks, self._reseed = list(networks), reseed
        self._rank = 1 + len(networks[0].shapes["input"])  # of a batch of one network's inputs
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
        # bytes to floats, the same for all, comes before; ids of words stay as they are
        self._floats: nn.Module = getattr(networks[0], "input", nn.Identity())
        if hasattr(networks[0], "input"):
            self._template.set_submodule("input", nn.Identity())
        self._dropouts = [name for name, part in self._template.named_modules() if isinstance(part, DROPOUTS)]
        for name in self._dropouts:
            self._template.set_submodule(name, Masked())
        # of what reaches dropouts, by the shape of the inputs
        self._reached: dict[torch.Size, dict[str, tuple[torch.Size, tuple[int, ...]]]] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute logits (M, N, classes) of each network's own inputs (M, N, ...), or of inputs (N, ...) for all."""
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
        """Draw what each network's dropouts multiply by, in the order in which it would draw alone."""
        reached = self._reaching(inputs)
        masks: dict[str, list[Tensor]] = {name: [] for name in reached}
        for m, network in enumerate(self.networks):
            self._reseed(m)
            for name, (shape, strides) in reached.items():
                ones = torch.empty_strided(shape, strides, device=inputs.device).fill_(1)
                masks[name].append(network.get_submodule(name)(ones))
        return {f"{name}.mask": torch.stack(drawn) for name, drawn in masks.items()}

    def _reaching(self, inputs: Tensor) -> dict[str, tuple[torch.Size, tuple[int, ...]]]:
        """Find shape and strides of what reaches each dropout of one network, in the order of its computation.

        Values are drawn in the order in which they lie in memory, which only a network that computes can tell.
        """
        shape = inputs.shape[-self._rank :]
        if shape not in self._reached:
            found: dict[str, tuple[torch.Size, tuple[int, ...]]] = {}
            network = self.networks[0].eval()
            dropouts = {name: network.get_submodule(name) for name in self._dropouts}
            with (
                torch.no_grad(),
                watch(dropouts, lambda name, i: found.update({name: (i[0].shape, i[0].stride())}), before=True),
            ):
                network(torch.zeros(shape, dtype=inputs.dtype, device=inputs.device))
            network.train()
            self._reached[shape] = found
        return self._reached[shape]


def _stack(values: Sequence[Tensor]) -> Tensor:
    """Stack with channels first: under vmap, batch norm on a GPU refuses what convolutions give with channels last."""
    return torch.stack(list(values)).contiguous()


class Masked(nn.Module):
    """A dropout whose mask is given."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.empty(0, device="meta"))

    def forward(self, values: Tensor) -> Tensor:
        """Values times mask in training; as they are otherwise."""
        return values * self.mask if self.training else values


def structure(network: nn.Module) -> str | None:
    """Return what networks must have in common to be stacked: all but values of weights and rates of dropout.

    What each layer reads counts too. None where a network draws by other chance than dropout, or has parts that
    torch.func is not known to take.
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
