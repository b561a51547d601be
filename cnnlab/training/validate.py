"""Refuse a train config that cannot work, before anything is written, in one line that names the remedy."""

import inspect
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import isfinite, prod
from tempfile import TemporaryDirectory

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cnnlab.config.identity import Config
from cnnlab.config.keys import conf_dir, shipped_data
from cnnlab.config.targets import target
from cnnlab.config.values import check_values
from cnnlab.data.augment import views
from cnnlab.data.forms import as_floats
from cnnlab.data.load import class_names_of, facts, form
from cnnlab.data.splits import has_validation, sizes, training_counts
from cnnlab.device import resolve_precision
from cnnlab.distributed.world import device_count
from cnnlab.models.losses import training_loss
from cnnlab.models.merges import show
from cnnlab.models.network import Network
from cnnlab.registry import hint, one_line
from cnnlab.runs.metrics import configured_metrics, measure, metric_names, refuse_metrics
from cnnlab.training.assemble import Parts, assemble, prefix_errors
from cnnlab.training.class_weights import class_weights
from cnnlab.training.optim import optimizer_of, schedule
from cnnlab.training.weights import read_weights, shared_layers

PROCESS_BYTES = 400 * 2**20  # memory of a process with torch and Lightning loaded, before it has a network
MACHINE_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # memory of this machine
# options of Lightning's Trainer that cnnlab sets itself
OURS = ("precision", "deterministic", "logger", "callbacks", "plugins", "default_root_dir", "num_sanity_val_steps",
        "use_distributed_sampler", "enable_model_summary", "enable_checkpointing")  # fmt: skip


def check(config: Config) -> Parts:
    """Check a config's values, its network on its data, classes, devices and memory, before anything is written.

    For what the libraries themselves check, the object is built. Returns the parts built, for the training.

    Raises:
        ValueError: names the cause and the remedy.
    """
    check_values(config)
    _accelerator(config["trainer"]["accelerator"])
    parts = assemble(config)
    shape, classes, _ = facts(config["data"])
    _memory(config, parts.network.params, shape)
    _validation(config["data"])
    _class_weights(config)
    logged = _metrics(config, classes)
    if parts.augment is not None:
        with prefix_errors("augment"):
            if len(shape) != 3:
                name, held = config["data"]["name"], form(config["data"]).name
                raise ValueError(f"changes pictures, and data={name} holds {held}s; take augment=none")
            parts.augment(parts.network.example(2), torch.Generator())
    views(parts.network.example(), flip=config["test_flip"], shift=config["test_shift"])
    _optimizer(parts)
    if config["init_from"] is not None:
        shared_layers(parts.network, read_weights(config["init_from"], config["model"], shape))
    for name, callback in parts.callbacks.items():
        _watched(name, callback, logged)
    _lookers(parts, config["data"])
    _loggers(config)
    _trainer(config)
    _processes(config)
    _smallest_batch(config, parts.network)
    return parts


def _accelerator(name: str) -> None:
    present: dict[str, Callable[[], bool]] = {"gpu": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name in present and not present[name]():
        raise ValueError(
            f"trainer.accelerator={name}: this machine has no {name.upper()} torch can use; take trainer=cpu or auto"
        )


def _optimizer(parts: Parts) -> None:
    """Make optimizer and schedule for a matrix and a vector, and run the schedule to its end.

    Options by parameter name are checked on the network.
    """
    epochs, groups = parts.config["trainer"]["max_epochs"], parts.config["optimizer"].get("groups")
    with prefix_errors("optimizer"):
        optimizer = parts.make_optimizer([torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))])
        if groups is not None:
            optimizer_of(parts.make_optimizer, parts.network, groups)
    with prefix_errors("scheduler"):
        made = schedule(parts.make_scheduler, optimizer, epochs, 1)
        if isinstance(made["scheduler"], ReduceLROnPlateau):  # its steps need a metric
            return
        with warnings.catch_warnings(action="ignore"):  # torch warns that the optimizer has made no steps
            for epoch in range(epochs):
                rate = optimizer.param_groups[0]["lr"]
                if not (isfinite(rate) and rate >= 0):
                    raise ValueError(f"the learning rate becomes {rate} in epoch {epoch + 1}")
                made["scheduler"].step()


def _smallest_batch(config: Config, network: Network) -> None:
    """Run the network's forward on one example if a process gets no more at a step: batch norms may refuse it."""
    processes = max(device_count(config["trainer"]), int(os.environ.get("WORLD_SIZE", "1")))
    if (share := config["data"]["batch_size"] // processes) > 1:
        return
    names = [name for name, _ in network.named_children()]
    try:
        for _ in network.walk(as_floats(network.example(max(1, share), "meta"))):
            names.pop(0)
    except ValueError as error:
        refusal = f"{names[0]}: {one_line(error)}"
        raise ValueError(f"{refusal}; raise data.batch_size, which gives a process one image at a step") from error


def _validation(data: Config) -> None:
    """Refuse split options if the data have their own validation examples, and `val_size` if there are folds."""
    folds, defaults = data.get("folds"), shipped_data(data["name"], "val_size", "split_seed")
    if has_validation(data):
        for key, default in {**defaults, "folds": None}.items():
            if data.get(key) != default:
                raise ValueError(f"data.{key}={data[key]}: data={data['name']} has validation images of its own")
    shipped = (conf_dir() / f"data/{data['name']}.yaml").is_file()
    if folds is not None and shipped and data["val_size"] != defaults["val_size"]:
        raise ValueError(
            f"data.val_size={data['val_size']} and data.folds={folds}: the folds say how many images are held out; "
            f"take data.val_size={defaults['val_size']}, the default"
        )


def _class_weights(config: Config) -> None:
    """Refuse class weights that do not fit the classes or the loss."""
    if (setting := config.get("class_weights")) is None:
        return
    data = config["data"]
    names = class_names_of(data)
    counts = training_counts(data) if setting == "balanced" else []
    weights = class_weights(setting, counts, names)
    training_loss(config["model"].get("loss") or "cross_entropy", config["label_smoothing"], weights)


def _metrics(config: Config, classes: int) -> list[str]:
    """Refuse unknown metrics, and a `study.metric` that the runs do not have; returns the names of logged metrics."""
    extra, compared = configured_metrics(config), config["study"].get("metric")
    refuse_metrics(classes, extra)
    if compared is not None:
        measure(compared, classes, extra)
        if str(compared).startswith("test/"):
            if not sizes(config["data"])[2]:
                raise ValueError(f"study.metric={compared}: data={config['data']['name']} has no test images")
            if config["study"].get("folds") is not None:
                raise ValueError(
                    f"study.metric={compared}: study.folds judges on the images held out, which are other ones in each "
                    f"fold; take study.metric=val/{str(compared).partition('/')[2]}"
                )
    return ["train/loss", "val/loss", *(f"val/{name}" for name in metric_names(classes, extra))]


def _memory(config: Config, params: int, shape: tuple[int, ...]) -> None:
    """Refuse weights and examples that do not fit into memory."""
    counts = sizes(config["data"])  # loads the data, which stay in memory for the fit
    examples = sum(counts[1:] if config["data"].get("stream") else counts)
    needed = 4 * params + examples * prod(shape)
    if needed > MACHINE_BYTES:
        raise ValueError(
            f"{params:,} weights and {examples:,} images of {show(shape)} take {needed / 2**30:,.0f} GiB, "
            f"and this machine has {MACHINE_BYTES / 2**30:,.0f}; lessen model.width or data.resize"
        )


def _processes(config: Config) -> None:
    """Refuse more processes than this machine has memory for."""
    count = device_count(config["trainer"])
    if count > 1 and (needed := count * PROCESS_BYTES) > MACHINE_BYTES:
        raise ValueError(
            f"trainer.devices={count}: so many processes take {needed / 2**30:,.0f} GiB and more, and this machine has "
            f"{MACHINE_BYTES / 2**30:,.0f}"
        )


def _watched(name: str, callback: Callback, logged: Sequence[str]) -> None:
    """Refuse a callback that monitors a metric that is not logged."""
    watched = getattr(callback, "monitor", None)
    if (watched is not None or isinstance(callback, EarlyStopping)) and watched not in logged:
        raise ValueError(f'callbacks.{name}: nothing is logged as "{watched}"{hint(watched, logged)}')


def _lookers(parts: Parts, data: Config) -> None:
    """Refuse lookers if none of them applies to the data's form; the fit itself skips one among others."""
    lookers = {name: callback.misfit for name, callback in parts.callbacks.items() if hasattr(callback, "misfit")}
    misfits = {name: instead for name, misfit in lookers.items() if (instead := misfit(facts(data)))}
    if misfits and len(misfits) == len(lookers):
        name, instead = next(iter(misfits.items()))
        raise ValueError(
            f"callbacks.{name} looks at {instead}, and data={data['name']} holds {form(data).name}s of "
            f"{show(facts(data).shape)} values; leave it out, or take other data"
        )


def _loggers(config: Config) -> None:
    """Make the loggers in a temporary folder."""
    for name, node in (config["logger"] or {}).items():
        with prefix_errors(f"logger.{name}"), TemporaryDirectory() as folder:
            if node is not None:
                # log_dir is made of the logger's other options, and fails if one is not text
                _ = target(node, Logger, config["trusted_modules"])(save_dir=folder).log_dir


def _trainer(config: Config) -> None:
    """Let Lightning check the options of its Trainer."""
    known = [name for name in inspect.signature(Trainer).parameters if name not in OURS]
    for key in config["trainer"]:
        if key in OURS:
            raise ValueError(f"trainer.{key} is decided by the run itself")
        if key not in known:
            raise ValueError(f"trainer.{key}: Lightning's Trainer has no such option{hint(key, known)}")
    if config["trainer"].get("limit_train_batches") == 0:
        raise ValueError("trainer.limit_train_batches=0 leaves nothing to train on")
    with prefix_errors("trainer"), _silent_lightning():
        _make_trainer(
            json.dumps(config["trainer"]), resolve_precision(config["precision"], config["trainer"]["accelerator"])
        )


@cache
def _make_trainer(options: str, precision: str) -> None:
    """Make a Trainer with options given as JSON, once for all variants of a study that share them."""
    Trainer(
        **json.loads(options),
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


@contextmanager
def _silent_lightning() -> Iterator[None]:
    """Silence Lightning's messages, which the trainer of the fit repeats."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(before)
