"""Monitor learning layer by layer: dead and saturated units, gradient norms, sizes of updates, histograms."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from cnnlab.data.forms import Facts
from cnnlab.inspection.look import BEHIND, Findings, Look, layers_of
from cnnlab.inspection.plates import percent
from cnnlab.inspection.units import activation_of, activations, dead_units, main_weight
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

SATURATED = 0.95  # share of the range from the middle of a sigmoid or tanh to its limit
NAMED = 12  # dead units named in a sentence
# charts of the tab Custom Scalars by category, with patterns of the tags that each shows
LAYOUT = {
    "loss and accuracy": {
        "loss": ["Multiline", ["^(train|val)/loss$"]],
        "accuracy": ["Multiline", ["^val/acc$"]],
    },
    "layers while they learn": {
        what: ["Multiline", [f"^{BEHIND}health/.*/{what}$"]]
        for what in ("gradient norm", "update to weight", "dead", "saturated")
    },
}


class Health(Look):
    """Log each layer's gradient norm and ratio of update to weights at every logged step; after epochs the rest.

    A unit is a channel, or a value of a vector; it is dead if a ReLU gives 0 for all of 250 validation examples. Zeros
    are the share of all values that a ReLU sets to 0, in dead units or others.
    """

    def misfit(self, facts: Facts) -> None:
        """Look at examples of any form."""

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Return histograms of weights, gradients and activations, and shares of dead and saturated units, by layer."""
        found = Findings()
        for name, weight in self._weights(classifier):
            found.histograms[f"health/{name}/weights"] = weight.detach()
            if weight.grad is not None:
                found.histograms[f"health/{name}/gradients"] = weight.grad.detach()
        for name, values in activations(classifier, data.val.inputs).items():
            found.histograms[f"health/{name}/activations"] = values
            if dead := dead_units(classifier, name, values):
                found.notes[f"health/{name}/dead"] = dead_sentence(dead, values)
            shared = {f"health/{name}/{what}": share for what, share in shares(classifier, name, values).items()}
            found.scalars |= shared
            for tag, share in shared.items():
                found.notes.setdefault(tag, saturated_sentence(share, len(values)) if tag.endswith("saturated") else "")
        return found

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out TensorBoard's tab Custom Scalars."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment.add_custom_scalars(LAYOUT)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log gradient norms, and keep the weights to measure the update."""
        self._before: dict[str, Tensor] = {}
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        norms = {}
        for name, weight in self._weights(pl_module):
            if weight.grad is not None:
                norms[f"{name}/gradient norm"] = weight.grad.norm()
                self._before[name] = weight.detach().clone()
        self._step = trainer.global_step
        self._log(trainer, norms)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the norm of the update over that of the weights; about 0.001 is usual (Karpathy 2015)."""
        before = getattr(self, "_before", {})
        if not before:
            return
        weights = dict(self._weights(pl_module))
        ratios = {
            f"{name}/update to weight": (weights[name].detach() - old).norm() / old.norm().clamp(min=1e-12)
            for name, old in before.items()
        }
        self._log(trainer, ratios)
        self._before = {}

    def _weights(self, pl_module: Any) -> list[tuple[str, Tensor]]:
        found = [(n, main_weight(pl_module.network.get_submodule(n))) for n in layers_of(pl_module)]
        return [(name, weight) for name, weight in found if weight is not None]

    def _log(self, trainer: Trainer, values: dict[str, Tensor]) -> None:
        if not values or not trainer.is_global_zero:
            return
        numbers = torch.stack([v.float() for v in values.values()]).tolist()  # a single sync with the GPU
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for tag, number in zip(values, numbers, strict=True):
                    logger.experiment.add_scalar(f"{BEHIND}health/{tag}", number, self._step)


def shares(classifier: Classifier, name: str, values: Tensor) -> dict[str, float]:
    """Return shares of dead units and zeros behind a ReLU, or of saturated values behind a sigmoid or tanh."""
    activation = activation_of(classifier.network.get_submodule(name))
    if (dead := dead_units(classifier, name, values)) is not None:
        return {"dead": len(dead) / values.shape[1], "zeros": float((values == 0).float().mean())}
    if isinstance(activation, nn.Sigmoid):
        return {"saturated": float(((values - 0.5).abs() > SATURATED / 2).float().mean())}
    if isinstance(activation, nn.Tanh):
        return {"saturated": float((values.abs() > SATURATED).float().mean())}
    return {}


def dead_sentence(dead: list[int], values: Tensor) -> str:
    """State which units of a layer are dead."""
    what = "maps" if values.ndim > 2 else "units"
    named = ", ".join(map(str, dead[:NAMED])) + (", ..." if len(dead) > NAMED else "")
    count = f"{len(dead)} of {values.shape[1]} {what} {'is' if len(dead) == 1 else 'are'} dead ({named})"
    return f"{count}: 0 for each of {len(values)} validation images. Where a ReLU gives 0, no gradient passes."


def saturated_sentence(share: float, images: int) -> str:
    """State the share of a layer's values that are saturated; empty below 0.5 %."""
    if share < 0.005:
        return ""
    return (
        f"{percent(share, 0)} of its values are saturated, for {images} validation images: so far along the flat ends "
        "of the activation that hardly any gradient passes."
    )
