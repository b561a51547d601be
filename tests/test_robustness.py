"""Distortions do what they say, and a run's accuracy falls under them."""

import pytest
import torch

from cnnlab.trained.distortions import DISTORTIONS, line_weight
from cnnlab.trained.robustness import robustness


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


def test_distortions_agree_with_arithmetic(images):
    shift, rotation, brightness, contrast = (
        DISTORTIONS[name][0] for name in ("shift", "rotation", "brightness", "contrast")
    )
    assert torch.allclose(shift(images, 2)[:, :, 2:, 2:], images[:, :, :-2, :-2], atol=1e-5)
    assert torch.allclose(rotation(images, 90), images.rot90(1, (2, 3)), atol=1e-4)
    assert torch.allclose(brightness(images, 0.2), (images + 0.2).clamp(max=1))
    assert torch.allclose(contrast(images, 0.0), images.mean((1, 2, 3), keepdim=True).expand_as(images), atol=1e-6)


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
