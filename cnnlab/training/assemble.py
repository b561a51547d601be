"""Assemble the parts of a run from its config: classifier, callbacks, loggers, trainer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LRScheduler

from cnnlab.config.identity import Config
from cnnlab.config.targets import target
from cnnlab.data.augment import augmentation
from cnnlab.data.load import facts
from cnnlab.data.splits import counts, sample
from cnnlab.device import keep_freed, resolve_precision
from cnnlab.models.losses import training_loss
from cnnlab.models.network import Network
from cnnlab.registry import one_line
from cnnlab.runs.checkpoints import WholeFiles, clear_parts
from cnnlab.runs.metrics import configured_metrics
from cnnlab.runs.record import identity
from cnnlab.training.callbacks.best import BestCheckpoint
from cnnlab.training.callbacks.graph import Graph
from cnnlab.training.callbacks.history import History
from cnnlab.training.callbacks.last import LastCheckpoint
from cnnlab.training.callbacks.progress import TrainingProgress
from cnnlab.training.callbacks.pruning import Pruning
from cnnlab.training.class_weights import class_weights
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule
from cnnlab.training.lightning_internals import expect_evaluation_mode, keep_equal_values, remove_empty_hooks
from cnnlab.training.optim import optimizer_target
from cnnlab.training.weights import describe_start, load_shared_layers, read_weights

# what libraries raise for a value of the wrong kind
REFUSALS = (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, RuntimeError, ImportError,
            MisconfigurationException)  # fmt: skip


def meta_network(config: Mapping[str, Any]) -> Network:
    """Build the network of a train config on meta tensors, which have sizes but take no memory."""
    with torch.device("meta"):
        return Network(config["model"], *facts(config["data"]))


@dataclass
class Parts:
    """The parts of a run that need no data, built once, for both the check and the training."""

    config: Config
    network: Network  # on meta tensors: names, shapes, sizes
    augment: Callable[..., Tensor] | None
    make_optimizer: Callable[..., torch.optim.Optimizer]
    make_scheduler: Callable[..., LRScheduler]
    callbacks: dict[str, Callback]  # those of the config, by name


def assemble(config: Config) -> Parts:
    """Build the parts of a run that need no data.

    Args:
        config: a train config as plain containers, its values already checked.

    Raises:
        ValueError: names the part of the config and the remedy.
    """
    trusted, callbacks = config["trusted_modules"], {}
    network = meta_network(config)
    with prefix_errors("model.loss"):
        training_loss(config["model"].get("loss") or "cross_entropy", config["label_smoothing"])
    augment = augmentation(config["augment"] or {})
    with prefix_errors("optimizer"):
        make_optimizer = optimizer_target(config)
    with prefix_errors("scheduler"):
        make_scheduler = target(config["scheduler"], LRScheduler, trusted)
    for name, node in (config["callbacks"] or {}).items():
        if node is not None:  # null turns a callback off
            with prefix_errors(f"callbacks.{name}"):
                callbacks[name] = target(node, Callback, trusted)()
    return Parts(config, network, augment, make_optimizer, make_scheduler, callbacks)


@contextmanager
def prefix_errors(where: str) -> Iterator[None]:
    """Turn a library's error into a ValueError of one line that begins with the part of the config it is about."""
    try:
        yield
    except REFUSALS as error:
        raise ValueError(f"{where}: {one_line(error)}") from error


@dataclass
class Fit:
    """A run that is ready to be trained."""

    config: Config
    directory: Path
    data: DataModule
    classifier: Classifier
    trainer: Trainer
    history: History
    best: BestCheckpoint
    last: Path


def prepare(parts: Parts, directory: Path, data: DataModule, info: Config | None) -> Fit:
    """Build classifier, trainer and loggers; `info` is the content of `run.json`, None in all but the first process."""
    keep_freed()
    config = parts.config
    classifier = build(parts, data, info["config_hash"] if info else identity(directory, config))
    trusted = config["trusted_modules"]
    history = History()
    checkpoints = directory / "checkpoints"
    clear_parts(checkpoints)
    best = BestCheckpoint(checkpoints)
    last = LastCheckpoint(checkpoints / "last.ckpt", config["checkpoint_every"])
    extras = list(parts.callbacks.values())
    if config["study"]["trial"] is not None:
        extras.append(Pruning(directory.parent, config["study"]["trial"]))
    loggers = [
        target(c, Logger, trusted)(save_dir=directory) for c in (config["logger"] or {}).values() if c is not None
    ]
    if classifier.network.frozen:
        expect_evaluation_mode()
        for callback in extras:
            keep_equal_values(callback)
    callbacks = [Graph(), *extras, history, TrainingProgress(history, lines=not config["study"]["variant"]), best, last]
    trainer = Trainer(
        **trainer_options(config) | strategy(config, classifier.network),
        logger=loggers,
        callbacks=[remove_empty_hooks(callback) for callback in callbacks],
        plugins=[WholeFiles()],
        default_root_dir=directory,
    )
    return Fit(config, directory, data, classifier, trainer, history, best, last.path)


def trainer_options(config: Config) -> dict[str, Any]:
    """Return the options of Lightning's Trainer that every run has."""
    return {
        **config["trainer"],
        "precision": resolve_precision(config["precision"], config["trainer"]["accelerator"]),
        "deterministic": config["deterministic"],
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # Batches splits each batch over the processes itself
        "enable_model_summary": False,
    }


def strategy(config: Config, network: Network) -> Config:
    """Return the Trainer option `strategy` for a config with `ddp`; otherwise {}, which keeps the config's."""
    if config["trainer"]["strategy"] != "ddp":
        return {}
    # buffers are broadcast at every step: only batch norm needs it, and not when it is synchronised anyway
    alone = not config["trainer"].get("sync_batchnorm") and any(isinstance(m, _BatchNorm) for m in network.modules())
    return {"strategy": DDPStrategy(broadcast_buffers=alone, gradient_as_bucket_view=True)}


def build(parts: Parts, data: DataModule, config_hash: str = "") -> Classifier:
    """Build the classifier of a config for its data, with weights from `init_from` if the config names any."""
    config = parts.config
    examples = counts(data.train.labels, len(data.classes))
    classifier = Classifier(
        config["model"],
        data.facts.shape,
        data.classes,
        data.mean,
        data.std,
        seed=config["seed"],
        label_smoothing=config["label_smoothing"],
        class_weights=class_weights(config.get("class_weights"), examples, data.classes),
        metrics=configured_metrics(config),
        vocabulary=data.facts.vocabulary,
        test_flip=config["test_flip"],
        test_shift=config["test_shift"],
        optimizer=parts.make_optimizer,
        scheduler=parts.make_scheduler,
        optimizer_groups=config["optimizer"].get("groups"),
        config_hash=config_hash,
    )
    classifier.network.fit_to(sample(data.train)[:5000])
    if config["init_from"] is not None:
        weights = read_weights(config["init_from"], config["model"], data.facts.shape)
        print(describe_start(config["init_from"], load_shared_layers(classifier.network, weights)))
    if config["compile"]:
        mode = None if config["compile"] is True else config["compile"]
        classifier.compiled = torch.compile(classifier.network.forward, mode=mode)
    return classifier
