"""Plots say on their axes what they show."""

import re
from pathlib import Path

import pytest

from cnnlab.reporting.plots import against
from cnnlab.reporting.study import Comparison, Study
from cnnlab.reporting.tables import Table
from cnnlab.runs.plan import Variant


@pytest.mark.parametrize(
    "sizes",
    [
        (61_706, 61_706),
        (61_000, 61_706),
        (46_456, 60_000, 61_706),
        (30_000, 61_706, 110_000),
        (15_600, 61_706, 250_000, 980_000),
        (56, 61_706, 61_100_840),
    ],
)
def test_the_axis_of_capacity_has_labels_however_narrow_its_range(sizes):
    arms = [Comparison(Variant(f"v{i}", [], params=n), [], {"test/acc": (0.9, 0.01)}) for i, n in enumerate(sizes)]
    study = Study("s", Path(), [], "v0", "test/acc", Table(), arms, [], {}, {})
    ticks = re.findall(r'id="xtick_\d+".*?<text[^>]*>([^<]+)</text>', against(study, "params", "parameters"), re.DOTALL)
    assert 3 <= len(ticks) <= 9
    assert len(set(ticks)) == len(ticks)
