"""Log a run's settings and final metrics: its row in TensorBoard's HParams tab, and `hparams.yaml`.

TensorBoard collects the tab's columns from all runs below a folder: every setting, and every scalar as a metric. It
does so only if no run writes an experiment summary, a list of columns: the first one found would apply to all runs, and
those of another study or model would be empty rows. So none is written here. Columns that differ come first, in
alphabetical order; five settings and five metrics are shown until more are ticked.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from torch.utils.tensorboard import FileWriter

from cnnlab.config.identity import PLACES, config_hash, flatten, varied_value

SETTINGS = (
    "seed",
    "precision",
    "label_smoothing",
    "class_weights",
    "metrics",
    "init_from",
    "data",
    "model",
    "optimizer",
    "scheduler",
    "augment",
    "trainer",
)
COLUMNS = (  # of every run, so that runs of different models and studies can be told apart
    "data",
    "data.batch_size",
    "model",
    "model.activation",
    "model.remove",
    "model.width",
    "optimizer",
    "optimizer.lr",
    "precision",
    "scheduler",
    "seed",
    "trainer.max_epochs",
)
OWN_FILE = "-settings"  # suffix of the event file that holds the settings


def log_settings(loggers: Iterable[Logger], config: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Log the settings of a run that starts or resumes to every logger, and its HParams row to TensorBoard.

    Keys set by the command line's overrides are columns too.
    """
    settings = {key: config[key] for key in SETTINGS if key in config}  # runs of earlier versions lack some
    settings["data"] = {k: v for k, v in config["data"].items() if k != "dir"}  # where the data are is no setting
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            folder = Path(logger.log_dir)
            folder.mkdir(parents=True, exist_ok=True)
            # both keep the first settings they find, but a resumed run may have more epochs
            for earlier in (folder / logger.NAME_HPARAMS_FILE, *folder.glob(f"events.out.tfevents.*{OWN_FILE}")):
                earlier.unlink(missing_ok=True)
            writer = FileWriter(folder, filename_suffix=OWN_FILE)
            writer.add_summary(hparams_pb(row(config, overrides), trial_id=group(config)))
            writer.close()
        logger.log_hyperparams(settings)


def row(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, bool | int | float | str]:
    """Return the settings that the HParams tab shows: common ones, overrides, and the keys that the study varies.

    The runs of a variant share a row; the keys in which they differ (seed, fold, split) are left out.
    """
    study, flat = config["study"], flatten(config)
    shown = {key: varied_value(config, key) for key in COLUMNS}
    for override in overrides:
        key, _, typed = override.lstrip("+~").partition("=")
        if key not in (*shown, *PLACES) and not key.startswith(("study.", "hydra")):
            shown[key] = varied_value(config, key) if key in flat else typed  # a group's choice, such as callbacks=ema
    if study["variant"]:
        shown |= {"variant": study["variant"], **{key: varied_value(config, key) for key in study["varied"]}}
        for key in _of_seeds(config):
            shown.pop(key, None)
    return shown


def group(config: Mapping[str, Any]) -> str:
    """Return an id of the row that a variant's runs share: study, variant, and hash of the settings in common."""
    study = config["study"]
    if not study["variant"]:
        return ""
    common = {**config, "data": {**config["data"]}, "seed": None}
    if "data.split_seed" in _of_seeds(config):
        del common["data"]["split_seed"]
    if common["data"].get("fold") is not None:
        common["data"]["fold"] = None
    return f"{study['name']}/{study['variant']}-{config_hash(common)}"


def _of_seeds(config: Mapping[str, Any]) -> list[str]:
    """Return the keys in which the runs of a variant differ."""
    return ["seed", "data.fold", *(["data.split_seed"] if "split" in config["study"]["vary"] else [])]


def log_final(loggers: Iterable[Logger], metrics: Mapping[str, float]) -> None:
    """Log the content of `metrics.json`, losses and accuracies as `final/...`, which sorts before all other metrics."""
    final = {f"final/{k}" if "/" in k else f"run/{k}": v for k, v in metrics.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_metrics(final, 0)
