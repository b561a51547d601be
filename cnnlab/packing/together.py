"""Decide which runs can be packed, and train them together, each in its own run directory from lock to metrics."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from cnnlab.config.identity import Config, digest
from cnnlab.packing.data import PackData
from cnnlab.packing.pack import Pack
from cnnlab.packing.stacked import structure
from cnnlab.runs.record import lock
from cnnlab.training.assemble import Fit, assemble, meta_network, prepare, trainer_options
from cnnlab.training.callbacks.last import LastCheckpoint
from cnnlab.training.callbacks.progress import TrainingProgress
from cnnlab.training.fit import finish, load_data, log_to, log_unfinished_fit, record_environment, take_threads
from cnnlab.training.lightning_internals import copy_progress
from cnnlab.training.run import begin, end, reraise_signal

# keys in which packed runs may differ
OWN = ("seed", "run_name", "model", "optimizer", "scheduler", "augment", "label_smoothing", "class_weights",
       "metrics", "test_flip", "test_shift", "study")  # fmt: skip


@dataclass(frozen=True)
class PackedRun:
    """A run to be trained: its checked config, its directory, and the overrides to record."""

    config: Config
    directory: Path
    overrides: list[str]


def train_together(jobs: Sequence[PackedRun]) -> list[Mapping[str, float] | Exception]:
    """Fit all jobs at once, then test the best checkpoint of each; returns each one's metrics or error.

    Args:
        jobs: with equal `kin`.

    Raises:
        InUseError: another process holds one of the directories.
        KeyboardInterrupt, SystemExit: a signal came; each run can be resumed by itself.
    """
    with ExitStack() as held:
        for job in jobs:
            job.directory.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock(job.directory))
        infos = [begin(job.config, job.directory, job.overrides) for job in jobs]
        try:
            outcomes = _fit_and_test(jobs, infos)
        except BaseException as error:
            stopped = [end(job.directory, info, error) for job, info in zip(jobs, infos, strict=True)]
            reraise_signal(stopped[0], error)
            if not isinstance(error, Exception):
                raise
            return [error] * len(jobs)
        for job, info, outcome in zip(jobs, infos, outcomes, strict=True):
            end(job.directory, info, outcome)
        return outcomes


def kin(config: Config) -> str | None:
    """Return a digest; runs whose configs have the same one can be trained together. None: it is trained alone."""
    if why_alone(config):
        return None
    return digest({k: v for k, v in config.items() if k not in OWN} | {"structure": structure(meta_network(config))})


def why_alone(config: Config) -> str | None:
    """Return why a run cannot be trained together with others, or would not be faster; None if it can."""
    trainer, data = config["trainer"], config["data"]
    on_cpu = trainer["accelerator"] == "cpu" or not torch.cuda.is_available()
    several = trainer["devices"] not in (1, "auto") or (
        trainer["devices"] == "auto" and not on_cpu and torch.cuda.device_count() > 1
    )
    network = meta_network(config)
    reasons = {
        "several processes": several,
        "callbacks": config["callbacks"],
        "compile": config["compile"],
        "16-bit gradient scaling": config["precision"] == "16-mixed",
        "streamed images": data.get("stream"),
        "init_from": config["init_from"],
        "frozen layers": config["model"].get("freeze"),
        "a schedule that watches a metric": "ReduceLROnPlateau" in str(config["scheduler"].get("_target_")),
        "random activations or layers of torchvision's networks": structure(network) is None,
        "convolutions on a CPU, which gain nothing": on_cpu and any(p.ndim > 2 for p in network.parameters()),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _fit_and_test(jobs: Sequence[PackedRun], infos: Sequence[Config]) -> list[Mapping[str, float] | Exception]:
    directories = [job.directory for job in jobs]
    log_to(*directories)
    take_threads(jobs[0].config)
    first = load_data(jobs[0].config)
    fits = [prepare(assemble(job.config), job.directory, first, info) for job, info in zip(jobs, infos, strict=True)]
    for fit, info in zip(fits, infos, strict=True):
        info["packed_with"] = [d.name for d in directories if d != fit.directory]
        record_environment(fit, info)
    pack, every = Pack(fits), jobs[0].config["checkpoint_every"]
    trainer = Trainer(
        **trainer_options(jobs[0].config),
        logger=False,
        callbacks=[pack.history, TrainingProgress(pack.history, lines=False), LastCheckpoint(Path("last.ckpt"), every)],
        plugins=[pack.files],
        default_root_dir=directories[0],
    )
    try:
        trainer.fit(pack, PackData(first, [(job.config["seed"], job.config["augment"]) for job in jobs]))
    except BaseException as error:
        for fit in fits:
            log_unfinished_fit(fit)
        if not isinstance(error, FloatingPointError) or len(pack.failures) < len(fits):
            raise
    else:
        for m in pack.failures:
            log_unfinished_fit(fits[m])
    return [pack.failures.get(m) or _test_member(fit, trainer) for m, fit in enumerate(fits)]


def _test_member(fit: Fit, trainer: Trainer) -> Mapping[str, float] | Exception:
    """Test a member's best checkpoint; returns its metrics, or the error."""
    copy_progress(trainer, fit.trainer)
    try:
        return finish(fit)
    except Exception as error:
        return error
