"""Points in the plane: classes where they should be, the same every time, and refusals in one line."""

import pytest
import torch

from cnnlab.data.load import facts, form, load
from cnnlab.data.points import KINDS, REGIONS, draw


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_seeded_and_of_two_classes_of_equal_size(kind):
    points, labels = draw(kind, 4000, 0, 0.0, 0)
    assert (points.dtype, points.shape, labels.dtype) == (torch.float32, (4000, 2), torch.int64)
    assert points.abs().max() <= 1
    assert labels.float().mean() == pytest.approx(0.5, abs=0.03)
    again = draw(kind, 4000, 0, 0.0, 0)
    assert torch.equal(points, again[0])
    assert torch.equal(labels, again[1])
    for stream, seed in ((1, 0), (0, 1)):
        assert not torch.equal(points, draw(kind, 4000, stream, 0.0, seed)[0])
    moved, same = draw(kind, 4000, 0, 0.1, 0)
    assert torch.equal(labels, same)
    assert (moved - points).std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "of_a", "of_b"),
    [
        ("half_plane", [(-0.5, 0.5), (0.5, -0.9)], [(0.5, 0.5), (-0.4, 0.9)]),
        ("convex", [(0.9, 0.0), (-0.7, 0.7)], [(0.0, 0.0), (0.5, 0.5)]),
        ("xor", [(0.5, 0.5), (-0.5, -0.5)], [(0.5, -0.5), (-0.5, 0.5)]),
        # stripes from below: the teeth of A reach right, those of B left, those of A right, ...
        ("meshed", [(-0.9, 0.0), (0.5, -0.75), (-0.9, -0.25), (0.5, 0.25)], [(0.9, 0.0), (0.9, -0.75), (-0.5, -0.25)]),
    ],
)
def test_regions_are_where_the_lectures_draw_them(kind, of_a, of_b):
    for points, wanted in ((of_a, False), (of_b, True)):
        x, y = torch.tensor(points).T
        assert (REGIONS[kind](x, y) == wanted).all()


def best_line(points: torch.Tensor, labels: torch.Tensor) -> float:
    """The highest accuracy of any line, among many."""
    angles = torch.linspace(0, 2 * torch.pi, 90)
    along = points @ torch.stack([angles.cos(), angles.sin()])
    cuts = torch.linspace(-1.5, 1.5, 61)
    return ((along.unsqueeze(-1) > cuts) == (labels == 1).view(-1, 1, 1)).float().mean(0).max().item()


def test_a_line_separates_a_half_plane_and_no_other_kind():
    best = {kind: best_line(*draw(kind, 2000, 0, 0.0, 0)) for kind in KINDS}
    assert best["half_plane"] > 0.97
    assert all(value < 0.9 for kind, value in best.items() if kind != "half_plane")
    assert best["xor"] == pytest.approx(2 / 3, abs=0.03)  # x + y > 2/3, by the areas that it cuts off


def test_spirals_are_turned_copies_that_never_touch():
    points, labels = draw("two_spirals", 4000, 0, 0.0, 0)
    a, b = points[labels == 0], points[labels == 1]
    assert torch.cdist(a, b).min() > 0.04
    assert torch.cdist(-a, b).min(0).values.max() < 0.04
    turns = torch.atan2(a[:, 1], a[:, 0])[a.norm(dim=1).argsort()].diff()
    assert (turns < -torch.pi).sum() + (turns > torch.pi).sum() == 3


def test_the_source_has_three_sets_and_says_its_facts(composed):
    config = composed("data=points", "data.kind=moons", "data.train_size=30", "data.test_size=20")["data"]
    splits = load(config)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [30, 20, 20]
    assert not torch.equal(splits.val.inputs, splits.test.inputs)
    assert splits.draw is None
    assert facts(config) == ((2,), 2, ())
    assert (form(config).name, form(config).axes) == ("point", ("coordinate",))
