"""Images made to excite a channel: by gradient ascent on the pixels, and by MACO, on the phases of their spectrum."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.inspection.units import activation_of
from cnnlab.models.hooks import watch
from cnnlab.training.classifier import Classifier

RATE = 0.05  # of gradient ascent
TURN = 0.5  # of MACO: radians or so a step
CROP = (0.6, 1.0)  # side of a crop of MACO, as a share of the image's, at least and at most
NOISE = 0.05  # standard deviation of what is added to a crop
LEAK = 0.1  # weight of values below 0
CLEAR = 0.98  # quantile of a pixel's gradients from which on it is opaque


class _Reached(Exception):  # noqa: N818
    """Ends a forward pass behind the layer that is looked at."""


def excitement(classifier: Classifier, layer: str, channels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that says how much each channel is excited by an image made for it.

    It takes images (N, C, H, W) and gives (N,): of the N-th channel's values in the N-th image, before the activation,
    the mean of the squares of those above 0, less a little for those below. Behind a saturated tanh or a dead ReLU
    there would be no gradient, and the mean of a linear map would say no more than how bright the image is.
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
    """An image for each channel, by gradient ascent on its pixels (Erhan et al. 2009), so that `excitement` grows.

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
    """How strong each frequency is in images (N, C, H, W) from 0 to 1, on the average.

    Colours are taken apart into their principal components first, which hardly depend on each other: phases of each are
    free, and the colours of the result are nevertheless those of the data.
    """

    magnitude: Tensor  # (C, H, W // 2 + 1)
    colours: Tensor  # (C, C), a principal component in each column
    mean: Tensor  # (C, 1, 1)
    size: tuple[int, int]

    @classmethod
    def of(cls, images: Tensor) -> "Spectrum":
        """Measure it."""
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
    """An image for each channel, by magnitude-constrained optimisation (Fel et al. 2023, arXiv 2306.06805).

    The magnitude of every frequency stays that of the data; only phases change. Each step sees a random crop of the
    image, scaled to its size, with noise. What a pixel did is the sum of its gradients' magnitudes over all steps.

    Returns:
        The images (N, C, H, W) from 0 to 1, and how opaque each pixel is to be shown, (N, H, W) from 0 to 1.
    """
    generator = torch.Generator().manual_seed(0)
    device = spectrum.mean.device
    start = torch.randn(count, *spectrum.magnitude.shape, generator=generator)
    phases = start.to(device).requires_grad_()
    optimizer = torch.optim.NAdam([phases], lr=TURN)
    did = torch.zeros(count, *spectrum.size, device=device)
    for _ in range(steps):
        images = spectrum.images(phases).clamp(0, 1)
        seen = _crops(images, generator)
        seen = seen + NOISE * torch.randn(seen.shape, generator=generator).to(device)
        towards, phases.grad = torch.autograd.grad(-excited(seen).sum(), [images, phases])
        did += towards.abs().sum(1)
        optimizer.step()
    opaque = did / did.flatten(1).quantile(CLEAR, 1).clamp(min=1e-12).view(-1, 1, 1)
    return spectrum.images(phases).detach().clamp(0, 1), opaque.clamp(0, 1)


def _crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """Of each image a random square crop, scaled to the image's size."""
    scale, x, y = torch.rand(3, len(images), generator=generator).to(images.device)
    scale = CROP[0] + (CROP[1] - CROP[0]) * scale
    zero = torch.zeros_like(scale)
    rows = torch.stack([scale, zero, (2 * x - 1) * (1 - scale), zero, scale, (2 * y - 1) * (1 - scale)], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
