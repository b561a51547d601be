"""A run's row in TensorBoard's HParams tab."""

import json
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

from cnnlab.runs import flatten
from cnnlab.studies import varied_value

SHOWN = (
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


def log_hyperparameters(logger: Logger, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Write what the run was given and its final metrics; in a study, what the study varies, its seeds as one group.

    TensorBoard takes the list of parameters from one run for all of a folder, so the runs of a study write the same.
    """
    if not isinstance(logger, TensorBoardLogger):
        return
    study = config["study"]
    if study["variant"]:
        chosen = {"variant": study["variant"], **{key: varied_value(config, key) for key in study["varied"]}}
    else:
        chosen = flatten({k: config[k] for k in SHOWN})
        del chosen["data.dir"]  # where, not what
    shown = {k: v if isinstance(v, (bool, int, float, str)) else json.dumps(v) for k, v in chosen.items()}
    final = {f"final/{k}": v for k, v in metrics.items()}
    writer = logger.experiment._get_file_writer()
    writer.add_summary(hparams_config_pb([HParam(k) for k in shown], [Metric(k) for k in final]))
    writer.add_summary(hparams_pb(shown, trial_id=study["variant"]))
    logger.log_metrics(final, 0)
