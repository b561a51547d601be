"""A study's measure in words and numbers: percent and points for accuracies, its own unit for what else there is."""

from dataclasses import replace

from cnnlab.reporting.statistics import Judgement
from cnnlab.runs.metrics import Measure

WORDS = {"acc": "accuracy", "top5_acc": "top-5 accuracy", "balanced_accuracy": "balanced accuracy"}
OPPOSITE = {"better": "worse", "worse": "better"}


def scale(measure: Measure) -> int:
    """Return by how much values are multiplied to be shown."""
    return 100 if measure.percent else 1


def value(measure: Measure, number: float | None) -> float | None:
    """Return a value as a table shows it: in percent, or to four places."""
    return None if number is None else round(scale(measure) * number, 3 if measure.percent else 4)


def difference(measure: Measure, number: float) -> str:
    """Write a difference with its sign: in points, or to four places."""
    return f"{100 * number:+.2f}" if measure.percent else f"{number:+.4f}"


def word(measure: Measure) -> str:
    """Return what is measured, as in "accuracy" or "f1"."""
    name = measure.name.partition("/")[2]
    return WORDS.get(name, name)


def column(measure: Measure) -> str:
    """Return the head of its column: "test acc %", or "test calibration_error (lower is better)"."""
    stage, _, name = measure.name.partition("/")
    if measure.percent:
        return f"{stage} {name} %"
    return f"{stage} {name} ({'higher' if measure.higher_is_better else 'lower'} is better)"


def axis(measure: Measure) -> str:
    """Return the label of an axis of values."""
    return word(measure) + (", %" if measure.percent else "")


def unit(measure: Measure) -> str:
    """Return what differences are in."""
    return "in percentage points" if measure.percent else f"in units of {word(measure)}"


def judged(measure: Measure, judgement: Judgement | None) -> Judgement | None:
    """Return a judgement that took higher for better as the measure has it."""
    if judgement is None or measure.higher_is_better:
        return judgement
    *first, last = judgement.verdict.split(" ")
    return replace(judgement, verdict=" ".join([*first, OPPOSITE.get(last, last)]))
