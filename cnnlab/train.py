"""Train a network, test the best checkpoint, leave a run directory."""

import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab import runs
from cnnlab.checks import check, resolve_precision
from cnnlab.config import command, compose, load_config, one_line_errors, plain, target, write_composed

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cnnlab.callbacks.history import History
    from cnnlab.classifier import Classifier
    from cnnlab.data.datamodule import DataModule

Config = dict[str, Any]


def train(config: Config, directory: Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Fit, then test the best checkpoint; returns what `metrics.json` says.

    Args:
        config: a train config as plain containers.
        directory: the run directory; where it holds a checkpoint of the same run already, the fit goes on from it.
        overrides: as recorded in `run.json`.

    Raises:
        ValueError: the config asks for what cannot be.
        FloatingPointError: the training diverged.
    """
    from cnnlab.processes import launch, needs_launch

    check(config)
    if needs_launch(config["trainer"]):
        launch(config, directory, overrides)
        return runs.Run.load(directory).metrics
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]  # another process of the same run, which leaves the directory to the first
        return _fit_and_test(config, directory)
    directory.mkdir(parents=True, exist_ok=True)
    with runs.lock(directory):
        info = runs.provenance(config, overrides)
        runs.write_json(directory / "run.json", info)
        try:
            metrics = _fit_and_test(config, directory, info)
            runs.write_json(directory / "metrics.json", metrics)
            info["status"] = "completed"
        except BaseException as error:
            stopped = _stop_signal(error)
            info |= {"status": "interrupted" if stopped else "failed", "cause": _cause(error)}
            if stopped == "SIGTERM":
                raise SystemExit(143) from error
            if stopped == "SIGINT":
                raise KeyboardInterrupt from error  # Lightning turns it into SystemExit(1)
            raise
        finally:
            info["ended"] = runs.now()
            runs.write_json(directory / "run.json", info)
    _print_result(metrics, directory)
    return metrics


def _fit_and_test(config: Config, directory: Path, info: Config | None = None) -> dict[str, float]:
    import torch
    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import Logger

    from cnnlab.callbacks.graph import Graph
    from cnnlab.callbacks.history import History
    from cnnlab.callbacks.progress import TrainingProgress
    from cnnlab.data.datamodule import DataModule

    _log_to(directory)
    seed_everything(config["seed"], verbose=False)
    data = DataModule(config["data"], config["augment"], config["seed"])
    data.setup()
    classifier = build(config, data)
    trusted = config["trusted_modules"]
    history = History()
    best = ModelCheckpoint(
        directory / "checkpoints",
        "best",
        monitor="val/acc",
        mode="max",
        save_last=True,
        enable_version_counter=False,
    )
    extras = [target(c, LightningCallback, trusted)() for c in (config["callbacks"] or {}).values() if c]
    loggers = [target(c, Logger, trusted)(save_dir=directory) for c in (config["logger"] or {}).values() if c]
    trainer = Trainer(
        **config["trainer"],
        precision=resolve_precision(config["precision"], config["trainer"]["accelerator"]),  # type: ignore[arg-type]
        deterministic=config["deterministic"],
        logger=loggers,
        callbacks=[Graph(), *extras, history, TrainingProgress(), best],
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
    last = directory / "checkpoints" / "last.ckpt"
    trainer.fit(classifier, data, ckpt_path=last if last.is_file() else None)
    metrics = _fit_metrics(classifier, history)
    if Path(best.best_model_path).is_file():
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        classifier.load_state_dict(state)
    if data.test is not None:
        tested = trainer.test(classifier, data, verbose=False)[0]
        metrics |= {k: float(v) for k, v in tested.items()}
    for logger in trainer.loggers:
        _log_hyperparameters(logger, config, metrics)
        logger.finalize("success")
    return metrics


def build(config: Config, data: "DataModule") -> "Classifier":
    """The classifier a config describes, for the data it describes, started from another run's weights where asked."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from cnnlab.classifier import Classifier

    trusted = config["trusted_modules"]
    classifier = Classifier(
        config["model"],
        data.shape,
        data.classes,
        data.mean,
        data.std,
        seed=config["seed"],
        label_smoothing=config["label_smoothing"],
        optimizer=target(config["optimizer"], Optimizer, trusted),
        scheduler=target(config["scheduler"], LRScheduler, trusted),
    )
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
    best = max(history.epochs, key=lambda row: row.get("val/acc", 0.0), default={})
    return {
        "train/loss": history.epochs[-1]["train/loss"] if history.epochs else float("nan"),
        **{k: v for k, v in best.items() if k.startswith("val/")},
        "params": classifier.network.params,
        "macs": classifier.network.macs,
        "epochs": len(history.epochs),
        "fit_seconds": round(history.seconds, 3),
        "train_images_per_second": round(history.images_per_second, 1),
    }


HYPERPARAMETERS = (
    "seed",
    "precision",
    "label_smoothing",
    "init_from",
    "data",
    "model",
    "optimizer",
    "scheduler",
    "augment",
    "trainer",
)


def _log_hyperparameters(logger: Any, config: Config, metrics: Mapping[str, float]) -> None:
    """The run's row in TensorBoard's HParams tab, with its final metrics."""
    from lightning.pytorch.loggers import TensorBoardLogger

    if isinstance(logger, TensorBoardLogger):
        chosen = runs.flatten({k: config[k] for k in HYPERPARAMETERS})
        del chosen["data.dir"]  # where, not what
        shown = {k: v if isinstance(v, (bool, int, float, str)) else json.dumps(v) for k, v in chosen.items()}
        logger.log_hyperparams(shown, {f"final/{k}": v for k, v in metrics.items()})


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


def _stop_signal(error: BaseException) -> str | None:
    """The signal behind an exception, if one is."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    if isinstance(error, SIGTERMException):
        return "SIGTERM"
    return (
        "SIGINT" if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt) else None
    )


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _print_result(metrics: Mapping[str, float], directory: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from cnnlab.reporting.tables import show

    table = Table("metric", "value", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}" if "/" in name else show(value))
    console = Console()
    console.print(table)
    shown = os.path.relpath(directory)
    text = f"\nrun          {shown}\nTensorBoard  tensorboard --logdir {shlex.quote(shown)}"
    console.print(text, soft_wrap=True, highlight=False)


def fit(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> runs.Run:
    """Train from Python, as `python -m cnnlab.train` does from a shell.

    Args:
        overrides: as on the command line, such as ["data=mnist", "model.remove=[conv2]"].
        config_dir: a folder with configs of one's own.

    Raises:
        ValueError: the config asks for what cannot be.
    """
    composed, directory = compose("train", overrides, config_dir)
    config = plain(composed)
    check(config)
    write_composed(composed, directory, overrides)
    train(config, directory, overrides)
    return runs.Run.load(directory)


def resume(directory: Path, overrides: Sequence[str]) -> None:
    """Go on with a run where its last checkpoint left it; only `trainer.max_epochs` may change.

    Raises:
        ValueError: it is no run, or another key is given.
    """
    for override in overrides:
        if not override.startswith("trainer.max_epochs="):
            raise ValueError(f"{override}: a resumed run keeps its config; only trainer.max_epochs may change")
    run = runs.Run.load(directory)
    config = load_config(directory, overrides)
    if run.status == "completed" and run.metrics.get("epochs", 0) >= config["trainer"]["max_epochs"]:
        print(f"nothing to do: {directory} is completed")
        return
    train(config, directory, run.info["overrides"])


def _task(composed: "DictConfig") -> None:
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    train(plain(composed), Path(hydra.runtime.output_dir), list(hydra.overrides.task))


def main() -> None:
    """The command."""
    asked = [a for a in sys.argv[1:] if a.startswith("resume=") and a not in ("resume=", "resume=null")]
    if asked:
        with one_line_errors():
            resume(Path(asked[-1].partition("=")[2]), [a for a in sys.argv[1:] if not a.startswith("resume=")])
    else:
        command("train", _task)()


if __name__ == "__main__":
    main()
