"""Train several classifiers of equal structure in one Lightning loop, each as if it were alone."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from cnnlab.packing.members import Members
from cnnlab.runs.checkpoints import WholeFiles
from cnnlab.training.assemble import Fit
from cnnlab.training.callbacks.graph import Graph
from cnnlab.training.callbacks.history import History
from cnnlab.training.classifier import Batch
from cnnlab.training.divergence import LOWER, DeferredBool, TrainStep, refuse_infinite
from cnnlab.training.lightning_internals import dump_checkpoint


class Pack(LightningModule):
    """Train the classifiers of several fits, each with its own optimizer, schedule, random seed, metrics and loggers.

    `Members` computes their steps. A member that diverges fails without stopping the others.
    """

    def __init__(self, fits: Sequence[Fit]) -> None:
        super().__init__()
        self.fits = list(fits)
        self.members = nn.ModuleList(fit.classifier for fit in fits)
        self.failures: dict[int, FloatingPointError] = {}
        self.history, self.files = History(), MemberFiles(self)
        self._epoch: list[dict[str, float]] = [{} for _ in fits]
        self._losses: list[Tensor] = []  # (M,) each, of the steps since `flush_losses`
        self._counts: list[int] = []
        self._deferred: tuple[DeferredBool, TrainStep, Tensor] | None = None

    @property
    def live(self) -> dict[str, float]:
        """Return the first member's metrics, for the progress bar."""
        live: dict[str, float] = self.members[0].live  # type: ignore[assignment]
        return live

    def setup(self, stage: str) -> None:
        """Attach the members to this trainer, from which they read epoch and step."""
        for member in self._each():
            member.trainer = self.trainer

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimizer that steps those of all members, with their schedules."""
        recipes = [(fit.config["optimizer"], fit.config["scheduler"]) for fit in self.fits]
        self.steps = Members([fit.classifier for fit in self.fits], recipes, self._reseed)
        return MemberOptimizers(self)

    def on_fit_start(self) -> None:
        """Write the members' graphs."""
        for fit in self.fits:
            Graph().on_fit_start(fit.trainer, fit.classifier)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the members' losses, of which each member's gradient is its own."""
        inputs, labels = (part.unflatten(0, (len(self.members), -1)) for part in batch)
        self._batch_idx = batch_idx
        logits = self.steps.logits(inputs)
        losses = self.steps.losses(logits, labels)
        self._step = TrainStep(self.current_epoch, self.global_step, inputs, labels, losses.detach())
        self._losses.append(losses.detach())
        self._counts.append(labels.shape[1])
        if self._logs():
            for m, member in self.alive():
                member.record_step(logits[m], labels[m], losses[m])
        return losses.sum()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each member's gradients to the norm `gradient_clip_val`, and fail members whose norm is not finite.

        On a GPU they fail a step later, to avoid a host-device sync; until then they do not affect other members.
        """
        norms = self.steps.norms()
        self.check_previous_step()
        finite = torch.isfinite(norms + self._step.loss)
        finite[list(self.failures)] = True
        if self.defers():
            self._deferred = (DeferredBool(finite.all()), self._step, norms)
        elif not finite.all():
            self._fail_infinite(norms, gradient_clip_val)
        if gradient_clip_val:
            self.steps.clip(norms, gradient_clip_val)
        if self._logs():
            for m, member in self.alive():
                member.live |= {"lr": self.steps.learning_rate(m), "grad_norm": norms[m].item()}
                self._log(m, member.live, self._step.number)

    def defers(self) -> bool:
        """Return whether the norms are checked a step later: on a GPU, to avoid a host-device sync."""
        return self.device.type == "cuda"

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Drop the gradients."""
        self.steps.zero_grad()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """After the epoch's last batch, keep each member's mean loss over the epoch's examples."""
        if self.trainer.is_last_batch:
            self.check_previous_step()
            self.flush_losses()
            for row, member in zip(self._epoch, self._each(), strict=True):
                total = member.epoch_loss.total()
                row["train/loss"] = float(total[0] / total[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the batch to each member's metrics."""
        inputs, labels = batch
        for own, member in zip(self.steps.logits(inputs), self._each(), strict=True):
            member.stages["val"].count(own, labels)

    def on_validation_epoch_end(self) -> None:
        """Keep each member's metrics, and fail members with one that is not finite."""
        for m, member in self.alive():
            try:
                self._epoch[m] |= {k: float(v) for k, v in member.stages["val"].counted(self.global_step).items()}
            except FloatingPointError as error:
                self.failed(m, error)

    def on_train_epoch_end(self) -> None:
        """Log and record each member's epoch, and save its checkpoint if it is the best."""
        rate = {"train/images_per_second": float(self.trainer.callback_metrics["train/images_per_second"])}
        checkpoint: dict[str, Any] | None = None
        for m, _ in self.alive():
            fit, row = self.fits[m], self._epoch[m] | rate
            fit.history.epochs.append(row)
            fit.history.seconds = self.history.seconds / len(self.members)  # a share, unlike the rate, which is of all
            self._log(m, row | {"epoch": self.current_epoch}, self.trainer.global_step - 1)
            for logger in fit.trainer.loggers:
                logger.save()
            if fit.best.takes(row.get("val/acc")):
                checkpoint = checkpoint or dump_checkpoint(self.trainer)
                self.files.save_member(checkpoint, m, fit.best.best_model_path)
        self._epoch = [{} for _ in self.fits]

    def checkpoint_of(self, m: int, whole: Mapping[str, Any]) -> dict[str, Any]:
        """Return the checkpoint that a member would have by itself, from the pack's."""
        fit, member = self.fits[m], self.fits[m].classifier
        own = {
            **whole,
            "state_dict": {k: v.clone() for k, v in member.state_dict().items()},  # a view would save all members'
            **self.steps.state_of(m),
            "callbacks": {c.state_key: c.state_dict() for c in (fit.history, fit.best)},
            "hparams_name": "kwargs",
            "hyper_parameters": dict(member.hparams),
            "DataModule": whole["PackData"],
        }
        del own["PackData"]
        member.on_save_checkpoint(own)
        return own

    def _each(self) -> Iterator[Any]:
        return iter(self.members)

    def alive(self) -> list[tuple[int, Any]]:
        """Return the members that have not failed, by number."""
        return [(m, member) for m, member in enumerate(self.members) if m not in self.failures]

    def check_previous_step(self) -> None:
        """Fail the members whose loss or gradient was not finite in the previous step, if its check was deferred.

        Raises:
            FloatingPointError: no member is left.
        """
        deferred, self._deferred = self._deferred, None
        if deferred is None or deferred[0]:
            return
        _, step, norms = deferred
        for m, _ in self.alive():
            loss, norm = step.loss[m].item(), norms[m].item()
            if not isfinite(loss + norm):
                what = f"the gradient norm is {norm}" if isfinite(loss) else f"the loss is {loss}"
                self.failed(m, FloatingPointError(step.message(f"{what}; {LOWER}")))

    def _fail_infinite(self, norms: Tensor, clip_to: float | None) -> None:
        """Fail the members whose loss or gradient norm (M,) is not finite, naming the layer."""
        self.steps.distribute_gradients()
        step = self._step
        for m, member in self.alive():
            own = TrainStep(step.epoch, step.number, step.inputs[m], step.labels[m], step.loss[m])
            try:
                refuse_infinite(member.network, own, norms[m], member.loss, clips=bool(clip_to))
            except FloatingPointError as error:
                self.failed(m, error)

    def flush_losses(self) -> None:
        """Add the losses of the steps since the last call to each member's epoch loss."""
        if self._losses:
            for member, losses in zip(self._each(), torch.stack(self._losses, 1), strict=True):
                member.epoch_loss.add(losses.unbind(), self._counts)
        self._losses, self._counts = [], []

    def _logs(self) -> bool:
        steps: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return self.global_step % steps == 0

    def _reseed(self, m: int) -> None:
        self.members[m].on_train_batch_start(None, self._batch_idx)  # type: ignore[operator]

    def _log(self, m: int, values: Mapping[str, float], step: int) -> None:
        for logger in self.fits[m].trainer.loggers:
            logger.log_metrics(dict(values), step)

    def failed(self, m: int, error: FloatingPointError) -> None:
        """Record a member's failure, and continue without it.

        Raises:
            FloatingPointError: no member is left.
        """
        self.failures[m] = error
        if len(self.failures) == len(self.members):
            raise error


class MemberOptimizers(torch.optim.Optimizer):
    """Step the optimizers and schedules of all members that have not failed."""

    def __init__(self, pack: Pack) -> None:
        super().__init__([g for own in pack.steps.optimizers for g in own.param_groups], {})
        self._pack = pack

    def step(self, closure: Any = None) -> Any:
        """Compute all gradients with Lightning's closure, then step."""
        pack = self._pack
        with torch.enable_grad():
            loss = closure()
        pack.steps.step([m for m, _ in pack.alive()], pack.trainer.is_last_batch)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return no state: each member's checkpoint has its own."""
        return {}


class MemberFiles(WholeFiles):
    """Write the checkpoint of a pack as one for each member, in the member's folder."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self._pack = pack

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write each member's checkpoint, of which `path` gives only the file name."""
        self._pack.check_previous_step()
        self._pack.flush_losses()
        for m, _ in self._pack.alive():
            self.save_member(checkpoint, m, self._pack.fits[m].last.with_name(Path(path).name))

    def save_member(self, checkpoint: dict[str, Any], m: int, path: Any) -> None:
        """Write a member's checkpoint, or fail the member if a weight is not finite."""
        try:
            own = self._pack.checkpoint_of(m, checkpoint)
        except FloatingPointError as error:
            self._pack.failed(m, error)
        else:
            super().save_checkpoint(own, path)
