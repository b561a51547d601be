"""Read and write the plan of a study or a search, `plan.json`: variants and runs, or the space searched."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnnlab.config.identity import config_hash
from cnnlab.runs.metrics import Measure
from cnnlab.runs.record import Record, read_json, write_json

SCHEMA = 1
TRIALS = "trials.log"  # Optuna's journal, in a search's directory


@dataclass
class Variant:
    """An arm of a study."""

    name: str
    overrides: list[str]
    removed: list[str] = field(default_factory=list)
    params: int | None = None
    macs: int | None = None
    seconds: float | None = None  # estimated, of one run
    reason: str | None = None  # why it is invalid


@dataclass
class Job:
    """A run of a study."""

    variant: str
    seed: int
    run_dir: str  # relative to the study's directory
    config_hash: str
    fold: int | None = None  # held out, in a cross-validation

    @property
    def run(self) -> tuple[str, int, int | None]:
        """Return the key of the run within its study."""
        return self.variant, self.seed, self.fold


@dataclass
class Plan:
    """Content of a study's `plan.json`."""

    name: str
    baseline: str
    identity: str  # hash of the config without varied keys; a plan with another one is another study
    command: list[str]
    varied: list[str]
    variants: list[Variant]
    jobs: list[Job]
    margin: float | None = None  # largest difference too small to matter, of accuracy as a fraction
    one_split: str | None = None  # if splits vary: the baseline again, all seeds on one validation split
    tuned: list[dict[str, Any]] = field(default_factory=list)  # trials: variant, overrides, val/acc, chosen
    factors: list[list[str]] = field(default_factory=list)  # groups of layers whose interactions are measured
    metric: Measure | None = None  # that variants are compared by; None: accuracy
    folds: int | None = None  # number of folds of a cross-validation
    schema: int = SCHEMA

    @classmethod
    def load(cls, directory: Path) -> "Plan":
        """Read the plan of a study's directory.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        path = directory / "plan.json"
        if is_search(directory):
            raise ValueError(f"{directory} is a search and no study; give one of the two another study.name")
        if not path.is_file():
            raise ValueError(f"{directory} is no study: it has no plan.json")
        content = read_json(path)
        try:
            content["variants"] = [Variant(**v) for v in content["variants"]]
            content["jobs"] = [Job(**j) for j in content["jobs"]]
            content["metric"] = Measure(**content["metric"]) if content.get("metric") else None
            return cls(**content)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def write(self, directory: Path) -> None:
        """Write `plan.json`, merged with variants and jobs of an earlier plan of the same study."""
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / "plan.json").is_file() or is_search(directory):
            earlier = Plan.load(directory)
            if earlier.identity == self.identity:
                names, done = {v.name for v in self.variants}, {j.run for j in self.jobs}
                self.variants += [v for v in earlier.variants if v.name not in names]
                self.jobs += [j for j in earlier.jobs if j.run not in done]
        write_json(directory / "plan.json", asdict(self))


@dataclass
class Parameter:
    """The values of a key that a search draws from."""

    kind: str  # float, int or choice
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: list[Any] | None = None

    @classmethod
    def of(cls, distribution: Any) -> "Parameter":
        """Convert a distribution of Optuna's."""
        if hasattr(distribution, "choices"):
            return cls("choice", choices=list(distribution.choices))
        kind = "int" if isinstance(distribution.low, int) else "float"
        return cls(kind, distribution.low, distribution.high, distribution.log)

    def __str__(self) -> str:
        if self.choices is not None:
            return ", ".join(map(str, self.choices))
        return f"{self.low} to {self.high}" + (", logarithmic" if self.log else "")


@dataclass
class SearchPlan:
    """Content of a search's `plan.json`; its trials are in Optuna's journal."""

    name: str
    command: list[str]
    run: list[str]  # command of a single run, to which a trial's values are appended
    space: dict[str, Parameter]
    trials: int  # number wanted
    images: int  # number for validation
    schema: int = SCHEMA

    @classmethod
    def load(cls, directory: Path) -> "SearchPlan | None":
        """Read the plan of a search's directory; None if there is none, as in one of an earlier version.

        Raises:
            ValueError: it is damaged, or a study's.
        """
        path = directory / "plan.json"
        if not path.is_file():
            return None
        content = read_json(path)
        if "variants" in content:
            raise ValueError(f"{directory} is a study and no search; give one of the two another study.name")
        try:
            content["space"] = {key: Parameter(**p) for key, p in content["space"].items()}
            return cls(**content)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def write(self, directory: Path) -> None:
        """Write `plan.json`, in place of one of an earlier command of the same search."""
        directory.mkdir(parents=True, exist_ok=True)
        self.load(directory)  # refuses a study's
        write_json(directory / "plan.json", asdict(self))


def is_search(directory: Path) -> bool:
    """Return whether a directory belongs to a search, not a study."""
    return (directory / TRIALS).is_file()


def runs_of(plan: Plan, directory: Path) -> Iterator[tuple[Job, Record | None]]:
    """Yield every job of a plan with its run, if it has begun."""
    for job in plan.jobs:
        path = directory / job.run_dir
        yield job, Record.load(path) if (path / "run.json").is_file() else None


def job_of(variant: str, config: Mapping[str, Any]) -> Job:
    """Make the job of a variant's resolved config; its directory is named by variant, seed and config hash."""
    identity, seed = config_hash(config), config["seed"]
    return Job(variant, seed, f"{variant}-s{seed}-{identity}", identity, config["data"].get("fold"))
