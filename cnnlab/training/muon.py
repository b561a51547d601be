"""Implement the optimizer Muon (Jordan et al. 2024), orthogonalised momentum, for convolutions too."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Apply Muon (Jordan et al. 2024) to matrices and convolution filters, and AdamW to all other parameters.

    Args:
        params: parameter groups, as torch's optimizers take them.
        lr: learning rate of the matrices.
        momentum: of the matrices.
        weight_decay: of both, unless a group has its own.
        adamw_lr: learning rate of AdamW.
        betas: decay rates of AdamW's averages of gradients and of their squares.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        adamw_lr: float = 0.002,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        self._inner: list[torch.optim.Optimizer] = []
        given = list(params)
        own_rates = [isinstance(group, dict) and "lr" in group for group in given]  # such groups ignore adamw_lr
        super().__init__(given, {"lr": lr, "weight_decay": weight_decay})
        groups, rest = [], []
        self._filters: list[tuple[Tensor, Tensor]] = []  # a parameter, and the same memory as a matrix
        for group, own_rate in zip(self._own_groups, own_rates, strict=False):
            pairs = [(p, as_matrix(p.detach())) for p in group["params"] if p.ndim > 1]
            self._filters += pairs
            groups.append({**group, "params": [m for _, m in pairs]})
            vectors = [p for p in group["params"] if p.ndim <= 1]
            rest.append({**group, "params": vectors, "lr": group["lr"] if own_rate else adamw_lr})
        groups, rest = [g for g in groups if g["params"]], [g for g in rest if g["params"]]
        if groups:
            self._inner.append(torch.optim.Muon(groups, lr, weight_decay, momentum))
        if rest:
            self._inner.append(torch.optim.AdamW(rest, adamw_lr, (betas[0], betas[1]), weight_decay=weight_decay))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of both optimizers, for schedules."""
        return [g for inner in self._inner for g in inner.param_groups] if self._inner else self._own_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._own_groups = groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step with both optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter, matrix in self._filters:
            matrix.grad = None if parameter.grad is None else as_matrix(parameter.grad)
        for inner in self._inner:
            inner.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters."""
        for inner in self._inner:
            inner.zero_grad(set_to_none)
        for parameter, _ in self._filters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimizers."""
        return {"inner": [inner.state_dict() for inner in self._inner]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both optimizers."""
        for inner, state in zip(self._inner, state_dict["inner"], strict=True):
            inner.load_state_dict(state)


def as_matrix(weight: Tensor) -> Tensor:
    """Return a view (outputs, everything else) of the same memory, for channels-last filters too."""
    if weight.ndim == 4 and not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.reshape(len(weight), -1)
