"""Every documented key changes something: what is computed or written, not only the config.

EFFECTS has a row for every key of the shipped files: a value, and where it shows. A new key needs a row.
"""

import contextlib
import csv
import functools
import hashlib
import importlib
import io
import json
import re
import shutil
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from lightning.pytorch import Callback
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import cnnlab
from cnnlab.config.compose import compose, conf_dir, plain
from cnnlab.runs.checkpoints import read
from cnnlab.trained.run import Run
from cnnlab.training.assemble import assemble, prepare
from cnnlab.training.fit import load_data

pytestmark = pytest.mark.slow

COMMANDS = ("evaluate", "export", "inspect", "play", "predict", "report", "robustness", "summary")
XO = "data=xo_tricky data.train_size=64 data.test_size=32 data.batch_size=16 data.epochs=2"  # 4 steps an epoch
PICTURES = "data=image_folder data.path=pictures data.resize=9 data.val_size=0.25 data.batch_size=4 data.epochs=1"
UNSPLIT = "data=text_file data.path=sentences/train.tsv data.batch_size=4 data.epochs=1"
TEXT = "data=text_file data.path=sentences/train.tsv data.val_size=0.25 data.batch_size=4 data.epochs=1"
POINTS = "data=points data.train_size=64 data.test_size=32 data.batch_size=16 data.epochs=2 model=points_mlp"
SOUNDS = ("data=sound_folder data.path=sounds data.resize=9 data.seconds=0.2 data.val_size=4 data.batch_size=4 "
          "data.epochs=1")  # fmt: skip
TINY = "model=xo_cnn trainer=cpu augment=none +callbacks.spy={_target_:test_effects.Spy}"


class Spy(Callback):
    """Notes what a fit does; `Spy.last` is that of the last fit."""

    last: ClassVar["Spy | None"] = None

    def __init__(self) -> None:
        self.steps = self.saves = self.validated = 0

    def on_train_start(self, trainer, pl_module):
        Spy.last = self
        data = trainer.datamodule
        self.source, self.sizes = type(data.train).__name__, (len(data.train), len(data.val))
        self.deterministic = torch.are_deterministic_algorithms_enabled()
        self.defaults = trainer.optimizers[0].defaults

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps, self.shape = trainer.global_step, tuple(batch[0].shape[1:])

    def on_validation_batch_end(self, *args, **kwargs):
        self.validated += 1

    def on_save_checkpoint(self, *args):
        self.saves += 1


def made(*args, **options):
    """Stands for what a `_target_` names."""
    raise ValueError(f"made of {', '.join(sorted(options))}")


def spy(*args, **options):
    """A callable that makes a callback, which only `trusted_modules` lets a config name."""
    return Spy()


@dataclass
class Seen:
    """What a request left: the folder it ran in, what it printed, why it was refused, and of a fit what is known."""

    folder: Path
    printed: str = ""
    refusal: str = ""
    run: Run | None = None
    spy: Spy | None = None
    compiled: tuple[Any, ...] = ()
    prepared: Any = None


# --- where a key may show


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def weights(seen: Seen) -> dict:
    state = read(seen.run.directory / "checkpoints/last.ckpt")["state_dict"]
    return {k: (v.dtype, tuple(v.shape), digest(v.numpy().tobytes())) for k, v in state.items() if "metrics" not in k}


def loss_of_test(seen: Seen) -> float:
    return seen.run.metrics["test/loss"]


def has_test(seen: Seen) -> bool:
    return "test/acc" in seen.run.metrics


def epochs(seen: Seen) -> float:
    return seen.run.metrics["epochs"]


def steps(seen: Seen) -> int:
    return seen.spy.steps


def saves(seen: Seen) -> int:
    return seen.spy.saves


def validated(seen: Seen) -> int:
    return seen.spy.validated


def sizes(seen: Seen) -> tuple[int, int]:
    return seen.spy.sizes


def shape(seen: Seen) -> tuple[int, ...]:
    return seen.spy.shape


def source(seen: Seen) -> str:
    return seen.spy.source


def deterministic(seen: Seen) -> bool:
    return seen.spy.deterministic


def fused(seen: Seen) -> bool:
    return seen.spy.defaults["fused"]


def compiled(seen: Seen) -> tuple:
    return seen.compiled


def name(seen: Seen) -> str:
    """A run directory's name without time and id."""
    return re.fullmatch(r"[\d-]+_[\d-]+-(.+)-[0-9a-f]{6}", seen.run.directory.name)[1]


def place(seen: Seen) -> str:
    return seen.run.directory.parent.relative_to(seen.folder).as_posix()


def refusal(seen: Seen) -> str:
    return seen.refusal


def printed(seen: Seen) -> str:
    return seen.printed


def logged_steps(seen: Seen) -> int:
    with next(seen.folder.glob("outputs/runs/*/csv/version_0/metrics.csv")).open() as file:
        return sum(bool(row["train/loss_step"]) for row in csv.DictReader(file))


def files(seen: Seen) -> list[str]:
    """What lies in the folder; names without times, processes and ids."""
    paths = sorted(p.relative_to(seen.folder).as_posix() for p in seen.folder.rglob("*") if p.is_file())
    return sorted(re.sub(r"(?<=runs/)[^/]+/|(?<=tfevents)\.[^/]*", "", p) for p in paths)


def scalars(seen: Seen) -> list[str]:
    return sorted(EventAccumulator(str(seen.run.directory)).Reload().Tags()["scalars"])


def of(looker: str) -> Callable[[Seen], dict]:
    """What a looker wrote at which steps."""

    def looked(seen: Seen) -> dict:
        events = EventAccumulator(str(seen.run.directory), {"images": 0, "scalars": 0, "histograms": 0}).Reload()
        values = {
            "images": lambda event: digest(event.encoded_image_string),
            "scalars": lambda event: event.value,
            "histograms": lambda event: str(event.histogram_value),
        }
        gets = {"images": events.Images, "scalars": events.Scalars, "histograms": events.Histograms}
        return {
            tag: [(event.step, values[kind](event)) for event in gets[kind](tag)]
            for kind in gets
            for tag in events.Tags()[kind]
            if tag.startswith(f"{looker}/")
        }

    return looked


def page(seen: Seen) -> str:
    """The page of inspect, of whatever run."""
    (written,) = seen.folder.glob("*/inspect/index.html")
    return digest(written.read_bytes())


def processes(seen: Seen) -> int:
    return seen.prepared.trainer.world_size


def exchange(seen: Seen) -> str:
    return type(seen.prepared.trainer.strategy).__name__


def synchronised_norms(seen: Seen) -> int:
    fit = seen.prepared
    sync = fit.trainer.strategy._layer_sync
    network = sync.apply(fit.classifier) if sync else fit.classifier
    return sum(isinstance(m, nn.SyncBatchNorm) for m in network.modules())


def studies(seen: Seen) -> list[str]:
    return [p.name for p in seen.folder.glob("outputs/studies/*")]


def plan(seen: Seen) -> Any:
    """The variants of a study, and the seeds of its jobs."""
    (written,) = seen.folder.glob("outputs/studies/*/plan.json")
    content = json.loads(written.read_text())
    variants = [(v["name"], v["overrides"]) for v in content["variants"]]
    return content["baseline"], variants, sorted({job["seed"] for job in content["jobs"]})


def folds(seen: Seen) -> tuple[int | None, list[int | None]]:
    """How many folds a study has, and which its jobs hold out."""
    (written,) = seen.folder.glob("outputs/studies/*/plan.json")
    content = json.loads(written.read_text())
    return content["folds"], [job["fold"] for job in content["jobs"]]


def measure(seen: Seen) -> dict | None:
    (written,) = seen.folder.glob("outputs/studies/*/plan.json")
    return json.loads(written.read_text())["metric"]


def margin(seen: Seen) -> float | None:
    (written,) = seen.folder.glob("outputs/studies/*/plan.json")
    return json.loads(written.read_text())["margin"]


def runs(seen: Seen) -> int:
    return len(list(seen.folder.glob("outputs/studies/*/*/run.json")))


def packed(seen: Seen) -> list[int]:
    found = seen.folder.glob("outputs/studies/*/*/run.json")
    return [len(json.loads(p.read_text()).get("packed_with", [])) for p in found]


def trials(seen: Seen) -> list[int]:
    """What happened to the trials of a search, in order: 4 is begun, 6 is over."""
    (journal,) = seen.folder.glob("outputs/studies/*/trials.log")
    return [op for line in journal.read_text().splitlines() if (op := json.loads(line)["op_code"]) in (4, 6)]


# --- the table


@dataclass
class Row:
    """A value for a key, where it shows, and perhaps what shows then, as a regular expression.

    What else both requests hold: `base`, and where `by` is "fit" or "prepare" TINY and `data`.
    """

    value: str
    shows: Callable[[Seen], Any]
    base: str = ""
    gives: str = ""
    by: str = "fit"
    data: str = XO


def only(looker: str) -> str:
    every = (
        "filters",
        "health",
        "mistakes",
        "features",
        "saliency",
        "embeddings",
        "decision_regions",
        "probe",
        "shifts",
    )
    others = {*every} - {looker}
    return " ".join(["callbacks=inspect", *(f"callbacks.{other}=null" for other in sorted(others))])


DDP = "trainer=ddp trainer.accelerator=cpu trainer.devices=2"
DRAFT = "-m data=xo model=xo_cnn trainer=cpu study.plan_only=true"
PLAN = f"{DRAFT} model=mlp,softmax"
FOLDED = f"{PICTURES.replace('data.val_size=0.25 ', '')} data.folds=4 data.fold=0"
STUDY = f"-m model=softmax seed=0,1 trainer=cpu {XO} data.epochs=1"
SEARCH = f"{STUDY.replace('seed=0,1', 'optimizer.lr=interval(0.001,0.1)')} hydra.sweeper.trials=2"
REGIONS = "callbacks=decision_regions"
STOP = "callbacks=early_stopping trainer.max_epochs=5"
GIVEN = "model=xo_cnn init_from=run"
BAG = "model=bag_of_words"
LOOK = only("saliency").replace("callbacks=inspect", "run=run")

# a key as it is typed, behind the choice or the command that has it
EFFECTS: dict[str, Row] = {
    # conf/train.yaml
    "seed": Row("1", weights),
    "run_name": Row("mine", name, gives="mine"),
    "init_from": Row("run", weights),
    "checkpoint_every": Row("3", saves, gives="^6$"),  # best and last twice each, then steps 3 and 6
    "label_smoothing": Row("0.2", weights),
    "class_weights": Row("[1,3]", weights),
    "metrics": Row("[f1]", scalars, gives="val/f1"),
    "test_flip": Row("true", loss_of_test),
    "test_shift": Row("1", loss_of_test),
    "precision": Row("64-true", weights, gives="float64"),
    "compile": Row("max-autotune", compiled, gives="max-autotune"),
    "deterministic": Row("true", deterministic, gives="True"),
    "trusted_modules": Row("[test_effects]", refusal, base="callbacks.spy._target_=test_effects.spy", gives="^$"),
    "study.name": Row("mine", studies, base=PLAN, by="train", gives="'mine'"),
    "study.variants": Row("{wide:['model.width=2']}", plan, base=DRAFT, by="train"),
    "study.leave_out": Row("[pool*]", plan, base=DRAFT, by="train", gives="no_pool2"),
    "study.leave_out_blocks": Row("true", plan, base=f"{DRAFT} model=resnet20 study.skip_invalid=true", by="train",
                                  gives=r"no_s1b1.*s1b1_conv1,s1b1_conv2,s1b1_add\]"),
    "study.seeds": Row("[3,4]", plan, base=PLAN, by="train", gives=r"\[3, 4\]"),
    "study.baseline": Row("softmax", plan, base=PLAN, by="train", gives=r"^\('softmax'"),
    "study.factorial": Row("[[conv1],[pool2]]", plan, base=DRAFT, by="train", gives="no_conv1_pool2"),
    "study.pairs": Row("[conv1,pool*]", plan, base=DRAFT, by="train", gives="no_conv1_pool2"),
    "study.vary": Row("[seed,split]", plan, base=f"{PLAN} data=digits", by="train", gives="one_split"),
    "study.margin": Row("0.2", margin, base=PLAN, by="train", gives=r"^0\.002$"),
    "study.metric": Row("val/loss", measure, base=PLAN, by="train", gives="'higher_is_better': False"),
    "study.folds": Row("2", folds, base=f"{PLAN} data=digits seed=0", by="train", gives=r"\(2, \[0, 0, 1, 1\]\)"),
    "study.match": Row("params", plan, base=f"{DRAFT} model=mlp model.layers.fc1.features=128,64", by="train"),
    "study.skip_invalid": Row("true", refusal, base=f"{PLAN} model=mlp,lenet5", by="train", gives="^$"),
    "study.pack": Row("2", packed, base=STUDY, by="train", gives=r"^\[1, 1\]$"),
    "study.plan_only": Row("true", runs, base=STUDY, by="train", gives="^0$"),
    # the groups
    "data": Row("xo", weights),
    "model": Row("mlp", weights),
    "optimizer": Row("sgd", weights),
    "scheduler": Row("constant", weights),
    "augment": Row("flip_crop", weights),
    "callbacks": Row("ema", weights),
    "trainer": Row("ddp_cpu", processes, by="prepare", gives="^2$"),
    "experiment": Row("mlp_mnist", weights),
    "ablation": Row("width", plan, base=DRAFT, by="train"),
    # where things lie
    "data_dir": Row("altered", refusal, base="data=mnist data_dir=damaged", data="", gives="^altered/"),
    "output_dir": Row("elsewhere", place, gives="^elsewhere/runs$"),
    # conf/common/data.yaml and conf/data/
    "data.name": Row("xo", name, gives="^xo_cnn-xo$"),
    "data.batch_size": Row("8", steps, gives="^16$"),
    "data.eval_batch_size": Row("8", validated, gives="^8$"),
    "data.val_size": Row("0.5", sizes, data=PICTURES, gives=r"^\(8, 8\)$"),
    "data.split_seed": Row("1", weights, data=PICTURES),
    "data.folds": Row("8", sizes, data=FOLDED, gives=r"^\(14, 2\)$"),
    "data.fold": Row("1", weights, data=FOLDED),
    "data.resize": Row("12", shape, gives="12, 12"),
    "data.trim": Row("1", shape, gives="7, 7"),
    "data.crop": Row("5", shape, gives="5, 5"),
    "data.permute_pixels": Row("true", weights),
    "data.epochs": Row("1", epochs, gives="^1$"),
    "data.dir": Row("altered", refusal, base="data=mnist data.dir=damaged", data="", gives="^altered/"),
    "data.train_size": Row("48", steps, gives="^6$"),
    "data.test_size": Row("16", sizes, gives=r"^\(64, 16\)$"),
    "data.draw.translation": Row("0", weights),
    "data.draw.scaling": Row("0", weights),
    "data.draw.rotation": Row("0", weights),
    "data.draw.weight": Row("0", weights),
    "data.draw.seed": Row("1", weights),
    "data.kind": Row("moons", weights, data=POINTS),
    "data.noise": Row("0.1", weights, data=POINTS),
    "data.draw_seed": Row("1", weights, data=POINTS),
    "data.path": Row("more", sizes, data=PICTURES, gives=r"^\(18, 6\)$"),
    "data.channels": Row("1", shape, data=PICTURES, gives=r"^\(1, "),
    "data.stream": Row("1", source, data=PICTURES, gives="Files"),
    "data.val": Row("sentences/other.tsv", sizes, base=BAG, data=UNSPLIT, gives=r"^\(16, 4\)$"),
    "data.test": Row("sentences/other.tsv", has_test, base=BAG, data=TEXT, gives="True"),
    "data.length": Row("3", shape, base=BAG, data=TEXT, gives=r"^\(3,\)$"),
    "data.min_count": Row("3", weights, base=BAG, data=TEXT),
    "data.lower": Row("false", weights, base=BAG, data=TEXT),
    "data.permute_words": Row("true", weights, base="model=sentence_cnn", data=TEXT),
    # conf/common/sound.yaml
    "data.rate": Row("8000", weights, data=SOUNDS),
    "data.seconds": Row("0.3", weights, data=SOUNDS),
    "data.spectrogram.n_fft": Row("1024", weights, data=SOUNDS),
    "data.spectrogram.hop": Row("100", weights, data=SOUNDS),
    "data.spectrogram.mels": Row("16", weights, data=SOUNDS),
    "data.spectrogram.low": Row("400", weights, data=SOUNDS),
    "data.spectrogram.high": Row("4000", weights, data=SOUNDS),
    "data.spectrogram.decibels": Row("40", weights, data=SOUNDS),
    # conf/common/trainer.yaml and conf/trainer/
    "trainer.max_epochs": Row("1", epochs, gives="^1$"),
    "trainer.log_every_n_steps": Row("2", logged_steps, gives="^4$"),
    "trainer.gradient_clip_val": Row("0.01", weights, base="optimizer=sgd"),
    "trainer.accumulate_grad_batches": Row("2", steps, gives="^4$"),
    "trainer.check_val_every_n_epoch": Row("2", validated, gives="^1$"),
    "trainer.num_nodes": Row("2", processes, by="prepare", gives="^2$"),
    "trainer.accelerator": Row("mps", refusal, gives="no MPS"),
    "trainer.devices": Row("2", processes, by="prepare", gives="^2$"),
    "trainer.strategy": Row("ddp", exchange, by="prepare", gives="DDP"),
    "trainer.sync_batchnorm": Row("false", synchronised_norms, base=f"{DDP} model.norm=batch", by="prepare"),
    # conf/model/
    "model.name": Row("mine", name, gives="^mine-"),
    "model.activation": Row("tanh", weights),
    "model.norm": Row("batch", weights),
    "model.dropout": Row("0.5", weights, base="model=mlp"),
    "model.init": Row("he_normal", weights),
    "model.width": Row("2", weights),
    "model.strict_sizes": Row("true", refusal, base="+model.layers.conv1.stride=4", gives="conv1: does not fit"),
    "model.loss": Row("mse", weights),
    "model.remove": Row("[pool2]", weights),
    "model.repair": Row("true", refusal, base='model=resnet20 model.remove=["s2b1_*"]', by="summary", gives="^$"),
    "model.freeze": Row("[conv1]", weights),
    "model.groups": Row("1", printed, base="model=alexnet input_shape=[3,227,227] num_classes=1000", by="summary",
                        gives="62,378,344"),
    "model.arch": Row("squeezenet1_1", printed, base="model=torchvision", by="summary", gives="^squeezenet1_1"),
    "model.weights": Row("UNKNOWN", refusal, base="model=torchvision", by="summary", gives="UNKNOWN"),
    # conf/optimizer/
    "optimizer=adadelta optimizer.lr": Row("0.5", weights),
    "optimizer=adadelta optimizer.rho": Row("0.5", weights),
    "optimizer=adadelta optimizer.weight_decay": Row("0.1", weights),
    "optimizer=adam optimizer.lr": Row("0.01", weights),
    "optimizer=adam optimizer.betas": Row("[0.8,0.999]", weights),
    "optimizer=adam optimizer.weight_decay": Row("0.1", weights),
    "optimizer=adam optimizer.fused": Row("false", fused),
    "optimizer=adamw optimizer.lr": Row("0.01", weights),
    "optimizer=adamw optimizer.betas": Row("[0.9,0.9]", weights),
    "optimizer=adamw optimizer.weight_decay": Row("0.1", weights),
    "optimizer=adamw optimizer.fused": Row("false", fused),
    "optimizer=muon optimizer.lr": Row("0.01", weights),
    "optimizer=muon optimizer.momentum": Row("0.5", weights),
    "optimizer=muon optimizer.weight_decay": Row("0.1", weights),
    "optimizer=muon optimizer.adamw_lr": Row("0.01", weights),
    "optimizer=muon optimizer.betas": Row("[0.8,0.95]", weights),
    "optimizer=sgd optimizer.lr": Row("0.01", weights),
    "optimizer=sgd optimizer.momentum": Row("0.5", weights),
    "optimizer=sgd optimizer.nesterov": Row("false", weights),
    "optimizer=sgd optimizer.weight_decay": Row("0.1", weights),
    "optimizer=sgd optimizer.fused": Row("false", fused),
    "+optimizer.groups": Row("{head.*:{lr_factor:2}}", weights),
    # conf/scheduler/
    "scheduler=constant scheduler.warmup_epochs": Row("1", weights),
    "scheduler=cosine scheduler.final": Row("0.5", weights),
    "scheduler=cosine scheduler.warmup_epochs": Row("1", weights),
    "scheduler=exponential scheduler.gamma": Row("0.5", weights),
    "scheduler=exponential scheduler.warmup_epochs": Row("1", weights),
    "scheduler=onecycle scheduler.peak": Row("0.5", weights),
    "scheduler=onecycle scheduler.start": Row("0.5", weights),
    "scheduler=onecycle scheduler.final": Row("0.5", weights),
    "scheduler=onecycle scheduler.warmup_epochs": Row("1", weights),
    "scheduler=step scheduler.every": Row("1", weights),
    "scheduler=step scheduler.gamma": Row("0.5", weights, base="scheduler.every=1"),
    "scheduler=step scheduler.warmup_epochs": Row("1", weights),
    # conf/augment/
    "augment.affine.rotation": Row("45", weights, base="augment=affine"),
    "augment.affine.translation": Row("1", weights, base="augment=affine"),
    "augment.affine.scaling": Row("0.5", weights, base="augment=affine"),
    "augment.flip": Row("null", weights, base="augment=flip_crop"),
    "+augment.flip.alternate": Row("true", weights, base="augment=flip_crop"),
    "augment.crop.pad": Row("1", weights, base="augment=flip_crop"),
    "augment.shift_time.most": Row("1", weights, base="augment=spoken_digits"),
    "augment.mask_time.most": Row("1", weights, base="augment=spoken_digits"),
    "augment.mask_time.masks": Row("2", weights, base="augment=spoken_digits"),
    "augment.mask_frequency.most": Row("1", weights, base="augment=spoken_digits"),
    "augment.mask_frequency.masks": Row("2", weights, base="augment=spoken_digits"),
    "augment.cutout.size": Row("2", weights, base="augment=flip_crop_cutout"),
    # conf/callbacks/
    "callbacks.early_stopping.monitor": Row("val/acc", epochs, base=f"{STOP} callbacks.early_stopping.patience=1"),
    "callbacks.early_stopping.mode": Row("max", epochs, base=f"{STOP} callbacks.early_stopping.patience=1"),
    "callbacks.early_stopping.patience": Row("1", epochs, base=f"{STOP} optimizer.lr=0", gives="^2$"),
    "callbacks.ema.decay": Row("0.5", weights, base="callbacks=ema"),
    "callbacks.snapshots.count": Row("2", files, base="callbacks=snapshots"),
    "callbacks.lookahead.every": Row("2", weights, base="callbacks=lookahead"),
    "callbacks.lookahead.decay": Row("0.1", weights, base="callbacks=lookahead callbacks.lookahead.every=2"),
    "callbacks.filters.every_n_epochs": Row("1", of("filters"), base=only("filters")),
    "callbacks.filters.images": Row("2", of("filters"), base=only("filters")),
    "callbacks.health.every_n_epochs": Row("1", of("health"), base=only("health")),
    "callbacks.mistakes.every_n_epochs": Row("1", of("mistakes"), base=only("mistakes")),
    "callbacks.mistakes.errors": Row("1", of("mistakes"), base=only("mistakes")),
    "callbacks.features.every_n_epochs": Row("1", of("features"), base=only("features")),
    "callbacks.features.images": Row("5", of("features"), base=only("features")),
    "callbacks.features.channels": Row("1", of("features"), base=only("features")),
    "callbacks.features.steps": Row("1", of("features"), base=only("features")),
    "callbacks.saliency.every_n_epochs": Row("1", of("saliency"), base=only("saliency")),
    "callbacks.saliency.images": Row("2", of("saliency"), base=only("saliency")),
    "callbacks.embeddings.every_n_epochs": Row("1", of("embeddings"), base=only("embeddings")),
    "callbacks.embeddings.images": Row("9", of("embeddings"), base=only("embeddings")),
    "callbacks.decision_regions.every_n_epochs": Row("1", of("decision_regions"), base=REGIONS, data=POINTS),
    "callbacks.decision_regions.resolution": Row("9", of("decision_regions"), base=REGIONS, data=POINTS),
    "callbacks.probe.every_n_epochs": Row("1", of("probe"), base=only("probe")),
    "callbacks.probe.images": Row("9", of("probe"), base=only("probe")),
    "callbacks.probe.values": Row("1", of("probe"), base=only("probe")),
    "callbacks.shifts.every_n_epochs": Row("1", of("shifts"), base=only("shifts")),
    "callbacks.shifts.images": Row("9", of("shifts"), base=only("shifts")),
    "callbacks.shifts.pixels": Row("1", of("shifts"), base=only("shifts")),
    # conf/logger/
    "logger.tensorboard.name": Row("board", files, gives="runs/board/events"),
    "logger.tensorboard.version": Row("first", files, gives="runs/first/events"),
    "logger.tensorboard.default_hp_metric": Row("true", scalars, gives="hp_metric"),
    "logger.csv.name": Row("numbers", files, gives="numbers/version_0/metrics.csv"),
    # conf/hydra/sweeper/
    "hydra/sweeper=study hydra.sweeper.params": Row("{seed:'3,4'}", plan, base=PLAN, by="train", gives=r"\[3, 4\]"),
    "hydra/sweeper=search hydra.sweeper.trials": Row("3", runs, base=SEARCH, by="train", gives="^3$"),
    "hydra/sweeper=search hydra.sweeper.params": Row("{seed:'0,1'}", printed, base=SEARCH, by="train", gives="seed="),
    "hydra/sweeper=search hydra.sweeper.parallel": Row("2", trials, base=SEARCH, by="train", gives="4, 4, 6, 6"),
    # the other commands
    "evaluate run": Row("other", printed, base="run=run"),
    "evaluate model": Row("softmax", refusal, base=GIVEN, gives="no layer of that run"),
    "evaluate init_from": Row("other", printed, base=GIVEN),
    "evaluate output_dir": Row("elsewhere", files, base=GIVEN, gives="elsewhere/given"),
    "evaluate data": Row("xo", printed, base="run=run", gives="evaluate/xo.json"),
    "evaluate lesion": Row("each", printed, base="run=run", gives="pool2"),
    "evaluate lesion_by": Row("zero", printed, base="run=run lesion=[conv1:0]"),
    "export run": Row("gone", refusal, base="run=run", gives="gone is no run directory"),
    "export model": Row("softmax", refusal, base=GIVEN, gives="no layer of that run"),
    "export init_from": Row("gone", refusal, base=GIVEN, gives="gone"),
    "export output_dir": Row("elsewhere", files, base=GIVEN, gives="elsewhere/given"),
    "export output": Row("there", files, base="run=run", gives="there/xo_cnn.onnx"),
    "inspect run": Row("other", page, base=LOOK),
    "inspect model": Row("softmax", refusal, base=f"callbacks=none {GIVEN}", gives="no layer of that run"),
    "inspect init_from": Row("other", printed, base=f"callbacks=none {GIVEN}"),
    "inspect output_dir": Row("elsewhere", files, base=f"callbacks=none {GIVEN}", gives="elsewhere/given"),
    "inspect images": Row("pictures/train/a", page, base=LOOK),
    "inspect callbacks": Row("inspect", page, base="run=run callbacks=none"),
    "predict run": Row("other", printed, base="run=run images=pictures"),
    "predict model": Row("softmax", refusal, base=f"images=pictures {GIVEN}", gives="no layer of that run"),
    "predict init_from": Row("other", printed, base=f"images=pictures {GIVEN}"),
    "predict output_dir": Row("elsewhere", files, base=f"images=pictures {GIVEN}", gives="elsewhere/given"),
    "predict images": Row("more", printed, base="run=run images=pictures"),
    "predict output": Row("there.csv", files, base="run=run images=pictures", gives="there.csv"),
    "report study": Row("again", printed, base="study=study", gives="report +again/report.html"),
    "report runs": Row("[other,run]", printed, base="runs=[run,other]"),
    "report output": Row("there", files, base="runs=[run,other]", gives="there/results.csv"),
    "robustness run": Row("other", printed, base="run=run distortions=[shift]"),
    "robustness distortions": Row("[blur]", printed, base="run=run distortions=[shift]", gives="blur"),
    "robustness output": Row("there", files, base="run=run distortions=[shift]", gives="there/robustness.svg"),
    "summary data": Row("xo", printed, base="model=mlp", gives="1x9x9"),
    "summary model": Row("mlp", printed, gives="101,770"),
    "summary input_shape": Row("[1,32,32]", printed, gives="1x32x32"),
    "summary num_classes": Row("7", printed, gives="7 classes"),
    "summary format": Row("json", printed, gives="^{"),
}  # fmt: skip

IN_DOCS = {"+augment.flip.alternate", "+optimizer.groups"}  # and in no file of a group

# keys whose effect another test shows
ELSEWHERE = {
    "evaluate data_dir": "test_evaluate.py::test_a_runs_data_may_lie_elsewhere_than_they_did",
    "export data_dir": "test_evaluate.py::test_a_runs_data_may_lie_elsewhere_than_they_did",
    "play data_dir": "test_evaluate.py::test_a_runs_data_may_lie_elsewhere_than_they_did",
    "inspect data_dir": "test_evaluate.py::test_a_runs_data_may_lie_elsewhere_than_they_did",
    **{
        f"{command} data": "test_given.py::test_the_datas_classes_name_those_of_weights_for_as_many"
        for command in ("export", "inspect", "play", "predict")  # of which the first stands for all, see Run.given
    },
    **dict.fromkeys(
        ("play run", "play pictures"),
        "playground/test_play.py::test_choosing_and_counting",
    ),
    **dict.fromkeys(("play model", "play init_from"), "playground/test_play.py::test_given_weights_without_pictures"),
    **dict.fromkeys(("play lesson", "play output_dir"), "playground/test_lessons.py::test_lessons_by_command"),
    **dict.fromkeys(("play picture", "play kernel"), "playground/test_lessons.py::test_a_picture_through_a_kernel"),
    "predict text": "test_sentence_runs.py::test_it_answers_without_its_training_file",
    "predict data_dir": "test_given.py::test_data_of_other_channels_or_classes_are_refused",
    "robustness data_dir": "test_evaluate.py::test_a_runs_data_may_lie_elsewhere_than_they_did",
    # a table needs no data files; the key is there because every command that takes data= has it
    "summary data_dir": "test_commands.py::test_summary_as_json_is_only_json",
    **{
        f"{command} trusted_modules": "test_trusted.py::test_a_command_knows_what_the_modules_register_that_it_is_told"
        for command in ("evaluate", "export", "inspect", "play", "predict", "robustness", "summary")
    },
    "data.held_out": "data/test_sound.py::test_a_speaker_who_is_held_out_is_in_no_other_split",
    "resume": "test_resume.py::test_a_run_stopped_at_any_step_ends_bit_identical",
    "model.layers": "test_keys.py::test_so_is_every_key_of_every_model",  # and tests/models, kind by kind
    "study.variant": "test_sweep.py::test_tensorboard_gets_what_is_varied_and_the_seeds_as_one_group",
    "study.varied": "test_sweep.py::test_tensorboard_gets_what_is_varied_and_the_seeds_as_one_group",
    "study.tune": "test_tune.py::test_variants_are_tuned_by_themselves_and_test_images_have_no_part",
    "study.tuning": "test_tune.py::test_variants_are_tuned_by_themselves_and_test_images_have_no_part",
    "study.trial": "test_sweep.py::test_a_search_prunes_resumes_and_survives_failing_trials",
    "logger": "test_effects.py::test_every_target_is_made_of_all_its_options",  # there is one choice, with rows above
}


def request(key: str, row: Row) -> tuple[str, list[str], list[str]]:
    """How a row's key is seen: by what, and the arguments without and with it."""
    *chosen, path = key.split()
    by = chosen.pop() if chosen and chosen[0] in COMMANDS else row.by
    tiny = f"{TINY} {row.data}" if by in ("fit", "prepare") else ""
    base = f"{tiny} {row.base} {' '.join(chosen)}".split()
    added = (
        "+" if row.value.startswith("{") and not path.startswith("+") else ""
    )  # or Hydra takes a mapping's keys for new ones
    return by, base, [*base, f"{added}{path}={row.value}"]


class Lab:
    """Carries out requests, each in a folder of its own, with what it names: runs, a study, pictures, damaged files."""

    def __init__(self, root: Path) -> None:
        self.root, self.stuff, self.cache = root, root / "stuff", dict[tuple[str, ...], Seen]()
        self.stuff.mkdir()
        for folder, count in (("pictures", 8), ("more", 12)):
            draw_pictures(self.stuff / folder / "train", count)
        (self.stuff / "sentences").mkdir()
        for name, count in (("train", 16), ("other", 4)):
            lines = [f"{'xy'[n % 2]}\tThe {n % 5} words and the {n % 3}" for n in range(count)]
            (self.stuff / f"sentences/{name}.tsv").write_text("\n".join(lines))
        draw_sounds(self.stuff / "sounds/train")
        for folder in ("damaged", "altered"):
            raw = self.stuff / folder / "MNIST/raw"
            raw.mkdir(parents=True)
            for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
                (raw / f"{part}-ubyte").write_bytes(b"not the official file")
        learnt = "data.train_size=1000 data.test_size=200 data.batch_size=50 data.epochs=8 optimizer.lr=0.03"
        for folder, more in (("run", learnt), ("other", "seed=1")):
            seen = self.see("fit", f"{TINY} {XO} {more}".split())
            shutil.copytree(seen.folder / seen.run.directory, self.stuff / folder)
        (study,) = self.see("train", STUDY.split()).folder.glob("outputs/studies/*")
        for folder in ("study", "again"):
            shutil.copytree(study, self.stuff / folder)

    def base(self, by: str, arguments: list[str]) -> Seen:
        """What a request leaves, from an earlier time if there was one."""
        key = (by, *arguments)
        if key not in self.cache:
            self.cache[key] = self.see(by, arguments)
        return self.cache[key]

    def see(self, by: str, arguments: list[str]) -> Seen:
        folder = self.root / str(len(list(self.root.iterdir())))
        folder.mkdir()
        for thing in self.stuff.iterdir():
            if re.search(rf"\b{thing.name}\b", " ".join(arguments)):
                shutil.copytree(thing, folder / thing.name)
        modes: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("CNNLAB_DATA_DIR", "data")
            patch.setenv("CXX", sys.executable)  # stands for a compiler, which is looked for and not used
            patch.setattr(torch, "compile", lambda forward, mode: (modes.append(mode), forward)[1])
            patch.setattr(torch.backends.mps, "is_available", functools.cache(lambda: False))  # cached as torch has it
            seen = {"fit": fit, "prepare": make}.get(by, command)(folder, by, arguments, patch)
        seen.compiled = tuple(modes)
        return seen


def draw_pictures(folder: Path, count: int) -> None:
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            values = torch.randint(256, (9, 9, 3), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
            Image.fromarray((values // (1 + (label == "b"))).numpy()).save(folder / label / f"{index}.png")


def draw_sounds(folder: Path) -> None:
    for label, rate in (("a", 16000), ("b", 8000)):
        (folder / label).mkdir(parents=True)
        for index in range(8):
            values = torch.randint(256, (4000,), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
            with wave.open(str(folder / label / f"{index}.wav"), "wb") as file:
                file.setparams((1, 1, rate, 0, "NONE", ""))
                file.writeframes(values.numpy().tobytes())


def fit(folder: Path, by: str, arguments: list[str], patch: pytest.MonkeyPatch) -> Seen:
    Spy.last = None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            run = cnnlab.fit(arguments)
        except ValueError as error:
            return Seen(folder, refusal=str(error))
        finally:
            torch.use_deterministic_algorithms(False)
    return Seen(folder, out.getvalue(), run=Run(folder / run.directory), spy=Spy.last)


def make(folder: Path, by: str, arguments: list[str], patch: pytest.MonkeyPatch) -> Seen:
    """What a fit is made of, not trained."""
    config = plain(compose("train", arguments)[0])
    return Seen(folder, prepared=prepare(assemble(config), folder / "run", load_data(config), None))


def command(folder: Path, by: str, arguments: list[str], patch: pytest.MonkeyPatch) -> Seen:
    GlobalHydra.instance().clear()
    patch.setattr(sys, "argv", [f"cnnlab.{by}", *arguments])
    patch.setenv("HYDRA_FULL_ERROR", "0")
    status: Any = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            importlib.import_module(f"cnnlab.{by}").main()
        except SystemExit as end:
            status = end.code
    return Seen(folder, out.getvalue(), f"{status} {err.getvalue()}" if status else "")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize("key", EFFECTS)
def test_every_key_changes_something(lab, key):
    row = EFFECTS[key]
    by, base, changed = request(key, row)
    before, after = lab.base(by, base), lab.see(by, changed)
    if row.shows is not refusal:
        assert (before.refusal, after.refusal) == ("", "")
    shown, now = row.shows(before), row.shows(after)
    assert shown != now
    assert re.search(row.gives, str(now)), now
    assert not row.gives or not re.search(row.gives, str(shown)), shown


# of each command and place the first row that says only that something changes
UNSAID = {(request(key, row)[0], row.shows): key for key, row in reversed(EFFECTS.items()) if not row.gives}


@pytest.mark.parametrize("key", UNSAID.values())
def test_without_a_key_nothing_changes(lab, key):
    by, base, _ = request(key, EFFECTS[key])
    shows = EFFECTS[key].shows
    assert shows(lab.base(by, base)) == shows(lab.see(by, base))


def leaves(node: Any, prefix: str = "") -> list[str]:
    """The dotted keys of nested mappings that hold no mapping, or an empty one."""
    if not isinstance(node, dict) or not node:
        return [prefix[:-1]]
    return [leaf for key, value in node.items() for leaf in leaves(value, f"{prefix}{key}.")]


def documented() -> set[str]:
    """Every key of the shipped files as EFFECTS has them; experiments and ablations have none of their own."""
    found = set()
    for file in conf_dir().rglob("*.yaml"):
        group, choice = file.parent.relative_to(conf_dir()).as_posix(), file.stem
        content = yaml.safe_load(file.read_text()) or {}
        content.pop("hydra", None)
        groups = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
        if group in ("experiment", "ablation"):
            continue
        if group == ".":
            names = [name.removeprefix("optional ") for entry in groups for name in entry]
            prefix = f"{choice} " if choice in COMMANDS else ""
            found |= {f"{prefix}{name}" for name in names if not name.startswith("override ")}
        elif group in ("optimizer", "scheduler", "hydra/sweeper"):
            prefix = f"{group}={choice} {group.replace('/', '.')}."
        else:
            named = "data" if choice == "sound" else choice  # of sounds: data have its keys
            prefix = f"{named if group == 'common' else group}."
        found |= {f"{prefix}{leaf}" for leaf in leaves(content) if leaf and not leaf.endswith("_target_")}
    return {re.sub(r"^model\.(layers|norm)\..*", r"model.\1", key) for key in found}


def test_every_key_of_the_shipped_files_has_a_row():
    assert documented() | IN_DOCS == set(EFFECTS) | set(ELSEWHERE)
    docs = "".join(path.read_text() for path in (Path(__file__).parents[1] / "docs").glob("*.md"))
    assert all(f"`{key}=" in docs for key in IN_DOCS)
    assert not set(EFFECTS) & set(ELSEWHERE)


@pytest.mark.parametrize("shown", sorted(set(ELSEWHERE.values())))
def test_the_tests_named_elsewhere_are_there(shown):
    file, _, test = shown.partition("::")
    assert f"def {test}(" in (Path(__file__).parent / file).read_text()


@pytest.mark.parametrize("told", ["study.variant=x", "study.varied=[seed]", "study.trial=0"])
def test_what_a_study_tells_its_runs_is_refused_where_a_study_would_ignore_it(lab, told):
    assert "it is what a study tells its runs" in lab.see("train", ["-m", "seed=0,1", told]).refusal
    if "trial" in told:
        assert "this is a single run" in lab.see("train", [told]).refusal


def targets() -> list[tuple[str, str, list[str]]]:
    """Every `_target_` of the shipped files: the choice that has it, its place, and the options beside it."""
    found = []
    for group in ("optimizer", "scheduler", "callbacks", "logger"):
        for file in sorted((conf_dir() / group).glob("*.yaml")):
            content = yaml.safe_load(file.read_text()) or {}
            nodes = {group: content} if "_target_" in content else {f"{group}.{k}": v for k, v in content.items()}
            found += [(f"{group}={file.stem}", at, sorted({*node} - {"_target_"})) for at, node in nodes.items()]
    return found


@pytest.mark.parametrize(("choice", "at", "options"), targets())
def test_every_target_is_made_of_all_its_options(lab, choice, at, options):
    mine = [choice, f"{at}._target_=test_effects.made", "trusted_modules=[test_effects]"]
    given = [*options, "save_dir"] if at.startswith("logger") else options
    assert lab.see("fit", mine).refusal == f"{at}: made of {', '.join(sorted(given))}"
