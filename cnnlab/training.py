"""The fit itself: what a config describes, built and trained, and what is to be said of it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab import runs
from cnnlab.checks import resolve_precision
from cnnlab.config import target

if TYPE_CHECKING:
    from cnnlab.callbacks.history import History
    from cnnlab.classifier import Classifier
    from cnnlab.data.datamodule import DataModule

Config = dict[str, Any]


def fit_and_test(config: Config, directory: Path, info: Config | None = None) -> dict[str, float]:
    """Fit, then test the best checkpoint; returns what `metrics.json` says.

    Args:
        config: a checked train config as plain containers.
        directory: the run directory; where it holds a last checkpoint, the fit goes on from it.
        info: what `run.json` says so far, to which device, threads and world size are added.
    """
    import torch
    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.loggers import Logger

    from cnnlab.callbacks.best import BestCheckpoint
    from cnnlab.callbacks.graph import Graph
    from cnnlab.callbacks.history import History
    from cnnlab.callbacks.hparams import log_hyperparameters
    from cnnlab.callbacks.last import LastCheckpoint
    from cnnlab.callbacks.progress import TrainingProgress
    from cnnlab.checkpoints import WholeFiles, clear_parts, read
    from cnnlab.data.datamodule import DataModule

    _log_to(directory)
    seed_everything(config["seed"], verbose=False)
    data = DataModule(config["data"], config["augment"], config["seed"])
    data.setup()
    classifier = build(config, data)
    trusted = config["trusted_modules"]
    history = History()
    checkpoints = directory / "checkpoints"
    clear_parts(checkpoints)
    best = BestCheckpoint(checkpoints)
    last = LastCheckpoint(checkpoints / "last.ckpt", config["checkpoint_every"])
    extras = [target(c, LightningCallback, trusted)() for c in (config["callbacks"] or {}).values() if c]
    if config["study"]["trial"] is not None:
        from cnnlab.callbacks.pruning import Pruning

        extras.append(Pruning(directory.parent, config["study"]["trial"]))
    loggers = [target(c, Logger, trusted)(save_dir=directory) for c in (config["logger"] or {}).values() if c]
    trainer = Trainer(
        **config["trainer"],
        precision=resolve_precision(config["precision"], config["trainer"]["accelerator"]),  # type: ignore[arg-type]
        deterministic=config["deterministic"],
        logger=loggers,
        callbacks=[Graph(), *extras, history, TrainingProgress(lines=not config["study"]["variant"]), best, last],
        plugins=[WholeFiles()],
        default_root_dir=directory,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # Batches shares out by itself
        enable_model_summary=False,
    )
    if info is not None:
        info |= {
            "device": str(trainer.strategy.root_device),
            "threads": torch.get_num_threads(),
            "world_size": trainer.world_size,
        }
        runs.write_json(directory / "run.json", info)
        before = info.get("resumed", {})
        if changed := [key for key in runs.EXACT_WITH if before.get(key, info[key]) != info[key]]:
            print("resume: not exact, because other than before: " + ", ".join(changed))
    trainer.fit(classifier, data, ckpt_path=last.path if last.path.is_file() else None)
    metrics = _fit_metrics(classifier, history)
    if Path(best.best_model_path).is_file():
        classifier.load_state_dict(read(Path(best.best_model_path))["state_dict"])
    if data.test is not None:
        tested = trainer.test(classifier, data, verbose=False)[0]
        metrics |= {k: float(v) for k, v in tested.items()}
    for logger in trainer.loggers:
        if trainer.is_global_zero:
            log_hyperparameters(logger, config, metrics)
        logger.finalize("success")
    return metrics


def build(config: Config, data: "DataModule") -> "Classifier":
    """The classifier a config describes, for the data it describes, started from another run's weights where asked."""
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
        optimizer=target(config["optimizer"], Optimizer, trusted),
        scheduler=target(config["scheduler"], LRScheduler, trusted),
    )
    assert data.train is not None
    classifier.network.fit_to(sample(data.train)[:5000])
    if config["init_from"] is not None:
        _init_from(classifier, config["init_from"])
    if config["compile"]:
        classifier.network.compile()  # in place, so that state-dict keys keep their names
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
        "train/loss": history.epochs[-1]["train/loss"] if history.epochs else float("nan"),
        **{k: v for k, v in best.items() if k.startswith("val/")},
        "params": classifier.network.params,
        "macs": classifier.network.macs,
        "epochs": len(history.epochs),
        "fit_seconds": round(history.seconds, 3),
        "train_images_per_second": round(history.images_per_second, 1),
    }


def _log_to(directory: Path) -> None:
    """Lightning's remarks and all warnings go to the run's log; the terminal is for what people look at."""
    handler = logging.FileHandler(directory / "train.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in ("lightning.pytorch", "lightning.fabric", "py.warnings"):
        logger = logging.getLogger(name)
        for old in logger.handlers:  # Lightning's own to the terminal, or an earlier run's of this process
            old.close()
        logger.handlers = [handler]
        logger.propagate = False
