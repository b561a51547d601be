"""The Free Spoken Digit Dataset: 3,000 recordings of ten digits by six speakers, found or downloaded, and checked."""

import hashlib
import io
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import torch
from filelock import FileLock
from torch import Tensor

from cnnlab.data.forms import Config
from cnnlab.data.sound import samples_of
from cnnlab.data.waves import as_waveform, read_wav
from cnnlab.registry import hint

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
# `digest` of all recordings: the hash of the archive may change when GitHub packs it anew
SHA256 = "61a272ed8401ecbae6aa84bc84d2bfdafe4f4d125e44e1fbbcd96d8e4bdca77d"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
EACH = 50  # recordings of each digit by each speaker
TESTED = 5  # the first of these, the official test set
NAMES = [f"{digit}_{speaker}_{i}.wav" for digit in range(10) for speaker in SPEAKERS for i in range(EACH)]
LARGEST = 2**20  # bytes of a recording in an archive, at most
SECONDS = 60  # without a response, after which a download fails


def facts(config: Config) -> tuple[tuple[int, int], int]:
    """Return the shape of a waveform and the number of classes.

    Raises:
        ValueError: an unknown speaker to hold out, or an invalid rate or length.
    """
    if (speaker := config["held_out"]) is not None and speaker not in SPEAKERS:
        raise ValueError(f"data.held_out={speaker}: no such speaker{hint(speaker, SPEAKERS)}")
    return (1, samples_of(config)), 10


def load(folder: Path, rate: int, samples: int, held_out: str | None) -> tuple[Tensor, Tensor, Tensor]:
    """Load waveforms (3000, 1, samples), int16, labels (3000,), and a mask of test (3000,): official, or a speaker's.

    Raises:
        OSError: recordings are missing and cannot be downloaded.
        ValueError: they are not the official ones.
    """
    recordings = official(folder)
    waveforms = [as_waveform(*read_wav(io.BytesIO(recordings[name])), rate, samples) for name in NAMES]
    digits, speakers, numbers = zip(*(name.removesuffix(".wav").split("_") for name in NAMES), strict=True)
    test = [s == held_out if held_out else int(i) < TESTED for s, i in zip(speakers, numbers, strict=True)]
    return torch.stack(waveforms), torch.tensor([int(digit) for digit in digits]), torch.tensor(test)


def official(folder: Path) -> dict[str, bytes]:
    """Return the recordings by name, from `folder`/recordings; one process downloads them, the others wait.

    Raises:
        OSError: some are missing and cannot be downloaded.
        ValueError: they are not the official ones.
    """
    place = folder / "recordings"
    found = _read(place)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".spoken_digits.lock"):
            found = _read(place)
            if found is None:
                found = _fetch()
                _write(found, place)
    if digest(found) != SHA256:
        raise ValueError(
            f"{place.absolute()} does not hold the official recordings of commit {COMMIT[:7]} (SHA-256 differs); "
            "delete the folder to have them fetched again"
        )
    return found


def digest(recordings: dict[str, bytes]) -> str:
    """Compute the SHA-256 of the names, sizes and contents of recordings, in the order of NAMES."""
    sha = hashlib.sha256()
    for name in NAMES:
        content = recordings[name]
        sha.update(f"{name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def _read(place: Path) -> dict[str, bytes] | None:
    """Read the recordings in a folder; None where one is missing."""
    try:
        return {name: (place / name).read_bytes() for name in NAMES}
    except (FileNotFoundError, NotADirectoryError):
        return None


def _fetch() -> dict[str, bytes]:
    """Download the recordings and check them."""
    with urllib.request.urlopen(URL, timeout=SECONDS) as response:
        archive = response.read()
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            inside = {PurePosixPath(i.filename).name: i for i in packed.infolist() if "/recordings/" in i.filename}
            if any(name not in inside or inside[name].file_size > LARGEST for name in NAMES):
                raise ValueError(f"{URL} does not hold the recordings")
            found = {name: packed.read(inside[name]) for name in NAMES}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{URL} is not the archive that it should be ({error})") from error
    if digest(found) != SHA256:
        raise ValueError(f"{URL} does not hold the official recordings (SHA-256 differs); nothing was kept of it")
    return found


def _write(recordings: dict[str, bytes], place: Path) -> None:
    """Write each recording atomically: to a temporary folder, then moved into its own."""
    place.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=place.parent, prefix=".recordings-") as part:
        for name, content in recordings.items():
            (Path(part) / name).write_bytes(content)
            (Path(part) / name).replace(place / name)
