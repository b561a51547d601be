"""Format metrics: their names, units and digits."""

from dataclasses import dataclass, replace
from math import copysign

from cnnlab.reporting.statistics import Judgement
from cnnlab.runs.metrics import Measure

SPLITS = {"val": "validation"}
ACCURACIES = {"acc": "accuracy", "top5_acc": "top-5 accuracy"}
OPPOSITE = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class Written:
    """The format of one metric."""

    metric: str  # its key in `metrics.json`
    name: str  # in sentences and on axes
    column: str  # the head of a table's column
    factor: float  # from a stored value to a shown one
    unit: str  # of a value, as it follows the number
    points: str  # unit of a difference, as a word
    digits: int  # decimal places
    higher_is_better: bool = True

    @property
    def axis(self) -> str:
        """The label of an axis of values."""
        return f"{self.name}, %" if self.unit else self.name

    @property
    def steps(self) -> str:
        """The label of an axis of differences, or the head of a column of them."""
        return f"difference, {self.points}" if self.unit else "difference"

    def value(self, value: float) -> str:
        """Format a value with its unit."""
        return f"{self.number(value)}{self.unit}"

    def number(self, value: float) -> str:
        """Format a value or the size of a difference, without unit."""
        return f"{self._rounded(value):.{self.digits}f}"

    def signed(self, difference: float) -> str:
        """Format a difference with its sign, without unit."""
        return f"{self._rounded(difference):+.{self.digits}f}"

    def amount(self, difference: float) -> str:
        """Format the size of a difference with its unit."""
        return f"{self.number(abs(difference))} {self.points}"

    def between(self, low: float | None, high: float | None) -> str | None:
        """Format an interval of differences, without unit; None where it has no ends.

        In an interval without 0, an end that rounds to 0 keeps its sign: -0.19 to -0.00.
        """
        if low is None or high is None:
            return None
        if low <= 0 <= high:
            return f"{self.signed(low)} to {self.signed(high)}"
        low, high = (copysign(self._rounded(end), end) for end in (low, high))
        return f"{low:+.{self.digits}f} to {high:+.{self.digits}f}"

    def _rounded(self, value: float) -> float:
        return round(self.factor * value, self.digits) + 0.0  # + 0.0 turns -0.0 into 0.0


def written(measure: Measure) -> Written:
    """Return the format of a metric such as `test/acc`: accuracies in percent and points, others unscaled."""
    split, _, name = measure.name.partition("/")
    spoken = f"{SPLITS.get(split, split)} {ACCURACIES.get(name, name.replace('_', ' '))}"
    if measure.percent:
        return Written(measure.name, spoken, f"{split} {name.replace('_', ' ')} %", 100, " %", "points", 2)
    column = f"{split} {name} ({'higher' if measure.higher_is_better else 'lower'} is better)"
    return Written(measure.name, spoken, column, 1, "", f"in {spoken}", 4, measure.higher_is_better)


def judged(measure: Measure, judgement: Judgement | None) -> Judgement | None:
    """Swap better and worse in a judgement if lower values of the measure are better."""
    if judgement is None or measure.higher_is_better:
        return judgement
    *first, last = judgement.verdict.split(" ")
    return replace(judgement, verdict=" ".join([*first, OPPOSITE.get(last, last)]))
