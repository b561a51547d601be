"""Distort batches of waveforms by an amount, before their spectrograms are computed.

A distortion is a function of waveforms (N, 1, samples), floats from -1 to 1, and an amount. To add one, add a function
to SOUND_DISTORTIONS with the amounts to test; the first must leave waveforms unchanged.
"""

from collections.abc import Sequence
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.trained.distortions import Distort

WINDOW = 256  # samples of a piece that is moved to change the tempo
SEARCHED = 64  # samples by which a piece may be taken earlier or later for a better fit


def noise(waveforms: Tensor, decibels: float) -> Tensor:
    """Add white noise, so many decibels below each sound's power, padding left out; the same for every network."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(waveforms.shape[1:], generator=generator).to(waveforms.device)
    heard = waveforms != 0  # not the padding
    power = waveforms.square().sum(2, keepdim=True) / heard.sum(2, keepdim=True).clamp(min=1)
    return waveforms + white * (power * 10 ** (-decibels / 10)).sqrt()


def tempo(waveforms: Tensor, factor: float) -> Tensor:
    """Play so many times as fast at the same pitch, about the middle; both ends are padded with silence, or cut off.

    Overlapping pieces are taken further apart or closer together, each where it best matches the continuation of the
    one before (WSOLA, Verhelst & Roelands 1993).
    """
    if factor == 1:
        return waveforms
    samples, half = waveforms.shape[2], WINDOW // 2
    window = torch.hann_window(WINDOW, device=waveforms.device)
    length = round(samples / factor)
    margin = SEARCHED + WINDOW
    padded = F.pad(waveforms[:, 0], (margin, margin + 2 * WINDOW))
    out = waveforms.new_zeros(len(waveforms), length + 2 * WINDOW)
    follows = None  # for each waveform, start of its last piece's continuation
    row = torch.arange(len(waveforms), device=waveforms.device)[:, None]
    piece = torch.arange(WINDOW, device=waveforms.device)
    for start in range(0, length + half, half):
        wanted = margin + round(start * factor) - half
        if follows is None:
            begin = torch.full((len(waveforms), 1), wanted, device=waveforms.device)
        else:
            near = padded[:, wanted - SEARCHED : wanted + SEARCHED + WINDOW].unfold(1, WINDOW, 1)
            natural = padded[row, follows + piece]
            best = (near * natural[:, None]).sum(2).argmax(1, keepdim=True)
            begin = wanted - SEARCHED + best
        out[:, start : start + WINDOW] += padded[row, begin + piece] * window
        follows = begin + half
    return _middle(out[:, half : half + length], samples)[:, None]


def _middle(values: Tensor, samples: int) -> Tensor:
    """Crop or zero-pad values on both sides to (N, samples)."""
    spare = samples - values.shape[1]
    return F.pad(values, (spare // 2, spare - spare // 2))  # crops if negative


SOUND_DISTORTIONS: dict[str, tuple[Distort, Sequence[float]]] = {
    "noise": (noise, (inf, 0, 5, 10, 20, 30, 40)),
    "tempo": (tempo, (1.0, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 1.75)),
}
