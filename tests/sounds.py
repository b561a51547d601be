"""Sounds that tests write."""

import wave
from pathlib import Path

import numpy as np


def tone(hertz=1000, rate=8000, seconds=0.5, loudness=0.5):
    """A sine, (rate * seconds,) from -1 to 1."""
    return loudness * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def wav(path: Path, values, rate=8000, width=2) -> Path:
    """Write values (length,) or (length, channels) from -1 to 1 as the standard library does."""
    values = np.asarray(values)
    values = values if values.ndim == 2 else values[:, None]
    scaled = np.round(values * (2 ** (8 * width - 1) - 1)).astype(np.int64) + (128 if width == 1 else 0)
    content = scaled.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((values.shape[1], width, rate, 0, "NONE", ""))
        file.writeframes(content)
    return path


def hums(root: Path) -> Path:
    """Low and high tones in folders of their classes, in stereo, 12 for training and 3 for test of each."""
    for split, count in (("train", 12), ("test", 3)):
        for name, hertz in (("low", 300), ("high", 2000)):
            for i in range(count):
                values = tone(hertz + 9 * i, 11025, 0.3)
                wav(root / split / name / f"{i}.wav", np.stack([values, values], 1), 11025)
    return root
