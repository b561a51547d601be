"""A study on paper: its variants, what each would cost, whether each can be built, and which runs it is made of."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter
from typing import Any

from cnnlab.runs import Run, config_hash, read_json, write_json

Config = dict[str, Any]

SCHEMA = 1
MEASURES = ("params", "macs")  # of capacity, for twins
MATCHED = 0.02  # how far a twin's capacity may be from the baseline's
WIDTHS = (0.02, 50.0)  # where a twin's width is looked for
TIMED_MACS = 2e10  # multiply-adds of a timed step, at most


@dataclass
class Variant:
    """One arm of a study."""

    name: str
    overrides: list[str]
    removed: list[str] = field(default_factory=list)
    params: int | None = None
    macs: int | None = None
    seconds: float | None = None  # estimated, of one run
    reason: str | None = None  # why it cannot be


@dataclass
class Job:
    """One run of a study."""

    variant: str
    seed: int
    run_dir: str  # within the study's directory
    config_hash: str


@dataclass
class Plan:
    """What `plan.json` says."""

    name: str
    baseline: str
    identity: str  # of all that is not varied; a plan of another identity is another study
    command: list[str]
    varied: list[str]
    variants: list[Variant]
    jobs: list[Job]
    schema: int = SCHEMA

    @classmethod
    def load(cls, directory: Path) -> "Plan":
        """The plan of a study's directory.

        Raises:
            ValueError: there is none.
        """
        path = directory / "plan.json"
        if not path.is_file():
            raise ValueError(f"{directory} is no study: it has no plan.json")
        content = read_json(path)
        try:
            content["variants"] = [Variant(**v) for v in content["variants"]]
            content["jobs"] = [Job(**j) for j in content["jobs"]]
            return cls(**content)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def write(self, directory: Path) -> None:
        """Write `plan.json`, with the variants and jobs of an earlier plan of the same study that this one lacks."""
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / "plan.json").is_file():
            earlier = Plan.load(directory)
            if earlier.identity == self.identity:
                names, done = {v.name for v in self.variants}, {(j.variant, j.seed) for j in self.jobs}
                self.variants += [v for v in earlier.variants if v.name not in names]
                self.jobs += [j for j in earlier.jobs if (j.variant, j.seed) not in done]
        write_json(directory / "plan.json", asdict(self))


def runs_of(plan: Plan, directory: Path) -> Iterator[tuple[Job, Run | None]]:
    """Every job of a plan with its run, if it has begun."""
    for job in plan.jobs:
        path = directory / job.run_dir
        yield job, Run.load(path) if (path / "run.json").is_file() else None


def job_of(variant: str, config: Mapping[str, Any]) -> Job:
    """The job of a variant whose config is resolved; its directory's name says variant, seed and what it computes."""
    identity, seed = config_hash(config), config["seed"]
    return Job(variant, seed, f"{variant}-s{seed}-{identity}", identity)


def layers_to_leave_out(model: Mapping[str, Any], patterns: Sequence[str]) -> list[str]:
    """Layers whose names match a glob, pools too, but not the classifier and none that is removed anyway."""
    from cnnlab.models.arrangement import arrange, remove_layers
    from cnnlab.models.layers import KINDS

    layers, _ = remove_layers(arrange(model["layers"]), model.get("remove") or [])
    removable = [name for name, spec in layers.items() if not KINDS[spec["kind"]].gives_classes]
    chosen = [name for name in removable if any(fnmatchcase(name, p) for p in patterns)]
    if not chosen:
        raise ValueError(f"study.leave_out={list(patterns)} matches none of {', '.join(removable)}")
    return chosen


def width_for(config: Mapping[str, Any], measure: str, wanted: int) -> float:
    """The `model.width` at which a network has as many `params`, or does as many `macs`, as wanted, within 2 %.

    Raises:
        ValueError: no width does; the message says how near the nearest comes.
    """

    def size(width: float) -> int:
        return int(getattr(meta_network({**config, "model": {**config["model"], "width": width}}), measure))

    low, high = WIDTHS
    for _ in range(40):  # sizes rise in steps with the width
        middle = (low * high) ** 0.5
        low, high = (middle, high) if size(middle) < wanted else (low, middle)
    nearest = min((low, high), key=lambda width: abs(size(width) / wanted - 1))
    off = size(nearest) / wanted - 1
    if abs(off) > MATCHED:
        raise ValueError(f"study.match={measure}: no model.width comes nearer than {off:+.1%} to the baseline's")
    return round(nearest, 6)


def meta_network(config: Mapping[str, Any]) -> Any:
    """The network of a train config on meta tensors: sizes without memory."""
    import torch

    from cnnlab.data.sources import facts
    from cnnlab.models.network import Network

    with torch.device("meta"):
        return Network(config["model"], *facts(config["data"]))


def estimate(config: Config, macs: int) -> float:
    """Seconds one run would take, from a few timed steps on random images, and as many images as it would see."""
    import torch

    from cnnlab.checks import resolve_precision
    from cnnlab.data.sources import facts
    from cnnlab.data.splits import sizes
    from cnnlab.evaluate import best_device
    from cnnlab.models.network import Network

    train, val, test = sizes(config["data"])
    batch = max(1, min(config["data"]["batch_size"], train, int(TIMED_MACS / max(macs, 1))))
    accelerator = config["trainer"]["accelerator"]
    device = torch.device("cpu" if accelerator == "cpu" else best_device())
    half = resolve_precision(config["precision"], accelerator) == "bf16-mixed"
    shape, classes = facts(config["data"])
    network = Network(config["model"], shape, classes, mean=[0.5] * shape[0], std=[0.5] * shape[0])
    network = network.to(device).to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (batch, *shape), dtype=torch.uint8, device=device)
    times = []
    for _ in range(4):
        started = perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = network(images).float().square().mean()
        loss.backward()
        float(loss.detach())  # waits for a GPU
        times.append(perf_counter() - started)
    per_image = min(times[1:]) / batch
    return per_image * (train * config["trainer"]["max_epochs"] + (val * config["trainer"]["max_epochs"] + test) / 3)


def shown_seconds(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def varied_value(config: Mapping[str, Any], key: str) -> Any:
    """Return what a job's config has at a key: a value, the name of a group's choice, or JSON."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        value = value.get("name") or str(value.get("_target_", "")).rpartition(".")[2] or value
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
