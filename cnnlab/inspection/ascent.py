"""Make images that excite a channel: by gradient ascent on pixels, and by MACO on the phases of their spectrum."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.inspection.units import activation_of
from cnnlab.models.hooks import watch
from cnnlab.training.classifier import Classifier

RATE = 0.05  # learning rate of gradient ascent
TURN = 0.5  # learning rate of MACO: about radians per step
CROP = (0.6, 1.0)  # smallest and largest side of a crop of MACO, as a share of the image's
NOISE = 0.05  # standard deviation of the noise on a crop
LEAK = 0.1  # weight of values below 0
CLEAR = 0.98  # quantile of the gradients from which on a pixel is opaque


class _Reached(Exception):  # noqa: N818
    """Raised to end a forward pass after the layer of interest."""


def excitement(classifier: Classifier, layer: str, channels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the objective of images made for channels of a layer, one image for each channel.

    It maps images (N, C, H, W) to (N,): over the values of channel n in image n, before the activation, the mean of
    squares of positive ones, less a little for negative ones. A saturated tanh or a dead ReLU would have no gradient,
    and the mean of a linear map would only measure how bright the image is.
    """
    unit = classifier.network.get_submodule(layer)
    part = activation_of(unit)
    values: list[Tensor] = []

    def keep(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values.append(output if part is unit else inputs[0])
        raise _Reached

    def excited(images: Tensor) -> Tensor:
        values.clear()
        with suppress(_Reached), watch({layer: part}, keep):
            classifier.network(images)
        own = values[0][torch.arange(len(channels)), channels].reshape(len(channels), -1)
        return (own.clamp(min=0).square() + LEAK * own).mean(1)

    return excited


def gradient_ascent(excited: Callable[[Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Maximise `excitement` by gradient ascent on the pixels of an image for each channel (Erhan et al. 2009).

    It starts from noise (N, C, H, W) from 0 to 1.
    """
    images = noise.clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=RATE)
    for _ in range(steps):
        loss = -excited(images).sum() + 0.1 * (images - 0.5).square().mean()
        (images.grad,) = torch.autograd.grad(loss, [images])
        optimizer.step()
        images.data.clamp_(0, 1)
    return images.detach()


@dataclass(frozen=True)
class Spectrum:
    """Mean magnitude of each frequency in images (N, C, H, W) from 0 to 1.

    Colours are first split into principal components, which are uncorrelated: the phases of each can vary freely, and
    the result still has the colours of the data.
    """

    magnitude: Tensor  # (C, H, W // 2 + 1)
    colours: Tensor  # (C, C), a principal component in each column
    mean: Tensor  # (C, 1, 1)
    size: tuple[int, int]

    @classmethod
    def of(cls, images: Tensor) -> "Spectrum":
        """Measure the spectrum of images."""
        mean = images.mean((0, 2, 3)).view(-1, 1, 1)
        pixels = (images - mean).transpose(0, 1).flatten(1)
        colours = torch.linalg.eigh(pixels @ pixels.T / pixels.shape[1]).eigenvectors
        parts = torch.einsum("nchw,cd->ndhw", images - mean, colours)
        size = (images.shape[2], images.shape[3])
        return cls(torch.fft.rfft2(parts).abs().mean(0), colours, mean, size)

    def images(self, phases: Tensor) -> Tensor:
        """Return the images (N, C, H, W) with these phases (N, C, H, W // 2 + 1)."""
        parts = torch.fft.irfft2(torch.polar(self.magnitude.expand_as(phases), phases), s=self.size)
        return self.mean + torch.einsum("ndhw,cd->nchw", parts, self.colours)


def maco(excited: Callable[[Tensor], Tensor], spectrum: Spectrum, count: int, steps: int) -> tuple[Tensor, Tensor]:
    """Make an image for each channel by magnitude-constrained optimisation (Fel et al. 2023, arXiv 2306.06805).

    The magnitude of every frequency stays that of the data; only phases change. Each step sees a random crop of the
    image, scaled to its size, with noise. A pixel's importance is the sum of its gradients' magnitudes over all steps.

    Returns:
        The images (N, C, H, W) from 0 to 1, and the opacity of each pixel, (N, H, W) from 0 to 1.
    """
    generator = torch.Generator().manual_seed(0)
    device = spectrum.mean.device
    start = torch.randn(count, *spectrum.magnitude.shape, generator=generator)
    phases = start.to(device).requires_grad_()
    optimizer = torch.optim.NAdam([phases], lr=TURN)
    importance = torch.zeros(count, *spectrum.size, device=device)
    for _ in range(steps):
        images = spectrum.images(phases).clamp(0, 1)
        cropped = _crops(images, generator)
        cropped = cropped + NOISE * torch.randn(cropped.shape, generator=generator).to(device)
        gradient, phases.grad = torch.autograd.grad(-excited(cropped).sum(), [images, phases])
        importance += gradient.abs().sum(1)
        optimizer.step()
    opaque = importance / importance.flatten(1).quantile(CLEAR, 1).clamp(min=1e-12).view(-1, 1, 1)
    return spectrum.images(phases).detach().clamp(0, 1), opaque.clamp(0, 1)


def _crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random square crop of each image, scaled to the image's size."""
    scale, x, y = torch.rand(3, len(images), generator=generator).to(images.device)
    scale = CROP[0] + (CROP[1] - CROP[0]) * scale
    zero = torch.zeros_like(scale)
    rows = torch.stack([scale, zero, (2 * x - 1) * (1 - scale), zero, scale, (2 * y - 1) * (1 - scale)], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
