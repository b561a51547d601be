"""Runs of one structure trained together in one process, each with its own run directory as if it were alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from cnnlab import runs
from cnnlab.callbacks.graph import Graph
from cnnlab.callbacks.history import History
from cnnlab.callbacks.last import LastCheckpoint
from cnnlab.callbacks.progress import TrainingProgress
from cnnlab.checkpoints import WholeFiles
from cnnlab.classifier import Batch
from cnnlab.data.augment import augmentation
from cnnlab.data.datamodule import DataModule
from cnnlab.data.loader import Batches
from cnnlab.models.stacked import Stacked, structure
from cnnlab.studies import meta_network
from cnnlab.train import begin, end
from cnnlab.training import Fit, finish, load_data, log_to, note_place, prepare, trainer_options

Config = dict[str, Any]

OWN = ("seed", "run_name", "model", "optimizer", "scheduler", "augment", "label_smoothing", "test_flip", "study")
WORTH_IT = 10_000_000  # multiply-adds of a network above which a CPU has nothing to gain


@dataclass(frozen=True)
class Job:
    """A run to be trained: its config, checked, its directory, and the overrides to record."""

    config: Config
    directory: Path
    overrides: list[str]


def train_together(jobs: Sequence[Job]) -> list[Mapping[str, float] | Exception]:
    """Fit all jobs at once, then test the best checkpoint of each; returns each one's metrics, or why it failed.

    Args:
        jobs: of which `kin` says the same.

    Raises:
        InUseError: another process holds one of the directories.
        KeyboardInterrupt, SystemExit: a signal came; all can be resumed, each by itself.
    """
    with ExitStack() as held:
        for job in jobs:
            job.directory.mkdir(parents=True, exist_ok=True)
            held.enter_context(runs.lock(job.directory))
        infos = [begin(job.config, job.directory, job.overrides) for job in jobs]
        try:
            outcomes = _fit_and_test(jobs, infos)
        except BaseException as error:
            stopped = [end(job.directory, info, error) for job, info in zip(jobs, infos, strict=True)]
            if stopped[0] == "SIGTERM":
                raise SystemExit(143) from error
            if stopped[0] == "SIGINT":
                raise KeyboardInterrupt from error
            if not isinstance(error, Exception):
                raise
            return [error] * len(jobs)
        for job, info, outcome in zip(jobs, infos, outcomes, strict=True):
            end(job.directory, info, outcome)
        return outcomes


def kin(config: Config) -> str | None:
    """What jobs must have in common to be trained together; None for one that has to be trained alone.

    Alone are those of several processes, with callbacks of their own, compiled, with 16-bit gradient scaling, reading
    images as they train, watching a metric to lower the learning rate, and, on a CPU, those of large networks.
    """
    trainer = config["trainer"]
    watches = "ReduceLROnPlateau" in str(config["scheduler"].get("_target_"))
    alone = config["callbacks"] or config["compile"] or config["data"].get("stream") or config["init_from"]
    if alone or watches or trainer["devices"] not in (1, "auto") or config["precision"] == "16-mixed":
        return None
    if trainer["devices"] == "auto" and torch.cuda.device_count() > 1 and trainer["accelerator"] != "cpu":
        return None
    network = meta_network(config)
    on_cpu = trainer["accelerator"] == "cpu" or not torch.cuda.is_available()
    shape = structure(network)
    if shape is None or (on_cpu and network.macs > WORTH_IT):
        return None
    return runs.digest({k: v for k, v in config.items() if k not in OWN} | {"structure": shape})


def _fit_and_test(jobs: Sequence[Job], infos: Sequence[Config]) -> list[Mapping[str, float] | Exception]:
    directories = [job.directory for job in jobs]
    log_to(*directories)
    first = load_data(jobs[0].config)
    fits = [prepare(job.config, job.directory, first) for job in jobs]
    for fit, info in zip(fits, infos, strict=True):
        info["packed_with"] = [d.name for d in directories if d != fit.directory]
        note_place(fit, info)
    pack, every = Pack(fits), jobs[0].config["checkpoint_every"]
    trainer = Trainer(
        **trainer_options(jobs[0].config),
        logger=False,
        callbacks=[pack.history, TrainingProgress(lines=False), LastCheckpoint(Path("last.ckpt"), every)],
        plugins=[pack.files],
        default_root_dir=directories[0],
    )
    try:
        trainer.fit(pack, PackData(first, [job.config for job in jobs]))
    except FloatingPointError:
        if len(pack.failures) < len(fits):
            raise
    return [pack.failures.get(m) or _tested(fit, trainer) for m, fit in enumerate(fits)]


def _tested(fit: Fit, trainer: Trainer) -> Mapping[str, float] | Exception:
    """A member's metrics, or why its test failed."""
    fit.trainer.fit_loop.load_state_dict(trainer.fit_loop.state_dict())  # its test is logged behind the last step
    try:
        return finish(fit)
    except Exception as error:
        return error


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


class PackData(DataModule):
    """The training images of every member, in its own order and augmentation; everything else is held once."""

    def __init__(self, first: DataModule, configs: Sequence[Config]) -> None:
        super().__init__(first.config)
        self.__dict__.update(first.__dict__)  # the images among them
        self._configs = configs

    def train_dataloader(self) -> Any:
        """The members' batches one behind the other in one: (M x n, C, H, W) and (M x n)."""
        first = super().train_dataloader()
        others = [first.like(c["seed"], augmentation(c["augment"] or {})) for c in self._configs[1:]]
        return Together([first, *others])  # the first tells checkpoints how far all have come


class Together:
    """Several batches at a time, concatenated."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        self.batches = list(batches)

    def __len__(self) -> int:
        return len(self.batches[0])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for several in zip(*self.batches, strict=True):
            images, labels = zip(*several, strict=True)
            yield torch.cat(images), torch.cat(labels)


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
