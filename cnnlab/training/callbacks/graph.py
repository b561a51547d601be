"""Write the network's graph to TensorBoard."""

import json
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

# cache of the last graph: the seeds of a sweep share it, and each trace leaves types in torch that are never freed
_traced: dict[str, Any] = {}


class Graph(Callback):
    """Write the graph, by layer names, when a fit starts."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Trace the network on one example input and write the graph."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment._get_file_writer().add_graph(traced_graph(pl_module))


def traced_graph(classifier: LightningModule) -> Any:
    """Return the graph of a classifier's network, in the format of TensorBoard's writer."""
    from torch.utils.tensorboard._pytorch_graph import graph

    facts = classifier.hparams
    key = json.dumps([facts["model"], facts["input_shape"], facts["classes"], facts["mean"], str(classifier.device)])
    if key not in _traced:
        network = classifier.get_submodule("network")
        training = network.training
        example = network.example(device=classifier.device)  # type: ignore[operator]
        with warnings.catch_warnings(action="ignore"):  # torch.jit.trace is deprecated, but TensorBoard needs it
            # traced here: `graph` itself would trace twice and compare
            profile = graph(torch.jit.trace(network.eval(), example, check_trace=False), example, False, True)
        network.train(training)
        _traced.clear()
        _traced[key] = profile
    return _traced[key]
