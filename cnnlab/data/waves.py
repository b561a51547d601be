"""Read sound files of any rate and number of channels as waveforms of one length."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OTHERS = (".flac", ".mp3", ".ogg", ".aiff")  # read by the package soundfile
SUFFIXES = frozenset({".wav", *OTHERS})
LONGEST = 600  # seconds of a file, at most
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format codes of wav files; the last has the format in an extension
UNKNOWN = 2**32 - 1  # size of the sound in a file that was written as a stream

Samples = NDArray[np.float64]


def read_waveform(path: Path, rate: int, samples: int) -> Tensor:
    """Read a sound file as a waveform (1, samples), int16, mono, at `rate` samples per second.

    Raises:
        OSError, ValueError: not a sound file, truncated, empty, or of an unsupported format.
    """
    if path.suffix.lower() in OTHERS:
        return as_waveform(*_read_other(path), rate, samples)
    with path.open("rb") as file:
        return as_waveform(*read_wav(file), rate, samples)


def as_waveform(values: Samples, own_rate: int, rate: int, samples: int) -> Tensor:
    """Turn values (length, channels) from -1 to 1 into a waveform (1, samples), int16.

    Channels are averaged. A shorter sound is centred in silence; of a longer one the part with the most energy is kept.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    if not len(values):
        raise ValueError("holds no sound")
    if not np.isfinite(values).all():
        raise ValueError("holds values that are not finite")
    mono = fit(resample(values.mean(1), own_rate, rate), samples)
    return torch.from_numpy((mono * 32768).round().clip(-32768, 32767).astype(np.int16))[None]


def read_wav(file: BinaryIO) -> tuple[Samples, int]:
    """Read values (length, channels) from -1 to 1 and the rate of a wav file, PCM of 8 to 32 bits or floats.

    Python's `wave` reads no floats, and before 3.12 no extensible format, in which many programs write 24 bits.

    Raises:
        ValueError: not a wav file, truncated, or of another format.
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("not a wav file" if head else "an empty file")
    layout, size = None, 0
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            break
        if name == b"fmt ":
            layout = file.read(min(size, 64))
            file.seek(size + size % 2 - len(layout), 1)
        else:
            file.seek(size + size % 2, 1)
    else:
        raise ValueError("a wav file that is cut short before its sound")
    if layout is None or len(layout) < 16:
        raise ValueError("a wav file that does not say its format")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", layout[:16])
    if kind == EXTENSIBLE and len(layout) >= 26:
        (kind,) = struct.unpack("<H", layout[24:26])
    if (kind, bits) not in DECODERS or not channels or not rate:
        raise ValueError(
            f"a wav file of format {kind}, {bits} bits, {channels} channels at {rate} Hz, which cannot be read; save "
            "it as 16-bit PCM"
        )
    width = channels * bits // 8
    if size != UNKNOWN:
        _refuse_long(size // width, rate)
    content = file.read(min(size, (LONGEST * rate + 1) * width))
    if size == UNKNOWN:
        _refuse_long(len(content) // width, rate)
    elif len(content) < size:
        raise ValueError(f"cut short: {len(content):,} of {size:,} bytes of sound")
    values = DECODERS[kind, bits](content[: len(content) // width * width])
    return values.reshape(-1, channels), rate


def _refuse_long(frames: int, rate: int) -> None:
    if frames > LONGEST * rate:
        raise ValueError(f"holds {frames / rate:,.0f} seconds of sound; cut it into parts of {LONGEST} or less")


def _of_24_bits(content: bytes) -> Samples:
    parts = np.frombuffer(content, np.uint8).reshape(-1, 3).astype(np.int32)
    whole = (parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) >> 8
    return np.asarray(whole / 2.0**23)


# from the bytes of a file to values from -1 to 1, by format and bits
DECODERS: dict[tuple[int, int], Callable[[bytes], Samples]] = {
    (PCM, 8): lambda content: (np.frombuffer(content, np.uint8) - 128.0) / 128,
    (PCM, 16): lambda content: np.frombuffer(content, "<i2") / 2.0**15,
    (PCM, 24): _of_24_bits,
    (PCM, 32): lambda content: np.frombuffer(content, "<i4") / 2.0**31,
    (FLOAT, 32): lambda content: np.frombuffer(content, "<f4").astype(np.float64),
    (FLOAT, 64): lambda content: np.frombuffer(content, "<f8"),
}


def _read_other(path: Path) -> tuple[Samples, int]:
    """Read a file other than wav: values (length, channels) and rate."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError if libsndfile is missing
        raise ValueError(
            f"{path.suffix} files are read by the package soundfile, which is not installed: pip install soundfile, or "
            "convert them to wav"
        ) from error
    try:
        with soundfile.SoundFile(path) as file:
            _refuse_long(file.frames, file.samplerate)
            return file.read(dtype="float64", always_2d=True), file.samplerate
    except RuntimeError as error:  # raised for any file that libsndfile cannot read
        raise ValueError(f"not a sound file that can be read ({error})") from error


def resample(values: Samples, rate: int, wanted: int) -> Samples:
    """Resample values (length,): the Fourier transform of the whole, cut off or padded with zeros."""
    if rate == wanted:
        return values
    length = max(1, round(len(values) * wanted / rate))
    spectrum = np.fft.rfft(values)[: length // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, length) * (length / len(values)))


def fit(values: Samples, samples: int) -> Samples:
    """Fit values to (samples,): centred in zeros, or the part with the most energy, the first of equals."""
    spare = samples - len(values)
    if spare >= 0:
        return np.pad(values, (spare // 2, spare - spare // 2))
    energy = np.concatenate([[0.0], np.cumsum(values**2)])
    start = int((energy[samples:] - energy[:-samples]).argmax())
    return values[start : start + samples]
