"""Fit the network of a config, test its best checkpoint, and return the metrics."""

import contextlib
import logging
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from cnnlab.config.identity import Config
from cnnlab.data.splits import few_validation_warning, remark
from cnnlab.device import max_threads, threads_for_run
from cnnlab.runs.answers import Answers, write_answers
from cnnlab.runs.checkpoints import read
from cnnlab.runs.record import EXACT_WITH, write_json
from cnnlab.training.answers import answer_rows, as_answers
from cnnlab.training.assemble import Fit, Parts, prepare
from cnnlab.training.callbacks.history import History
from cnnlab.training.callbacks.hparams import log_final, log_settings
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule


def fit_and_test(parts: Parts, directory: Path, info: Config | None = None) -> dict[str, float]:
    """Fit, then test the best checkpoint; returns the content of `metrics.json`.

    Args:
        parts: of a checked config.
        directory: the run directory; the fit resumes from its last checkpoint if there is one.
        info: content of `run.json`, to which device, threads and world size are added; None in all but the first
            process.
    """
    log_to(directory)
    take_threads(parts.config, (info or {}).get("resumed", {}).get("threads"))
    # before `prepare` drops the examples as they were loaded
    about_data = remark(parts.config["data"]) if info is not None else None
    fit = prepare(parts, directory, load_data(parts.config), info)
    if info is not None:
        record_environment(fit, info)
        few = few_validation_warning(len(fit.data.val), len(fit.data.classes))
        if not parts.config["study"]["variant"]:  # a study prints them once for all runs
            for line in filter(None, [about_data, few]):
                print(line)
    try:
        fit.trainer.fit(fit.classifier, fit.data, ckpt_path=fit.last if fit.last.is_file() else None)
    except BaseException:
        if info is not None:
            log_unfinished_fit(fit)
        raise
    return finish(fit)


def take_threads(config: Config, kept: int | None = None) -> None:
    """Set torch's threads: as many as cores are free for a new run, as many as before (`kept`) for a resumed one."""
    torch.set_num_threads(threads_for_run(kept))
    if torch.get_num_threads() < max_threads() and kept is None and not config["study"]["variant"]:
        print(f"{torch.get_num_threads()} of {max_threads()} threads: the other cores are in use")


def load_data(config: Config) -> DataModule:
    """Load the data of a config, and seed all random numbers."""
    seed_everything(config["seed"], verbose=False)
    data = DataModule(config["data"], config["augment"], config["seed"])
    data.setup()
    return data


def record_environment(fit: Fit, info: Config) -> None:
    """Add device, threads and world size to `run.json`, print which differ after a resume, and log the settings."""
    info |= {
        "device": str(fit.trainer.strategy.root_device),
        "threads": torch.get_num_threads(),
        "world_size": fit.trainer.world_size,
    }
    write_json(fit.directory / "run.json", info)
    before = info.get("resumed", {})
    if changed := [key for key in EXACT_WITH if before.get(key, info[key]) != info[key]]:
        print("resume: not exact, because other than before: " + ", ".join(changed))
    log_settings(fit.trainer.loggers, fit.config, info["overrides"])


def finish(fit: Fit) -> dict[str, float]:
    """Test the best checkpoint of a completed fit; returns the content of `metrics.json`."""
    trainer = fit.trainer
    metrics = _fit_metrics(fit.classifier, fit.history)
    if Path(fit.best.best_model_path).is_file():
        fit.classifier.load_state_dict(read(Path(fit.best.best_model_path))["state_dict"])
    if fit.data.test is not None and not fit.config["study"].get("tuning"):
        tested = trainer.test(fit.classifier, fit.data, verbose=False)[0]
        metrics |= {k: float(v) for k, v in tested.items()}
    answers = _answers(fit)
    if trainer.is_global_zero:
        write_answers(fit.directory, answers, fit.classifier.classes)
        log_final(trainer.loggers, metrics)
    for logger in trainer.loggers:
        logger.finalize("success")
    return metrics


def _answers(fit: Fit) -> dict[str, Answers]:
    """Return the predictions of the best checkpoint by stage, those on validation examples in the first process only.

    Validation examples have one view each, as in validation; test examples as many as in the test.
    """
    answers = {}
    if fit.trainer.is_global_zero:
        answers["val"] = as_answers(_validation_rows(fit))
    if fit.classifier.answers.update_called:
        answers["test"] = as_answers(fit.classifier.answers.compute())
    return answers


@torch.inference_mode()
def _validation_rows(fit: Fit) -> torch.Tensor:
    """Return the rows of `answer_rows` for all validation examples."""
    device, size = fit.trainer.strategy.root_device, fit.config["data"]["eval_batch_size"]
    classifier = fit.classifier.to(device).eval()
    rows: list[torch.Tensor] = []
    for inputs, labels in zip(fit.data.val.inputs.split(size), fit.data.val.labels.split(size), strict=True):
        with fit.trainer.precision_plugin.val_step_context():
            logits = classifier.logits_of(inputs.to(device))
        rows.append(answer_rows(logits, labels.to(device), size * len(rows)))
    return torch.cat(rows)


def log_unfinished_fit(fit: Fit) -> None:
    """Log the metrics of a failed or interrupted fit's completed epochs, for TensorBoard's HParams tab."""
    if not fit.history.epochs:
        return
    with contextlib.suppress(OSError):  # the disk may be full, and the error that ended the fit matters more
        log_final(fit.trainer.loggers, _fit_metrics(fit.classifier, fit.history))
        for logger in fit.trainer.loggers:
            logger.finalize("failed")


def _fit_metrics(classifier: Classifier, history: History) -> dict[str, float]:
    """Return the metrics of a fit before its test; validation metrics are those of the best checkpoint's epoch."""
    best = max(reversed(history.epochs), key=lambda row: row.get("val/acc", 0.0), default={})  # the latest of equals
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
    """Send Lightning's messages and all warnings to the `train.log` of runs, and not to the terminal."""
    import lightning.pytorch  # noqa: F401  # adds its own handlers when first imported

    handlers: list[logging.Handler] = [logging.FileHandler(directory / "train.log") for directory in directories]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in ("lightning.pytorch", "lightning.fabric", "py.warnings"):
        logger = logging.getLogger(name)
        for old in logger.handlers:  # Lightning's own to the terminal, or those of an earlier run in this process
            old.close()
        logger.handlers = handlers.copy()
        logger.propagate = False
