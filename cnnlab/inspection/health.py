"""Is the network learning everywhere? Dead and saturated units, gradient norms, size of the updates, histograms."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from cnnlab.data.forms import Facts
from cnnlab.inspection.filters import main_weight
from cnnlab.inspection.look import Findings, Look, layers_of
from cnnlab.models.hooks import watch
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

SATURATED = 0.95  # of the way from the middle of a sigmoid or tanh to its end
IMAGES = 250


class Health(Look):
    """Log each layer's gradient norm and ratio of update to weights at every logged step; after epochs the rest.

    A unit is a channel, or a value of a vector; it is dead where a ReLU gives 0 for all of 250 validation images. Zeros
    are counted value by value: the share that a ReLU holds back, whether or not a unit is dead.
    """

    def misfit(self, facts: Facts) -> None:
        """Look at units, whatever the examples."""

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Histograms of weights, gradients and activations, dead and saturated shares, layer by layer."""
        assert data.val is not None
        found, outputs = Findings(), dict[str, Tensor]()
        for name, weight in self._weights(classifier):
            found.histograms[f"health/{name}/weights"] = weight.detach()
            if weight.grad is not None:
                found.histograms[f"health/{name}/gradients"] = weight.grad.detach()
        parts = {name: activation_of(classifier.network.get_submodule(name)) for name in layers_of(classifier)}
        with watch(parts, lambda name, inputs, output: outputs.update({name: output.detach()})):
            classifier.network(data.val.inputs[:IMAGES].to(classifier.device))
        for name, values in outputs.items():
            found.histograms[f"health/{name}/activations"] = values
            found.scalars |= {f"health/{name}/{k}": v for k, v in shares(classifier, name, values).items()}
        return found

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Gradient norms; remember the weights, to see how far the step goes."""
        self._before: dict[str, Tensor] = {}
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        norms = {}
        for name, weight in self._weights(pl_module):
            if weight.grad is not None:
                norms[f"health/{name}/gradient norm"] = weight.grad.norm()
                self._before[name] = weight.detach().clone()
        self._step = trainer.global_step
        self._log(trainer, norms)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step's update against the weights it changed; about 0.001 is usual (Karpathy 2015)."""
        before = getattr(self, "_before", {})
        if not before:
            return
        weights = dict(self._weights(pl_module))
        ratios = {
            f"health/{name}/update to weight": (weights[name].detach() - old).norm() / old.norm().clamp(min=1e-12)
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
        numbers = torch.stack([v.float() for v in values.values()]).tolist()  # one wait for a GPU
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for tag, number in zip(values, numbers, strict=True):
                    logger.experiment.add_scalar(tag, number, self._step)


def activation_of(unit: nn.Module) -> nn.Module:
    """The part of a layer whose output is looked at: its activation, or the whole of it."""
    activation = getattr(unit, "activation", None)
    return activation if isinstance(activation, nn.Module) else unit


def shares(classifier: Classifier, name: str, values: Tensor) -> dict[str, float]:
    """The shares of dead units and of exact zeros behind a ReLU, of saturated values behind a sigmoid or tanh."""
    activation = activation_of(classifier.network.get_submodule(name))
    if isinstance(activation, nn.ReLU):
        units = values.flatten(2).amax((0, 2)) if values.ndim > 2 else values.amax(0)
        return {"dead": float((units <= 0).float().mean()), "zeros": float((values == 0).float().mean())}
    if isinstance(activation, nn.Sigmoid):
        return {"saturated": float(((values - 0.5).abs() > SATURATED / 2).float().mean())}
    if isinstance(activation, nn.Tanh):
        return {"saturated": float((values.abs() > SATURATED).float().mean())}
    return {}
