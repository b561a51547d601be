"""Compute log-mel spectrograms of waveforms: loudness by frequency and time, as bytes."""

from math import log10

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnlab.data.forms import as_floats, in_chunks

Floats = NDArray[np.float64]

CHUNK = 256  # waveforms that are transformed at a time
LEAST = 1e-20  # power up to which a value counts as silence


def spectrogram(
    waveforms: Tensor,
    rate: int,
    n_fft: int = 512,
    hop: int = 250,
    mels: int = 32,
    low: float = 50.0,
    high: float | None = None,
    decibels: float = 60.0,
) -> Tensor:
    """Compute spectrograms (N, 1, mels, samples // hop) of waveforms (N, 1, samples), on their device.

    A Hann window of `n_fft` samples is centred at every multiple of `hop`, with silence beyond both ends. 255 is the
    loudest value of each sound, 0 a value `decibels` or more below it, so that the volume does not matter. The first
    row is the highest frequency, as in a plot.

    Args:
        waveforms: int16, or floats from -1 to 1.
        rate: samples per second.
        n_fft: length of a window in samples.
        hop: samples from one window to the next.
        mels: number of frequency bands, of equal width on the mel scale.
        low, high: lowest and highest frequency in hertz; None is half the rate.
        decibels: range of loudness.
    """
    window = torch.hann_window(n_fft, device=waveforms.device)
    bands = torch.from_numpy(mel_bands(rate, n_fft, mels, low, high)).float().to(waveforms.device)

    def transform(part: Tensor) -> Tensor:
        waves = torch.stft(as_floats(part), n_fft, hop, window=window, pad_mode="constant", return_complex=True)
        power = bands @ waves[..., : waveforms.shape[-1] // hop].abs().square()
        loudness = 10 * power.clamp(min=LEAST).log10()
        below = loudness - loudness.amax((1, 2), keepdim=True)
        audible = (power > LEAST).any(2).any(1).view(-1, 1, 1)  # a silent sound has no loudest value
        return ((1 + below / decibels).clamp(0, 1) * audible * 255).round().to(torch.uint8).flip(1)

    return in_chunks(transform, waveforms[:, 0], CHUNK).unsqueeze(1)


def mel_bands(rate: int, n_fft: int, mels: int, low: float, high: float | None) -> Floats:
    """Return triangular filters (mels, n_fft // 2 + 1), lowest first: 1 at the band's centre, 0 at its neighbours'.

    The mel scale is HTK's, 2595 log10(1 + f / 700) (Young et al. 2006, "The HTK Book", 5.4).
    """
    edges = mel_frequencies(rate, mels, low, high)[:, None]
    frequencies = np.linspace(0, rate / 2, n_fft // 2 + 1)
    below, centre, above = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - below) / (centre - below), (above - frequencies) / (above - centre)
    return np.minimum(rising, falling).clip(min=0)


def mel_frequencies(rate: int, mels: int, low: float, high: float | None) -> Floats:
    """Return the centres of the bands in hertz, (mels + 2,), with the outer ends of the first and the last band."""
    first, last = (2595 * log10(1 + f / 700) for f in (low, rate / 2 if high is None else high))
    return np.asarray(700 * (10 ** (np.linspace(first, last, mels + 2) / 2595) - 1))
