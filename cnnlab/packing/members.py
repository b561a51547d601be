"""Compute the training step of several classifiers of equal structure as one."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from cnnlab.packing.stacked import Stacked
from cnnlab.training.classifier import Classifier

# optimizers that update each value by its own gradient alone, so that one can step several networks; subclasses may not
ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adadelta, torch.optim.RMSprop)


class Members:
    """Compute logits, losses and norms of all members as one, and step neighbours with equal recipes by one optimizer.

    A step launches about twice the operations of a single network's, however many members there are; on a GPU, small
    networks are limited by launches.

    Args:
        members: of equal structure.
        recipes: configs of each member's optimizer and schedule.
        reseed: called with m before member m draws random numbers, so that they are those of a run by itself.
    """

    def __init__(self, members: Sequence[Classifier], recipes: Sequence[Any], reseed: Callable[[int], None]) -> None:
        self.members = list(members)
        self._stacked = Stacked([member.network for member in members], reseed)
        made = [member.configure_optimizers() for member in members]  # after stacking, which moves the parameters
        self.optimizers: list[torch.optim.Optimizer] = [m["optimizer"] for m in made]
        self.schedules: list[dict[str, Any]] = [m["lr_scheduler"] for m in made]
        losses = {str((m.loss_name, m.hparams["label_smoothing"], m.hparams["class_weights"])) for m in members}
        self._one_loss = len(losses) == 1
        self._owners = list(range(len(members)))  # member whose optimizer and schedule steps each member
        # each parameter of these optimizers: name and rows of the stacked parameter that it is a view of
        self._shares: list[tuple[Tensor, str, slice]] = []
        for _, neighbours in groupby(self._owners, key=lambda m: recipes[m]):
            self._share(list(neighbours))

    def _share(self, neighbours: list[int]) -> None:
        """Let the first neighbour's optimizer step all of them, if it is elementwise."""
        first, rows = neighbours[0], slice(neighbours[0], neighbours[-1] + 1)
        if type(self.optimizers[first]) not in ELEMENTWISE:
            for m in neighbours:
                own = self.members[m].network.named_parameters()
                self._shares += [(p, name, slice(m, m + 1)) for name, p in own if p.requires_grad]
            return
        names: dict[Tensor, str] = {p: name for name, p in self.members[first].network.named_parameters()}
        for group in self.optimizers[first].param_groups:  # parameters can be replaced: state is made at the first step
            own_names = [names[p] for p in group["params"]]
            group["params"] = [self._stacked.parameters[name].detach()[rows] for name in own_names]
            self._shares += [(p, name, rows) for p, name in zip(group["params"], own_names, strict=True)]
        for m in neighbours:
            self._owners[m] = first

    def logits(self, inputs: Tensor) -> Tensor:
        """Compute logits (M, N, classes) of each member's own inputs (M, N, ...), or of shared inputs (N, ...)."""
        return self._stacked(inputs)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss (M,) of each member on its own labels (M, N)."""
        if self._one_loss:
            losses: Tensor = vmap(self.members[0].loss)(logits.float(), labels)
            return losses
        each = zip(self.members, logits, labels, strict=True)
        return torch.stack([member.loss(own.float(), targets) for member, own, targets in each])

    def norms(self) -> Tensor:
        """Compute the norm (M,) of each member's gradient."""
        gradients = [p.grad for p in self._stacked.parameters.values() if p.grad is not None]
        norms: Tensor = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        return norms

    def clip(self, norms: Tensor, limit: float) -> None:
        """Scale each member's gradient whose norm (M,) exceeds `limit` down to it."""
        factors = (limit / (norms + 1e-6)).clamp(max=1)  # as torch.nn.utils.clip_grad_norm_
        for parameter in self._stacked.parameters.values():
            if parameter.grad is not None:
                parameter.grad.mul_(factors.view(-1, *[1] * (parameter.ndim - 1)))

    def distribute_gradients(self) -> None:
        """Set the gradients of the members' own parameters to views of the stacked ones."""
        for name, stacked in self._stacked.parameters.items():
            if stacked.grad is not None:
                for member, gradient in zip(self.members, stacked.grad, strict=True):
                    member.network.get_parameter(name).grad = gradient

    def step(self, alive: Sequence[int], epoch_ends: bool) -> None:
        """Step the optimizers and schedules of the members that are alive.

        Members that are not may be stepped with their neighbours, which does not affect these.
        """
        for parameter, name, rows in self._shares:
            whole = self._stacked.parameters[name].grad
            assert whole is not None
            parameter.grad = whole[rows].view_as(parameter)
        for owner in sorted({self._owners[m] for m in alive}):
            self.optimizers[owner].step()
            schedule = self.schedules[owner]
            if schedule["interval"] == "step" or epoch_ends:
                schedule["scheduler"].step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._stacked.parameters.values():
            parameter.grad = None

    def learning_rate(self, m: int) -> float:
        """Return the learning rate of a member."""
        return float(self.optimizers[self._owners[m]].param_groups[0]["lr"])

    def state_of(self, m: int) -> dict[str, Any]:
        """Return the states of a member's optimizer and schedule, for its checkpoint."""
        owner = self._owners[m]
        optimizer, schedule = self.optimizers[owner], self.schedules[owner]["scheduler"]
        state = optimizer.state_dict()
        if type(optimizer) in ELEMENTWISE:
            shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
            own = {n: _row(values, shapes[n], m - owner) for n, values in state["state"].items()}
            state = {**state, "state": own}
        return {"optimizer_states": [state], "lr_schedulers": [schedule.state_dict()]}


def _row(values: dict[str, Any], shape: torch.Size, row: int) -> dict[str, Any]:
    """Return one network's row of the optimizer state of a parameter stacked over several; scalars are shared."""
    return {
        k: v[row].clone() if isinstance(v, Tensor) and v.ndim and v.shape == shape else v for k, v in values.items()
    }
