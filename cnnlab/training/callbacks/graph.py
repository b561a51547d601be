"""The network's graph in TensorBoard."""

import json
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

# the last one: the runs of a sweep share it seed by seed, and each trace leaves types in torch that are never freed
_drawn: dict[str, Any] = {}


class Graph(Callback):
    """Writes the graph, by layer names, when a fit starts."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Trace the network on one black image."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment._get_file_writer().add_graph(drawn(pl_module))


def drawn(classifier: LightningModule) -> Any:
    """The graph of a classifier's network, as TensorBoard's writer takes it."""
    from torch.utils.tensorboard._pytorch_graph import graph

    facts = classifier.hparams
    key = json.dumps([facts["model"], facts["input_shape"], facts["classes"], facts["mean"], str(classifier.device)])
    if key not in _drawn:
        network = classifier.get_submodule("network")
        training = network.training
        image = network.example(device=classifier.device)  # type: ignore[operator]
        with warnings.catch_warnings(action="ignore"):  # torch.jit.trace is deprecated, but what TensorBoard reads
            # traced here, because `graph` would trace twice and compare; what is traced already it takes as it is
            profile = graph(torch.jit.trace(network.eval(), image, check_trace=False), image, False, True)
        network.train(training)
        _drawn.clear()
        _drawn[key] = profile
    return _drawn[key]
