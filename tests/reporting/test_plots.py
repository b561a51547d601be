"""Plots say on their axes what they show."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from cnnlab.reporting.axis import ticks
from cnnlab.reporting.charts import Dot, curves, scatter
from cnnlab.reporting.curves import Curve
from cnnlab.reporting.forest import LEFT, RIGHT, Forest, Row


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
    svg = scatter([Dot(f"v{i}", "open", n, 90.0, 1.0) for i, n in enumerate(sizes)], "parameters", "accuracy, %")
    found = re.findall(r'class="x" x="([\d.]+)"[^>]*>([^<]+)<', svg)
    labels = [label for _, label in found]
    assert 3 <= len(labels) <= 9
    assert len(set(labels)) == len(labels)
    places = [float(x) for x, _ in found]
    assert all(b - a > 24 for a, b in pairwise(places))
    assert "parameters" in svg


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.31, 0.02), (97.2, 97.9), (-80, 3), (1, 300), (0.0012, 0.0019)])
def test_ticks_are_round_and_lie_within(low, high):
    found = ticks(low, high, 6)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert max(len(f"{tick:.10g}") for tick in found) <= 7


def places(svg: str, tag: str, kind: str, *keys: str) -> list[tuple[float, ...]]:
    """Coordinates, in percent, of the elements of a class."""
    tree = ElementTree.fromstring(f"<x>{svg}</x>")
    found = [e for e in tree.iter(tag) if kind in e.get("class", "").split()]
    return [tuple(float(e.get(key).rstrip("%")) for key in keys) for e in found]


def test_a_forest_plot_draws_means_intervals_and_margin_to_one_scale():
    rows = [Row("a", "worse", -0.4, -0.6, -0.2, "-0.40"), Row("b", "inconclusive", 0.1, -0.1, 0.3, "+0.10")]
    html = Forest(rows, "points", margin=0.2).html()
    assert ElementTree.fromstring(f"<x>{html}</x>") is not None
    means, ends = places(html, "circle", "dot", "cx"), places(html, "line", "interval", "x1", "x2")
    bands, zeros = places(html, "rect", "band", "x", "width"), places(html, "line", "zero", "x1")
    scale = (means[1][0] - means[0][0]) / 0.5  # percent of the width for a point
    origin = means[0][0] + 0.4 * scale
    assert zeros == [(pytest.approx(origin, abs=0.02),)] * 2
    assert ends[0] == pytest.approx((origin - 0.6 * scale, origin - 0.2 * scale), abs=0.02)
    assert ends[1] == pytest.approx((origin - 0.1 * scale, origin + 0.3 * scale), abs=0.02)
    assert bands == [pytest.approx((origin - 0.2 * scale, 0.4 * scale), abs=0.02)] * 2


def test_a_lesion_far_off_is_an_arrow_at_the_edge_and_a_near_one_stands_on_the_scale():
    far = Forest([Row("a", "worse", -0.4, -0.6, -0.2, "", other=-81.0)], "points", other="lesion").html()
    near = Forest([Row("a", "worse", -0.4, -0.6, -0.2, "", other=-0.9)], "points", other="lesion").html()
    assert f'<svg x="0.00%" y="50%" overflow="visible"><polygon class="second" points="{LEFT}"/>' in far
    (mean,), (zero,) = places(near, "circle", "dot", "cx")[0], places(near, "line", "zero", "x1")[0]
    assert f'x="{zero + 0.9 / 0.4 * (mean - zero):.1f}' in near


def test_a_few_variants_far_off_do_not_flatten_the_rest():
    rows = [Row(f"v{i}", "inconclusive", 0.1 * i, 0.1 * i - 0.2, 0.1 * i + 0.2, "") for i in range(6)]
    far = Row("far", "better", 40, 39, 41, "")
    html = Forest([*rows, far], "points").html()
    assert len(places(html, "circle", "dot", "cx")) == 6
    assert f'<polygon class="dot" points="{RIGHT}"/>' in html
    assert max(cx for (cx,) in places(html, "circle", "dot", "cx")) > 60
    many = Forest([*rows, far, far, far, far], "points").html()  # too many to be left out
    assert len(places(many, "circle", "dot", "cx")) == 10


def test_an_unbounded_interval_goes_to_the_edges():
    row = Row("a", "inconclusive", 0.2, float("-inf"), float("inf"), "")
    assert places(Forest([row], "points").html(), "line", "interval", "x1", "x2") == [(0, 100)]


def test_a_picture_of_a_forest_plot_stands_by_itself():
    picture = Forest([Row("<a&b>", "worse", -0.4, -0.6, -0.2, "-0.40")], "points").picture()
    root = ElementTree.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"<a&b>", "-0.40", "points"} <= {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert "prefers-color-scheme: dark" in picture


def test_curves_have_a_panel_for_each_variant_on_common_axes():
    steps = np.array([9, 19])
    base = Curve(steps, np.array([0.55, 0.8]), np.array([0.5, 0.7]), np.array([0.6, 0.9]))
    other = Curve(steps, *[np.array([0.5, 0.7])] * 3)
    epoch = Curve(steps, *[np.array([0.0, 1.0])] * 3)
    variants = {"base": {"val/acc": base, "epoch": epoch}, "other": {"val/acc": other, "epoch": epoch}, "none": {}}
    html = curves(variants, "val/acc", "base", "accuracy, %", 100)
    panels = ElementTree.fromstring(html).findall("div")
    assert [panel.find("b").text for panel in panels] == ["base", "other"]
    lines = [[line.get("points") for line in panel.iter("polyline")] for panel in panels]
    assert len(lines[0]) == 1
    assert lines[1][0] == lines[0][0]  # the baseline stands in both
    low, high = (float(pair.split(",")[1]) for pair in lines[1][1].split())
    assert low > high  # 70 % stands above 50
    assert curves({"base": {}}, "val/acc", "base", "accuracy, %") == ""
