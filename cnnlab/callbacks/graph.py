"""The network's graph in TensorBoard."""

import warnings

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger


class Graph(Callback):
    """Writes the graph, by layer names, when a fit starts."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Trace the network on one black image."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                shape = pl_module.hparams["input_shape"]
                image = torch.zeros(1, *shape, dtype=torch.uint8, device=pl_module.device)
                network = pl_module.get_submodule("network")
                training = network.training
                with (
                    warnings.catch_warnings()
                ):  # torch.jit.trace is deprecated and warns, but is what TensorBoard reads
                    warnings.simplefilter("ignore")
                    logger.experiment.add_graph(network.eval(), image)
                network.train(training)
