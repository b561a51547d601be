"""Sounds: loaded as waveforms, given to a network as log-mel spectrograms."""

import inspect
from pathlib import Path

import numpy as np
from torch import Tensor

from cnnlab.data.forms import Config, Facts, Form, Scale
from cnnlab.data.images import picture_facts, to_input
from cnnlab.data.spectrogram import mel_bands, mel_frequencies, spectrogram
from cnnlab.data.waves import LONGEST, SUFFIXES, read_waveform
from cnnlab.registry import check_options

# whole-number options of a spectrogram, with their minimum
WHOLE = {"n_fft": 16, "hop": 1, "mels": 1}


def samples_of(config: Config) -> int:
    """Return the number of samples of a data config's waveforms.

    Raises:
        ValueError: an invalid rate or length.
    """
    rate, seconds = config["rate"], config["seconds"]
    if not isinstance(rate, int) or isinstance(rate, bool) or not 1000 <= rate <= 384000:
        raise ValueError(f"data.rate is samples a second, a whole number from 1,000 to 384,000, not {rate!r}")
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds <= LONGEST:
        raise ValueError(f"data.seconds is a number above 0 and up to {LONGEST}, not {seconds!r}")
    return round(rate * seconds)


def read_sound(path: Path, config: Config) -> Tensor:
    """Read a sound file as a waveform (1, 1, samples), int16.

    Raises:
        ValueError: not a sound file; names it.
    """
    try:
        return read_waveform(path, config["rate"], samples_of(config))[None]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.absolute()}: {error}") from error


def sound_facts(facts: Facts, config: Config) -> Facts:
    """Return the facts of a network's spectrograms from those of the loaded waveforms.

    Raises:
        ValueError: invalid options of the spectrogram.
    """
    given, name = config["spectrogram"], config["name"]
    known = {p.name: p.default for p in list(inspect.signature(spectrogram).parameters.values())[2:]}
    check_options("data.spectrogram", given, known)
    options = known | dict(given)
    for option, least in WHOLE.items():
        if not isinstance(options[option], int) or options[option] < least:
            raise ValueError(
                f"data.spectrogram.{option} must be a whole number of at least {least}, not {options[option]!r}"
            )
    rate, samples = config["rate"], facts.shape[-1]
    for option in ("n_fft", "hop"):
        if options[option] > samples:
            raise ValueError(
                f"data.spectrogram.{option}={options[option]} is more than the {samples} samples of a sound; raise "
                "data.seconds"
            )
    high = rate / 2 if options["high"] is None else options["high"]
    if not isinstance(high, (int, float)) or not 0 <= options["low"] < high <= rate / 2:
        raise ValueError(
            f"data.spectrogram: low={options['low']} and high={options['high']} are hertz, from 0 to half of "
            f"data.rate, {rate / 2:g}, the first below the second"
        )
    if not options["decibels"] > 0:
        raise ValueError(f"data.spectrogram.decibels must be above 0, not {options['decibels']}")
    empty = (mel_bands(rate, options["n_fft"], options["mels"], options["low"], high).sum(1) == 0).sum()
    if empty:
        raise ValueError(
            f"data.spectrogram: {empty} of mels={options['mels']} bands lie between two frequencies of "
            f"n_fft={options['n_fft']}; take fewer mels or a larger n_fft"
        )
    for key in ("crop", "trim"):
        if config.get(key):
            raise ValueError(f"data.{key}={config[key]} cuts pictures, and data={name} holds sounds; say data.seconds")
    return picture_facts(facts._replace(shape=(1, options["mels"], samples // options["hop"])), config)


def to_spectrograms(waveforms: Tensor, facts: Facts, config: Config) -> Tensor:
    """Turn waveforms (N, 1, samples) into a network's inputs: bytes (N, C, frequency bands, time windows).

    Args:
        waveforms: int16, or floats from -1 to 1.
        facts: of the network.
        config: the data config that the network was, or will be, trained with.
    """
    loudness = spectrogram(waveforms, config["rate"], **config["spectrogram"])
    return to_input(loudness.expand(-1, facts.shape[0], -1, -1), facts, config).contiguous()


def read_input(path: Path, facts: Facts, config: Config) -> Tensor:
    """Read a sound file as a network's input, (1, C, frequency, time).

    Raises:
        OSError, ValueError: as `read_waveform`.
    """
    return to_spectrograms(read_waveform(path, config["rate"], samples_of(config))[None], facts, config)


def sound_scales(facts: Facts, config: Config) -> dict[str, Scale]:
    """Return the hertz of the rows and the seconds of the columns; none with permuted pixels."""
    if config.get("permute_pixels"):
        return {}
    known = {p.name: p.default for p in list(inspect.signature(spectrogram).parameters.values())[2:]}
    options = known | dict(config["spectrogram"])
    rate, mels = config["rate"], options["mels"]
    frames = samples_of(config) // options["hop"]
    _, rows, columns = facts.shape  # which resizing may change from mels and frames
    row, column = ((np.arange(n) + 0.5) * own / n - 0.5 for n, own in ((rows, mels), (columns, frames)))
    centres = mel_frequencies(rate, mels, options["low"], options["high"])[1:-1][::-1]
    return {
        "frequency": Scale("Hz", np.interp(row, np.arange(mels), centres).tolist()),
        "time": Scale("s", (column * options["hop"] / rate).tolist()),
    }


SOUNDS = Form(
    "sound",
    ("channel", "frequency", "time"),
    SUFFIXES,
    sound_facts,
    to_spectrograms,
    read_input,
    scales=sound_scales,
    read_by=("rate", "seconds"),
)
