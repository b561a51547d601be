"""Distortions do what they say, and a run's accuracy falls under them."""

from math import degrees, sin

import pytest
import torch

from cnnlab.reporting.plots import distortions_plot
from cnnlab.reporting.tables import Table
from cnnlab.trained.canny import canny
from cnnlab.trained.distortions import DISTORTIONS, elastic, line_weight, perspective
from cnnlab.trained.mnist_c import MNIST_C
from cnnlab.trained.pixels import swapped
from cnnlab.trained.robustness import matching_distortions, mnist_c_means, robustness, strips

SEVEN = """
........#...........
......##.##########.
......#............#
......####..........
..........########..
"""  # the upper part of MNIST's first test image as scikit-image 0.26 sees it, columns 0 to 19, rows 6 to 10


@pytest.fixture
def images():
    return torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_no_distortion_is_the_image_itself_and_the_rest_stays_in_range(name, images):
    distort, amounts = DISTORTIONS[name]
    assert torch.allclose(distort(images, amounts[0]), images, atol=1e-6)
    for amount in amounts[1:]:
        out = distort(images, amount)
        assert out.shape == images.shape
        assert 0 <= out.min() <= out.max() <= 1 + 1e-6
        assert not torch.allclose(out, images, atol=1e-3)
        assert torch.equal(out, distort(images, amount))
    other = torch.rand(2, 1, 9, 17, generator=torch.Generator().manual_seed(0))
    assert distort(other, amounts[-1]).isfinite().all()


def test_distortions_agree_with_arithmetic(images):
    shift, rotation, brightness, contrast = (
        DISTORTIONS[name][0] for name in ("shift", "rotation", "brightness", "contrast")
    )
    assert torch.allclose(shift(images, 2)[:, :, 2:, 2:], images[:, :, :-2, :-2], atol=1e-5)
    assert torch.allclose(rotation(images, 90), images.rot90(1, (2, 3)), atol=1e-4)
    assert torch.allclose(brightness(images, 0.2), (images + 0.2).clamp(max=1))
    assert torch.allclose(contrast(images, 0.0), images.mean((1, 2, 3), keepdim=True).expand_as(images), atol=1e-6)


def test_a_tilted_image_is_narrower_at_its_upper_edge_and_a_stretched_one_moves_by_so_many_pixels(images):
    tilted = perspective(torch.ones(1, 1, 21, 21), 0.4)[0, 0]
    wide = (tilted > 0.5).sum(1)
    assert wide[-1] == 21
    assert wide[4] == pytest.approx(0.6 * 21, abs=1)
    assert not tilted[:4].any()
    ramp = torch.arange(64.0).expand(50, 1, 64, 64) / 64  # its value says where in the image a pixel comes from
    moved = 64 * (elastic(ramp, 1.5) - ramp)[:, 0, 10:54, 10:54]
    assert moved.std() == pytest.approx(1.5, rel=0.1)
    assert (moved[..., 1:] - moved[..., :-1]).abs().max() < 1.5  # neighbours stay together


def test_corruptions_of_mnist_c_agree_with_arithmetic(images):
    own = {name: corrupt for name, (corrupt, _) in MNIST_C.items()}
    assert len(own) == 15
    striped = own["stripe"](torch.zeros(1, 1, 28, 28), 4)[0, 0, 0]
    assert striped.tolist() == [1.0] * 7 + [0.0] * 14 + [1.0] * 7
    dot = torch.zeros(40, 1, 28, 28)
    dot[..., 14, 14] = 1
    places = {tuple(image.nonzero().flatten().tolist()) for image in own["translate"](dot, 3)[:, 0].round()}
    assert places == {(r, c) for r in (11, 17) for c in (11, 17)}
    streaks = own["motion_blur"](dot, 1)[:, 0]
    assert torch.allclose(streaks.sum((1, 2)), torch.ones(40), atol=1e-4)
    assert not streaks[..., 15:].any()  # to one side
    assert torch.allclose(streaks[:, 14, 14] ** -1, torch.full((40,), 0.5 * (2 * 3.14159) ** 0.5 * 3 + 0.5), rtol=0.01)
    grey = torch.full((1, 1, 100, 100), 0.6)
    counts = own["shot_noise"](grey, 5) * 3
    assert torch.allclose(counts, counts.round())
    assert counts.mean() == pytest.approx(1.8 - 0.13, abs=0.05)  # of what is above 3, 3 is left
    salted = own["impulse_noise"](grey, 4)
    assert [float((salted == value).float().mean()) for value in (0, 1)] == pytest.approx([0.085] * 2, abs=0.01)
    colours = own["brightness"](images, 2)
    assert torch.allclose(colours.amax(1), (images.amax(1) + 0.2).clamp(max=1), atol=1e-5)
    assert torch.allclose(colours[:, 0] * images[:, 1], colours[:, 1] * images[:, 0], atol=1e-5)
    half = own["scale"](torch.ones(1, 1, 20, 20), 5)[0, 0] > 0.5
    assert half.sum() == 100
    turned, rotation = own["rotate"](images, 2), DISTORTIONS["rotation"][0]
    either = [(turned - rotation(images, way * degrees(0.4))).abs().amax((1, 2, 3)) for way in (1, -1)]
    assert torch.minimum(*either).max() < 1e-4
    bar = torch.zeros(9, 1, 41, 41)
    bar[:, :, 10:31, 20] = 1
    leaning = own["shear"](bar, 2)[:, 0]
    assert leaning.sum(2).gt(0.1).sum(1).tolist() == [23] * 9  # 21 rows are longer by 1 / cos 0.4
    columns = (leaning * torch.arange(41.0)).sum(2)[:, 10] / leaning.sum(2)[:, 10]  # ten rows above the centre
    assert (columns - 20).abs().tolist() == pytest.approx([10 * sin(0.4)] * 9, abs=0.1)
    lines = own["dotted_line"](torch.zeros(9, 1, 28, 28), 1)[:, 0].amax(1)
    assert (lines > 0).int()[0].tolist() == [0, 0, 1, 1] * 6 + [0, 0, 1, 0]
    bare, more = (own["zigzag"](torch.zeros(9, 1, 28, 28), n).sum() for n in (1, 3))
    assert bare < more < 3 * bare
    assert not torch.allclose(*own["fog"](torch.ones(2, 1, 28, 28), 1), atol=0.05)  # a cloud of its own for each
    spatter = own["spatter"](torch.ones(9, 1, 28, 28), 4)
    assert 0.02 < (spatter < 0.9).float().mean() < 0.3
    assert spatter.min() >= 63 / 255 - 1e-4


def test_canny_draws_the_edges_that_scikit_image_draws(real_data_dir):
    raw = torch.from_file(f"{real_data_dir}/MNIST/raw/t10k-images-idx3-ubyte", size=16 + 784, dtype=torch.uint8)
    edges = canny(raw[16:].view(1, 1, 28, 28) / 255)[0, 0]
    drawn = ["".join(".#"[int(v)] for v in row) for row in edges[6:11, :20]]
    assert drawn == SEVEN.split()
    square = torch.zeros(1, 1, 12, 12)
    square[..., 4:8, 4:8] = 1
    assert not canny(square)[..., 5:7, 5:7].any()  # flat inside
    assert canny(square * 0.04).sum() == 0  # too faint


def test_line_weight_thickens_and_thins_a_line():
    line = torch.zeros(1, 1, 9, 9)
    line[..., 3:6] = 1
    assert line_weight(line, 1)[0, 0, 4].tolist() == [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0]
    assert line_weight(line, -1)[0, 0, 4].tolist() == [0, 0, 0, 0.5, 1, 0.5, 0, 0, 0]


def test_a_runs_accuracy_without_distortion_is_its_test_accuracy_and_falls(digits_run):
    rows = robustness(digits_run, ["shift", "noise"])
    accuracy = {(row["distortion"], row["amount"]): row["accuracy"] for row in rows}
    assert accuracy["shift", 0] == pytest.approx(digits_run.metrics["test/acc"])
    assert accuracy["shift", 6] < accuracy["shift", 0] - 0.2
    with pytest.raises(ValueError, match='did you mean "noise"'):
        robustness(digits_run, ["noise_"])
    with pytest.raises(ValueError, match='unknown distortion of images "rain/'):
        robustness(digits_run, "rain/*")


def test_globs_choose_distortions_and_the_mean_of_mnist_c_takes_its_own_severities(digits_run):
    assert matching_distortions(digits_run, "mnist_c/*") == [f"mnist_c/{name}" for name in MNIST_C]
    assert matching_distortions(digits_run, ["blur", "s*", "blur"]) == ["shift", "scale", "blur"]
    assert matching_distortions(digits_run, None) == list(DISTORTIONS)
    rows = Table(
        {"run": "r", "distortion": f"mnist_c/{name}", "amount": severity, "accuracy": 0.5 if severity == own else 1.0}
        for name, (_, own) in MNIST_C.items()
        for severity in range(6)
    )
    assert mnist_c_means(rows) == {"r": 0.5}
    assert mnist_c_means(Table(rows[6:])) == {}


def test_an_image_is_shown_under_each_distortion(digits_run):
    shown = list(strips(digits_run, ["scale", "mnist_c/fog"]))
    assert [strip.name for strip in shown] == ["scale", "mnist_c/fog"]
    assert shown[0].images[shown[0].amounts.index(1.0)] == pytest.approx(shown[1].images[0], abs=1e-5)
    svg = distortions_plot(shown)
    assert svg.count("<image") == 2
    assert [text in svg for text in (">scale<", ">MNIST-C: fog<", ">0.5<", ">5<")] == [True] * 4


def test_pixels_are_swapped_as_if_one_after_the_other():
    images = torch.rand(3, 2, 12, 14, generator=torch.Generator().manual_seed(0))
    reach, generator, places = 2, torch.Generator().manual_seed(1), (3, 12, 14)
    found = swapped(images, reach, torch.Generator().manual_seed(1))
    down, right = (torch.randint(-reach, reach, places, generator=generator) for _ in range(2))
    begins = torch.rand(places, generator=generator) < 0.5
    for n, row, column in torch.cartesian_prod(torch.arange(3), torch.arange(10, 2, -1), torch.arange(12, 2, -1)):
        if begins[n, row, column]:
            there = row + down[n, row, column], column + right[n, row, column]
            mine = images[n, :, row, column].clone()
            images[n, :, row, column] = images[n, :, *there]
            images[n, :, *there] = mine
    assert torch.equal(found, images)
