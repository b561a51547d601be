"""The training step of several classifiers: one after the other, or computed as one."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from cnnlab.packing.stacked import Stacked
from cnnlab.training.classifier import Classifier

Groups = list[dict[str, Any]]

# whose step changes each value by its own gradient alone, so that one of them can step several networks; by exact type
ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adadelta, torch.optim.RMSprop)


def stacks(classifier: nn.Module) -> bool:
    """Whether several such classifiers are computed faster as one: on a GPU, and where nothing is convolved."""
    return any(p.is_cuda for p in classifier.parameters()) or all(p.ndim < 3 for p in classifier.parameters())


class InTurn:
    """One after the other, which is what a CPU does fastest with convolutions.

    Args:
        members: of one structure.
        recipes: what optimizer and schedule of each are made of.
        reseed: called with m before member m draws by chance, so that it draws what it would alone.
    """

    def __init__(self, members: Sequence[Classifier], recipes: Sequence[Any], reseed: Callable[[int], None]) -> None:
        self.members, self._reseed = list(members), reseed
        made = [member.configure_optimizers() for member in members]
        self.optimizers: list[torch.optim.Optimizer] = [m["optimizer"] for m in made]
        self.schedules: list[dict[str, Any]] = [m["lr_scheduler"] for m in made]

    def logits(self, images: Tensor) -> Sequence[Tensor] | Tensor:
        """Those (N, classes) of each member, of its own images (M, N, C, H, W), or of images (N, C, H, W) for all."""
        if images.ndim == 4:
            return [member.network(images) for member in self.members]
        return [self._alone(m, own) for m, own in enumerate(images)]

    def _alone(self, m: int, images: Tensor) -> Tensor:
        self._reseed(m)
        logits: Tensor = self.members[m].network(images)
        return logits

    def losses(self, logits: Sequence[Tensor] | Tensor, labels: Tensor) -> Tensor:
        """The loss (M,) of each member on its own labels (M, N)."""
        each = zip(self.members, logits, labels, strict=True)
        return torch.stack([member.loss(own.float(), answers) for member, own, answers in each])

    def norms(self) -> Tensor:
        """The norm (M,) of each member's gradient."""
        gradients = [p.grad for member in self.members for p in member.network.parameters() if p.grad is not None]
        return torch.stack(torch._foreach_norm(gradients)).view(len(self.members), -1).norm(dim=1)

    def clip(self, norms: Tensor, limit: float) -> None:
        """Shorten to `limit` each gradient whose norm (M,) is greater."""
        for member, norm in zip(self.members, norms, strict=True):
            torch.nn.utils.clip_grads_with_norm_(member.network.parameters(), limit, norm)

    def hand_out(self) -> None:
        """Let every member's parameters have their gradients: here they do."""

    def step(self, alive: Sequence[int], epoch_ends: bool) -> None:
        """Change the weights of the members that are alive, and move their schedules."""
        for m in alive:
            _step(self.optimizers[m], self.schedules[m], epoch_ends)

    def forget(self) -> None:
        """Drop all gradients."""
        for member in self.members:
            for parameter in member.network.parameters():
                parameter.grad = None

    def rate(self, m: int) -> float:
        """The learning rate of a member."""
        return float(self.optimizers[m].param_groups[0]["lr"])

    def saved(self, m: int) -> dict[str, Any]:
        """What a member's checkpoint says of its optimizer and schedule."""
        schedule = self.schedules[m]["scheduler"].state_dict()
        return {"optimizer_states": [self.optimizers[m].state_dict()], "lr_schedulers": [schedule]}


class AsOne(InTurn):
    """Computed as one: networks, losses, norms, and the steps of neighbours with one recipe; see Stacked.

    A step takes about twice the operations of one network's, however many there are, and a GPU waits for these.
    """

    def __init__(self, members: Sequence[Classifier], recipes: Sequence[Any], reseed: Callable[[int], None]) -> None:
        self._stacked = Stacked([member.network for member in members], reseed)
        super().__init__(members, recipes, reseed)  # optimizers, of the parameters where they lie now
        self._as_one = len({str((m.loss_name, m.hparams["label_smoothing"])) for m in members}) == 1
        self._owners = list(range(len(members)))  # whose optimizer and schedule steps each member
        self._shares: list[tuple[Tensor, str, slice]] = []  # parameter of such an optimizer, and of which stacked one
        for _, neighbours in groupby(self._owners, key=lambda m: recipes[m]):
            self._share(list(neighbours))

    def _share(self, neighbours: list[int]) -> None:
        """Let the optimizer of the first step all of them, where it takes them as one."""
        first, rows = neighbours[0], slice(neighbours[0], neighbours[-1] + 1)
        if type(self.optimizers[first]) not in ELEMENTWISE:
            for m in neighbours:
                own = self.members[m].network.named_parameters()
                self._shares += [(p, name, slice(m, m + 1)) for name, p in own if p.requires_grad]
            return
        names: dict[Tensor, str] = {p: name for name, p in self.members[first].network.named_parameters()}
        for group in self.optimizers[first].param_groups:  # its state is made at its first step
            mine = [names[p] for p in group["params"]]
            group["params"] = [self._stacked.parameters[name].detach()[rows] for name in mine]
            self._shares += [(p, name, rows) for p, name in zip(group["params"], mine, strict=True)]
        for m in neighbours:
            self._owners[m] = first

    def logits(self, images: Tensor) -> Tensor:
        """As of InTurn, (M, N, classes)."""
        return self._stacked(images)

    def losses(self, logits: Sequence[Tensor] | Tensor, labels: Tensor) -> Tensor:
        """As of InTurn."""
        if not self._as_one or not isinstance(logits, Tensor):
            return super().losses(logits, labels)
        losses: Tensor = vmap(self.members[0].loss)(logits.float(), labels)
        return losses

    def norms(self) -> Tensor:
        """As of InTurn."""
        gradients = [p.grad for p in self._stacked.parameters.values() if p.grad is not None]
        return torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)

    def clip(self, norms: Tensor, limit: float) -> None:
        """As of InTurn."""
        factors = (limit / (norms + 1e-6)).clamp(max=1)  # as torch.nn.utils.clip_grad_norm_
        for parameter in self._stacked.parameters.values():
            if parameter.grad is not None:
                parameter.grad.mul_(factors.view(-1, *[1] * (parameter.ndim - 1)))

    def hand_out(self) -> None:
        """Let every member's parameters have their part of the gradients."""
        for name, stacked in self._stacked.parameters.items():
            if stacked.grad is not None:
                for member, gradient in zip(self.members, stacked.grad, strict=True):
                    member.network.get_parameter(name).grad = gradient

    def step(self, alive: Sequence[int], epoch_ends: bool) -> None:
        """As of InTurn; members that are not alive may step on with their neighbours, whom it does not touch."""
        for parameter, name, rows in self._shares:
            whole = self._stacked.parameters[name].grad
            assert whole is not None
            parameter.grad = whole[rows].view_as(parameter)
        super().step(sorted({self._owners[m] for m in alive}), epoch_ends)

    def forget(self) -> None:
        """As of InTurn."""
        for parameter in self._stacked.parameters.values():
            parameter.grad = None

    def rate(self, m: int) -> float:
        """As of InTurn."""
        return super().rate(self._owners[m])

    def saved(self, m: int) -> dict[str, Any]:
        """As of InTurn."""
        owner = self._owners[m]
        whole = super().saved(owner)
        (state,) = whole["optimizer_states"]
        if type(self.optimizers[owner]) in ELEMENTWISE:
            shapes = [p.shape for group in self.optimizers[owner].param_groups for p in group["params"]]
            own = {n: _row(values, shapes[n], m - owner) for n, values in state["state"].items()}
            whole["optimizer_states"] = [{**state, "state": own}]
        return whole


def _step(optimizer: torch.optim.Optimizer, schedule: dict[str, Any], epoch_ends: bool) -> None:
    optimizer.step()
    if schedule["interval"] == "step" or epoch_ends:
        schedule["scheduler"].step()


def _row(values: dict[str, Any], shape: torch.Size, row: int) -> dict[str, Any]:
    """What an optimizer keeps of one network's parameter, from what it keeps of several."""
    return {
        k: v[row].clone() if isinstance(v, Tensor) and v.ndim and v.shape == shape else v for k, v in values.items()
    }
