"""Read a search: its plan, and its trials from the journal and the run directories."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.registry import one_line
from cnnlab.runs.plan import TRIALS, Parameter, SearchPlan
from cnnlab.runs.record import Record

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

OVER = ("complete", "pruned")  # states of trials that count towards those wanted
TREES = 64  # of the random forest that gives importances
FEWEST = 5  # completed trials for importances


@dataclass(frozen=True)
class Trial:
    """One trial of a search."""

    number: int
    state: str  # complete, pruned, fail, running, interrupted or waiting
    accuracy: float | None  # on validation images: of the best checkpoint; when stopped early; or the best so far
    params: dict[str, Any]
    directory: Path | None  # of its run, if it has begun
    cause: str | None  # of a failure

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"trial_{self.number:03d}"


@dataclass
class Search:
    """A search's plan and trials, as a report shows them."""

    name: str
    directory: Path
    plan: SearchPlan | None  # none where an earlier version made the search
    space: dict[str, Parameter]
    trials: list[Trial]
    importances: dict[str, float]  # share of the variance of accuracy; empty where too few trials are complete

    def of(self, *states: str) -> list[Trial]:
        """Return the trials in one of these states, in order."""
        return [trial for trial in self.trials if trial.state in states]

    @property
    def ranked(self) -> list[Trial]:
        """The completed trials, the best first; ties by number."""
        return sorted(self.of("complete"), key=lambda trial: (-(trial.accuracy or 0), trial.number))


def read_search(directory: Path) -> Search:
    """Read a search's plan, journal and runs so far.

    Raises:
        ValueError: the directory is no search, or a file of it is damaged.
    """
    plan, study = SearchPlan.load(directory), _journal(directory)
    runs = {path.parent.name.partition("-")[0]: path.parent for path in sorted(directory.glob("trial_*/run.json"))}
    trials = [_trial(trial, runs.get(f"trial_{trial.number:03d}")) for trial in study.trials]
    space = dict(plan.space) if plan else {}
    for trial in study.trials:
        for key, distribution in trial.distributions.items():
            space.setdefault(key, Parameter.of(distribution))
    name = plan.name if plan else directory.resolve().name
    return Search(name, directory, plan, space, trials, _importances(study))


def _journal(directory: Path) -> "Study":
    import optuna
    from optuna.storages.journal import JournalFileBackend

    path = directory / TRIALS
    if not path.is_file():
        raise ValueError(f"{directory} is no search: it has no {TRIALS}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.load_study(
            study_name="search", storage=optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        )
    except (KeyError, ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"{path} is damaged: {one_line(error) or type(error).__name__}") from error


def _trial(trial: "FrozenTrial", directory: Path | None) -> Trial:
    state, cause = trial.state.name.lower(), None
    if directory is not None and state in ("running", "fail"):
        try:
            info = Record.load(directory).info
            cause = info.get("cause")
            if state == "running" and info["status"] != "running":  # killed before it could tell the journal
                state = "interrupted"
        except ValueError as error:
            cause = str(error)
    reached = trial.value if trial.value is not None else max(trial.intermediate_values.values(), default=None)
    return Trial(trial.number, state, reached, dict(trial.params), directory, cause)


def _importances(study: "Study") -> dict[str, float]:
    """Return the share of the variance of accuracy that each parameter explains (fANOVA; Hutter et al. 2014).

    A random forest is fitted to the completed trials, with a fixed seed.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < FEWEST or len({trial.value for trial in done}) < 2:
        return {}
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    return {key: float(share) for key, share in get_param_importances(study, evaluator=evaluator).items()}
