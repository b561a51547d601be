"""The fit itself: what a config describes, built and trained, and what is to be said of it."""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab import runs
from cnnlab.checks import resolve_precision
from cnnlab.memory import keep_freed
from cnnlab.targets import target

if TYPE_CHECKING:
    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import Trainer

    from cnnlab.callbacks.best import BestCheckpoint
    from cnnlab.callbacks.history import History
    from cnnlab.classifier import Classifier
    from cnnlab.data.datamodule import DataModule
    from cnnlab.models.network import Network

Config = dict[str, Any]

HOOKS_OF_A_STEP = ("on_train_batch_start", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
                   "on_before_zero_grad", "on_train_batch_end")  # fmt: skip


@dataclass
class Fit:
    """What a config describes, made and ready to be trained."""

    config: Config
    directory: Path
    data: "DataModule"
    classifier: "Classifier"
    trainer: "Trainer"
    history: "History"
    best: "BestCheckpoint"
    last: Path


def fit_and_test(config: Config, directory: Path, info: Config | None = None) -> dict[str, float]:
    """Fit, then test the best checkpoint; returns what `metrics.json` says.

    Args:
        config: a checked train config as plain containers.
        directory: the run directory; where it holds a last checkpoint, the fit goes on from it.
        info: what `run.json` says so far, to which device, threads and world size are added.
    """
    log_to(directory)
    take_threads(config, (info or {}).get("resumed", {}).get("threads"))
    fit = prepare(config, directory, load_data(config), info)
    if info is not None:
        note_place(fit, info)
    try:
        fit.trainer.fit(fit.classifier, fit.data, ckpt_path=fit.last if fit.last.is_file() else None)
    except BaseException:
        if info is not None:
            log_unfinished(fit)
        raise
    return finish(fit)


def take_threads(config: Config, kept: int | None = None) -> None:
    """Let torch compute a run that starts on the cores that are free, or with as many threads as before it stopped."""
    import torch

    from cnnlab import threads

    torch.set_num_threads(threads.for_run(kept))
    if torch.get_num_threads() < threads.most() and kept is None and not config["study"]["variant"]:
        print(f"{torch.get_num_threads()} of {threads.most()} threads: the other cores are in use")


def load_data(config: Config) -> "DataModule":
    """The data of a config, loaded; torch's own chance is seeded."""
    from lightning.pytorch import seed_everything

    from cnnlab.data.datamodule import DataModule

    seed_everything(config["seed"], verbose=False)
    data = DataModule(config["data"], config["augment"], config["seed"])
    data.setup()
    return data


def prepare(config: Config, directory: Path, data: "DataModule", info: Config | None) -> Fit:
    """Make classifier, trainer, callbacks and loggers; what a process is not told of `run.json` it finds out."""
    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import Logger

    from cnnlab.callbacks.best import BestCheckpoint
    from cnnlab.callbacks.graph import Graph
    from cnnlab.callbacks.history import History
    from cnnlab.callbacks.last import LastCheckpoint
    from cnnlab.callbacks.progress import TrainingProgress
    from cnnlab.checkpoints import WholeFiles, clear_parts

    keep_freed()
    classifier = build(config, data, info["config_hash"] if info else runs.identity(directory, config))
    trusted = config["trusted_modules"]
    history = History()
    checkpoints = directory / "checkpoints"
    clear_parts(checkpoints)
    best = BestCheckpoint(checkpoints)
    last = LastCheckpoint(checkpoints / "last.ckpt", config["checkpoint_every"])
    extras = [target(c, LightningCallback, trusted)() for c in (config["callbacks"] or {}).values() if c is not None]
    if config["study"]["trial"] is not None:
        from cnnlab.callbacks.pruning import Pruning

        extras.append(Pruning(directory.parent, config["study"]["trial"]))
    loggers = [
        target(c, Logger, trusted)(save_dir=directory) for c in (config["logger"] or {}).values() if c is not None
    ]
    callbacks = [Graph(), *extras, history, TrainingProgress(lines=not config["study"]["variant"]), best, last]
    trainer = Trainer(
        **trainer_options(config) | strategy(config, classifier.network),
        logger=loggers,
        callbacks=[without_empty_hooks(callback) for callback in callbacks],
        plugins=[WholeFiles()],
        default_root_dir=directory,
    )
    return Fit(config, directory, data, classifier, trainer, history, best, last.path)


def trainer_options(config: Config) -> dict[str, Any]:
    """What Lightning's Trainer is told in every run."""
    return {
        **config["trainer"],
        "precision": resolve_precision(config["precision"], config["trainer"]["accelerator"]),
        "deterministic": config["deterministic"],
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # Batches shares out by itself
        "enable_model_summary": False,
    }


def without_empty_hooks(callback: "LightningCallback") -> "LightningCallback":
    """The callback without the hooks of a step that it leaves empty: Lightning would call each, every step."""
    from lightning.pytorch import Callback as LightningCallback

    for hook in HOOKS_OF_A_STEP:
        if getattr(type(callback), hook) is getattr(LightningCallback, hook):
            setattr(callback, hook, None)  # what cannot be called is passed over
    return callback


def strategy(config: Config, network: "Network") -> Config:
    """How several processes exchange gradients, where the config leaves it at `ddp`."""
    from lightning.pytorch.strategies import DDPStrategy
    from torch.nn.modules.batchnorm import _BatchNorm

    if config["trainer"]["strategy"] != "ddp":
        return {}
    # an exchange at every step, which only batch norm needs, and not where its sums go over all processes anyway
    alone = not config["trainer"].get("sync_batchnorm") and any(isinstance(m, _BatchNorm) for m in network.modules())
    return {"strategy": DDPStrategy(broadcast_buffers=alone, gradient_as_bucket_view=True)}


def note_place(fit: Fit, info: Config) -> None:
    """Add device, threads and world size to `run.json`, and say where they are others than before a resume.

    The loggers are given the run's settings.
    """
    import torch

    from cnnlab.callbacks.hparams import log_settings

    info |= {
        "device": str(fit.trainer.strategy.root_device),
        "threads": torch.get_num_threads(),
        "world_size": fit.trainer.world_size,
    }
    runs.write_json(fit.directory / "run.json", info)
    before = info.get("resumed", {})
    if changed := [key for key in runs.EXACT_WITH if before.get(key, info[key]) != info[key]]:
        print("resume: not exact, because other than before: " + ", ".join(changed))
    log_settings(fit.trainer.loggers, fit.config, info["overrides"])


def finish(fit: Fit) -> dict[str, float]:
    """Test the best checkpoint of a fit that is over; returns what `metrics.json` says."""
    from cnnlab.callbacks.hparams import log_final
    from cnnlab.checkpoints import read

    trainer = fit.trainer
    metrics = _fit_metrics(fit.classifier, fit.history)
    if Path(fit.best.best_model_path).is_file():
        fit.classifier.load_state_dict(read(Path(fit.best.best_model_path))["state_dict"])
    if fit.data.test is not None:
        tested = trainer.test(fit.classifier, fit.data, verbose=False)[0]
        metrics |= {k: float(v) for k, v in tested.items()}
    if trainer.is_global_zero:
        log_final(trainer.loggers, metrics)
    for logger in trainer.loggers:
        logger.finalize("success")
    return metrics


def log_unfinished(fit: Fit) -> None:
    """Log the metrics of the epochs that a failed or interrupted fit has completed, for TensorBoard's HParams tab."""
    from cnnlab.callbacks.hparams import log_final

    if not fit.history.epochs:
        return
    with contextlib.suppress(OSError):  # the disk may be full, and the error that ended the fit matters more
        log_final(fit.trainer.loggers, _fit_metrics(fit.classifier, fit.history))
        for logger in fit.trainer.loggers:
            logger.finalize("failed")


def build(config: Config, data: "DataModule", config_hash: str = "") -> "Classifier":
    """The classifier a config describes, for the data it describes, started from another run's weights where asked."""
    import torch
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from cnnlab.classifier import Classifier
    from cnnlab.data.splits import sample

    trusted = config["trusted_modules"]
    classifier = Classifier(
        config["model"],
        data.shape,
        data.classes,
        data.mean,
        data.std,
        seed=config["seed"],
        label_smoothing=config["label_smoothing"],
        test_flip=config["test_flip"],
        test_shift=config["test_shift"],
        optimizer=target(config["optimizer"], Optimizer, trusted),
        scheduler=target(config["scheduler"], LRScheduler, trusted),
        config_hash=config_hash,
    )
    assert data.train is not None
    classifier.network.fit_to(sample(data.train)[:5000])
    if config["init_from"] is not None:
        _init_from(classifier, config["init_from"])
    if config["compile"]:
        mode = None if config["compile"] is True else config["compile"]
        classifier.compiled = torch.compile(classifier.network.forward, mode=mode)
    return classifier


def _init_from(classifier: "Classifier", source: str) -> None:
    """Take the weights of another run in every layer whose name and shapes agree.

    Raises:
        ValueError: no layer agrees.
    """
    theirs = runs.Run.load(source).network().state_dict()
    ours = classifier.network.state_dict()
    agree = {k: k in theirs and theirs[k].shape == v.shape for k, v in ours.items()}
    layers = [name for name, _ in classifier.network.named_children() if name != "input"]  # its numbers are this data's
    taken = [name for name in layers if all(ok for k, ok in agree.items() if k.startswith(f"{name}."))]
    weights = {k: v for k, v in theirs.items() if k in ours and k.partition(".")[0] in taken}
    if not weights:
        raise ValueError(f"init_from={source}: no layer of that run has the name and shape of one here")
    classifier.network.load_state_dict(weights, strict=False)
    afresh = [name for name in layers if name not in taken]
    print(f"init_from: {source}" + (f"; started afresh: {', '.join(afresh)}" if afresh else ""))


def _fit_metrics(classifier: "Classifier", history: "History") -> dict[str, float]:
    """What a fit says of itself; validation figures are those of the best checkpoint's epoch."""
    best = max(reversed(history.epochs), key=lambda row: row.get("val/acc", 0.0), default={})  # of equals the latest
    return {
        **{k: v for row in history.epochs[-1:] for k, v in row.items() if k == "train/loss"},
        **{k: v for k, v in best.items() if k.startswith("val/")},
        "params": classifier.network.params,
        "macs": classifier.network.macs,
        "epochs": len(history.epochs),
        "fit_seconds": round(history.seconds, 3),
        "train_images_per_second": round(history.images_per_second, 1),
    }


def log_to(*directories: Path) -> None:
    """Lightning's remarks and all warnings go to the logs of the runs; the terminal is for what people look at."""
    import lightning.pytorch  # noqa: F401  # which adds its own handlers when first imported

    handlers: list[logging.Handler] = [logging.FileHandler(directory / "train.log") for directory in directories]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in ("lightning.pytorch", "lightning.fabric", "py.warnings"):
        logger = logging.getLogger(name)
        for old in logger.handlers:  # Lightning's own to the terminal, or an earlier run's of this process
            old.close()
        logger.handlers = handlers.copy()
        logger.propagate = False
