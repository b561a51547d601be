"""Several classifiers of one structure in one Lightning loop, each learning as if it were alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from cnnlab.callbacks.graph import Graph
from cnnlab.callbacks.history import History
from cnnlab.checkpoints import WholeFiles
from cnnlab.classifier import Batch
from cnnlab.models.stacked import Stacked
from cnnlab.training import Fit


class Pack(LightningModule):
    """Trains the classifiers of several fits, each with its own optimizer, schedule, chance, metrics and loggers.

    On a GPU, and for networks without convolutions, they are computed as one (see Stacked); otherwise one after the
    other within each step, because a CPU's grouped convolutions are slow. One that diverges fails by itself.
    """

    def __init__(self, fits: Sequence[Fit]) -> None:
        super().__init__()
        self.fits = list(fits)
        self.members = nn.ModuleList(fit.classifier for fit in fits)
        self.failures: dict[int, FloatingPointError] = {}
        self.history, self.files = History(), MemberFiles(self)
        self._stacked: Stacked | None = None
        self._epoch: list[dict[str, float]] = [{} for _ in fits]

    @property
    def live(self) -> dict[str, float]:
        """What the progress bar shows: the first member's."""
        live: dict[str, float] = self.members[0].live  # type: ignore[assignment]
        return live

    def setup(self, stage: str) -> None:
        """Let the members ask this trainer for epoch and step."""
        for member in self._each():
            member.trainer = self.trainer

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimizer that steps each member's, and its schedule."""
        made = [member.configure_optimizers() for member in self._each()]
        self.optimizers_of = [m["optimizer"] for m in made]
        self.schedules_of = [m["lr_scheduler"] for m in made]
        return Each(self)

    def on_fit_start(self) -> None:
        """Draw the members' graphs."""
        for fit in self.fits:
            Graph().on_fit_start(fit.trainer, fit.classifier)

    def on_train_start(self) -> None:
        """Stack the members where that is faster."""
        if stacks(self.fits[0].classifier):
            self._stacked = Stacked([member.network for member in self._each()], self._reseed)
        for member in self._each():
            member.on_train_start()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the members' losses, so that each one's gradient is its own."""
        images, labels = (part.unflatten(0, (len(self.members), -1)) for part in batch)
        self._batch_idx = batch_idx
        if self._stacked:
            logits = list(self._stacked(images))
        else:
            logits = []
            for m, member in enumerate(self._each()):
                self._reseed(m)
                logits.append(member.network(images[m]))
        losses = [
            m.judge(*each) for m, *each in zip(self._each(), logits, zip(images, labels, strict=True), strict=True)
        ]
        self._losses = torch.stack(losses)
        return self._losses.sum()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Each member's gradients to the norm `gradient_clip_val`; who has none that is finite fails here."""
        if self._stacked:
            self._stacked.hand_out()
        parameters = [[p for p in member.parameters() if p.grad is not None] for member in self._each()]
        gradients = [p.grad for own in parameters for p in own if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)).view(len(parameters), -1).norm(dim=1)
        if not torch.isfinite(norms + self._losses.detach()).all():
            for m, member in self.alive():
                try:
                    member.refuse_infinite(norms[m], gradient_clip_val)
                except FloatingPointError as error:
                    self._failed(m, error)
        step = self.trainer.global_step
        for m, member in self.alive():
            if gradient_clip_val:
                torch.nn.utils.clip_grads_with_norm_(parameters[m], gradient_clip_val, norms[m])
            if step % member.log_every == 0:
                rate = self.optimizers_of[m].param_groups[0]["lr"]
                member.live |= {"lr": rate, "grad_norm": norms[m].item()}
                self._log(m, member.live, step)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Forget the gradients."""
        for member in self._each():
            member.optimizer_zero_grad(epoch, batch_idx, optimizer)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Behind the last batch, each member's mean loss over the epoch's images."""
        if self.trainer.is_last_batch:
            for row, member in zip(self._epoch, self._each(), strict=True):
                total = member.epoch_total()
                row["train/loss"] = float(total[0] / total[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the batch for all."""
        images, labels = batch
        logits = self._stacked(images) if self._stacked else [member.network(images) for member in self._each()]
        for own, member in zip(logits, self._each(), strict=True):
            member.count("val", own, labels)

    def on_validation_epoch_end(self) -> None:
        """Each member's metrics."""
        for m, member in self.alive():
            try:
                self._epoch[m] |= {k: float(v) for k, v in member.counted("val").items()}
            except FloatingPointError as error:
                self._failed(m, error)

    def on_train_epoch_end(self) -> None:
        """Log and keep the epoch of each member, and its checkpoint where it is its best."""
        rate = {"train/images_per_second": float(self.trainer.callback_metrics["train/images_per_second"])}
        checkpoint: dict[str, Any] | None = None
        for m, _ in self.alive():
            fit, row = self.fits[m], self._epoch[m] | rate
            fit.history.epochs.append(row)
            fit.history.seconds = self.history.seconds / len(self.members)  # its share; the rate is that of all
            self._log(m, row | {"epoch": self.current_epoch}, self.trainer.global_step - 1)
            for logger in fit.trainer.loggers:
                logger.save()
            if fit.best.takes(row.get("val/acc")):
                checkpoint = checkpoint or self.trainer._checkpoint_connector.dump_checkpoint()
                self.files.save_member(checkpoint, m, fit.best.best_model_path)
        self._epoch = [{} for _ in self.fits]

    def checkpoint_of(self, m: int, whole: Mapping[str, Any]) -> dict[str, Any]:
        """What a member alone would have in its checkpoint, from that of the pack."""
        fit, member = self.fits[m], self.fits[m].classifier
        own = {
            **whole,
            "state_dict": {k: v.clone() for k, v in member.state_dict().items()},  # of a part all would be saved
            "optimizer_states": [self.optimizers_of[m].state_dict()],
            "lr_schedulers": [self.schedules_of[m]["scheduler"].state_dict()],
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
        """The members that have not failed, by number."""
        return [(m, member) for m, member in enumerate(self.members) if m not in self.failures]

    def _reseed(self, m: int) -> None:
        self.members[m].on_train_batch_start(None, self._batch_idx)  # type: ignore[operator]

    def _log(self, m: int, values: Mapping[str, float], step: int) -> None:
        for logger in self.fits[m].trainer.loggers:
            logger.log_metrics(dict(values), step)

    def _failed(self, m: int, error: FloatingPointError) -> None:
        """Go on without a member.

        Raises:
            FloatingPointError: nobody is left.
        """
        self.failures[m] = error
        if len(self.failures) == len(self.members):
            raise error


def stacks(classifier: nn.Module) -> bool:
    """Whether several such classifiers are computed faster as one: on a GPU, and where nothing is convolved."""
    return any(p.is_cuda for p in classifier.parameters()) or all(p.ndim < 3 for p in classifier.parameters())


class Each(torch.optim.Optimizer):
    """Steps optimizer and schedule of all members that have not failed."""

    def __init__(self, pack: Pack) -> None:
        super().__init__([g for own in pack.optimizers_of for g in own.param_groups], {})
        self._pack = pack

    def step(self, closure: Any = None) -> Any:
        """Compute the gradients of all, then step, as Lightning would."""
        pack = self._pack
        with torch.enable_grad():
            loss = closure()
        for m, _ in pack.alive():
            pack.optimizers_of[m].step()
            schedule = pack.schedules_of[m]
            if schedule["interval"] == "step" or pack.trainer.is_last_batch:
                schedule["scheduler"].step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Nothing: each member's checkpoint has its own."""
        return {}


class MemberFiles(WholeFiles):
    """Writes the checkpoint of a pack as one for each member, into its own folder."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self._pack = pack

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write each member's; only the name of the path counts."""
        for m, _ in self._pack.alive():
            self.save_member(checkpoint, m, self._pack.fits[m].last.with_name(Path(path).name))

    def save_member(self, checkpoint: dict[str, Any], m: int, path: Any) -> None:
        """Write the one of a member."""
        super().save_checkpoint(self._pack.checkpoint_of(m, checkpoint), path)
