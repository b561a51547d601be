"""Sound: files of any format, spectrograms, the spoken digits with their download, folders, augmentation."""

import contextlib
import http.server
import io
import shutil
import struct
import sys
import threading
import types
import urllib.request
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from sounds import hums, tone, wav

from cnnlab.data import load as loading
from cnnlab.data import spoken_digits
from cnnlab.data.augment_sound import mask_frequency, mask_time, shift_time
from cnnlab.data.sound import SOUNDS
from cnnlab.data.spectrogram import mel_bands, spectrogram
from cnnlab.data.splits import prepared
from cnnlab.data.waves import fit, read_waveform, resample

urlopen = urllib.request.urlopen  # before the tests of data take it away
EXTENSIBLE = bytes.fromhex("0100000000001000800000aa00389b71")


def raw_wav(path, kind, bits, content, channels=1, rate=8000, more=b"", size=None):
    layout = (
        struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits) + more
    )
    parts = b"fmt " + struct.pack("<I", len(layout)) + layout
    parts += b"LIST" + struct.pack("<I", 3) + b"abc\0"  # a chunk of an odd size, with its pad byte
    parts += b"data" + struct.pack("<I", len(content) if size is None else size) + content
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts)
    return path


# --- files


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_of_samples_is_the_same_sound(tmp_path, width):
    values = tone()
    read = read_waveform(wav(tmp_path / "a.wav", values, width=width), 8000, len(values))
    assert (read.dtype, read.shape) == (torch.int16, (1, len(values)))
    assert np.abs(read[0].numpy() / 32768 - values).max() < (0.01 if width == 1 else 1e-4)


def test_16_bits_at_the_same_rate_are_kept_bit_for_bit(tmp_path):
    values = np.random.default_rng(0).integers(-32768, 32768, 500)
    path = raw_wav(tmp_path / "a.wav", 1, 16, values.astype("<i2").tobytes())
    assert read_waveform(path, 8000, 500)[0].tolist() == values.tolist()


def test_floats_extensible_and_streamed_files_are_read(tmp_path):
    values = tone().astype("<f4")
    whole = read_waveform(raw_wav(tmp_path / "f.wav", 3, 32, values.tobytes()), 8000, len(values))
    assert np.abs(whole[0].numpy() / 32768 - values).max() < 1e-4
    # as many programs write 24 bits, and one that wrote to a pipe, so that it did not know the length
    integers = np.round(values * (2**23 - 1)).astype("<i4")
    content = integers.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    more = struct.pack("<HHI", 22, 24, 0) + EXTENSIBLE
    for size in (None, 2**32 - 1):
        path = raw_wav(tmp_path / "e.wav", 0xFFFE, 24, content, more=more, size=size)
        assert (read_waveform(path, 8000, len(values)) - whole).abs().max() <= 1


def test_channels_are_averaged(tmp_path):
    stereo = wav(tmp_path / "s.wav", np.stack([tone(500), tone(1500)], 1))
    mono = wav(tmp_path / "m.wav", (tone(500) + tone(1500)) / 2)
    assert (read_waveform(stereo, 8000, 4000).int() - read_waveform(mono, 8000, 4000).int()).abs().max() <= 1


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_another_rate_keeps_pitch_and_length(rate):
    # away from the ends a tone is the tone that was sampled at the wanted rate
    given = resample(tone(440, rate, 1.0), rate, 8000)
    assert len(given) == 8000
    assert np.abs(given - tone(440, 8000, 1.0))[400:-400].max() < 0.01


def test_what_is_above_half_the_rate_is_dropped():
    assert np.abs(resample(tone(6000, 44100, 1.0), 44100, 8000))[400:-400].max() < 0.01


def test_short_sounds_stand_in_the_middle_and_of_long_ones_the_loudest_part_is_taken():
    assert fit(np.ones(4), 9).tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    long = np.concatenate([np.full(50, 0.1), np.ones(20), np.full(30, 0.1)])
    assert fit(long, 20).tolist() == [1.0] * 20
    assert fit(np.zeros(30), 20).tolist() == [0.0] * 20


HOSTILE = {
    "an empty file": lambda p: p.write_bytes(b""),
    "not a wav file": lambda p: p.write_bytes(b"\x89PNG, which is no sound at all, however it is named"),
    "cut short before its sound": lambda p: p.write_bytes(wav(p, tone()).read_bytes()[:30]),
    "cut short: 1,000 of 8,000 bytes": lambda p: p.write_bytes(wav(p, tone()).read_bytes()[: 44 + 1000]),
    "holds no sound": lambda p: wav(p, np.zeros(0)),
    "does not say its format": lambda p: p.write_bytes(b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd"),
    "format 6, 8 bits": lambda p: raw_wav(p, 6, 8, bytes(100)),  # A-law
    "format 1, 12 bits": lambda p: raw_wav(p, 1, 12, bytes(100)),
    "0 channels": lambda p: raw_wav(p, 1, 16, bytes(100), channels=0),
    "at 0 Hz": lambda p: raw_wav(p, 1, 16, bytes(100), rate=0),
    "not finite": lambda p: raw_wav(p, 3, 32, np.full(9, np.nan, "<f4").tobytes()),
    "holds 2,000 seconds": lambda p: raw_wav(p, 1, 8, bytes(100), rate=1, size=2000),
}


@pytest.mark.parametrize("said", HOSTILE)
def test_a_file_that_is_no_sound_is_refused_in_one_line(tmp_path, said):
    path = tmp_path / "x.wav"
    HOSTILE[said](path)
    with pytest.raises(ValueError, match=said) as raised:
        read_waveform(path, 8000, 8000)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_bytes_are_changed_a_file_is_read_or_refused(tmp_path, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(wav(tmp_path / "x.wav", tone(seconds=0.02)).read_bytes())
    for place in rng.integers(0, 60, 4):
        content[place] = rng.integers(256)
    (tmp_path / "x.wav").write_bytes(content[: rng.integers(1, len(content))])
    with contextlib.suppress(ValueError):
        assert read_waveform(tmp_path / "x.wav", 8000, 800).shape == (1, 800)


def test_other_formats_are_read_by_soundfile_which_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ValueError, match=r"^\.flac files are read by the package soundfile, which is not installed"):
        read_waveform(path, 8000, 8000)

    class Opened(io.BytesIO):  # what soundfile gives; it is not installed where the tests run
        frames, samplerate = 4000, 8000

        def read(self, dtype, always_2d):
            return tone()[:, None]

    monkeypatch.setitem(sys.modules, "soundfile", types.SimpleNamespace(SoundFile=lambda path: Opened()))
    assert torch.equal(read_waveform(path, 8000, 4000), read_waveform(wav(tmp_path / "a.wav", tone()), 8000, 4000))


# --- spectrograms


def test_bands_are_equally_wide_on_the_mel_scale_and_cover_every_frequency_once():
    bands = mel_bands(8000, 4096, 10, 0, None)
    centres = bands.argmax(1) * 8000 / 4096
    mel = 2595 * np.log10(1 + centres / 700)
    assert np.diff(mel) == pytest.approx(2595 * np.log10(1 + 4000 / 700) / 11, rel=0.03)
    between = np.linspace(0, 4000, 2049)
    inside = (between > centres[0]) & (between < centres[-1])
    assert bands.sum(0)[inside] == pytest.approx(1)  # triangles whose neighbours add up


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_is_a_bright_row_at_its_frequency_and_time(hertz, composed):
    data = composed("data=spoken_digits")["data"]
    facts = loading.facts(data)
    assert facts.shape == (1, 32, 64)
    waves = torch.zeros(2, 1, 8000, dtype=torch.int16)
    waves[0, 0, 2000:6000] = torch.from_numpy(tone(hertz) * 32767).to(torch.int16)
    images = SOUNDS.to_input(waves, facts, data)
    assert (images.dtype, images.shape) == (torch.uint8, (2, 1, 32, 64))
    assert images[1].max() == 0  # silence
    scales = SOUNDS.scales(facts, data)
    row = int(images[0, 0].argmax()) // 64
    rows = np.array(scales["frequency"].values)
    assert np.abs(rows - hertz).argmin() == row
    assert (np.diff(rows) < 0).all()  # the highest on top
    times = np.array(scales["time"].values)
    heard = times[images[0, 0, row].numpy() > 200]
    assert (heard.min(), heard.max()) == (pytest.approx(0.25, abs=0.02), pytest.approx(0.75, abs=0.02))
    # volume does not count, and each sound stands for itself
    beside = SOUNDS.to_input(torch.cat([waves[:1], waves[:1] // 8]), facts, data)
    assert (beside[1].int() - images[0].int()).abs()[images[0] > 60].max() <= 2
    assert torch.equal(SOUNDS.to_input(waves[:1], facts, data), images[:1])


def test_decibels_are_decibels():
    # a tone and, later, the same at a tenth of the amplitude, 20 dB below
    waves = np.concatenate([tone(1000), tone(1000, loudness=0.05)])
    images = spectrogram(torch.from_numpy(waves).float()[None, None], 8000, 256, 125, 32, 50, None, 80)
    row = images[0, 0].int().amax(1).argmax()
    assert images[0, 0, row, 10] == 255
    assert int(images[0, 0, row, 50]) == pytest.approx(255 * (1 - 20 / 80), abs=1)


def test_resize_scales_the_axes_and_channels_repeat(composed):
    data = composed("data=spoken_digits", "data.resize=16", "data.channels=3")["data"]
    facts = loading.facts(data)
    images = SOUNDS.to_input(torch.randint(-9000, 9000, (2, 1, 8000), dtype=torch.int16), facts, data)
    assert images.shape == (2, *facts.shape) == (2, 3, 16, 16)
    assert torch.equal(images[:, 0], images[:, 2])
    scales = SOUNDS.scales(facts, data)
    assert [len(scales[axis].values) for axis in ("frequency", "time")] == [16, 16]
    assert scales["time"].values[-1] == pytest.approx(0.96, abs=0.01)
    assert SOUNDS.scales(facts, data | {"permute_pixels": True}) == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("data.rate=0", "^data.rate is samples a second"),
        ("data.rate=8000.5", "^data.rate is samples a second"),
        ("data.seconds=0", "^data.seconds is a number above 0"),
        ("data.seconds=1e9", "^data.seconds is a number above 0"),
        ("data.held_out=jacksen", '^data.held_out=jacksen: no such speaker; did you mean "jackson"'),
        ("data.held_out=3", "^data.held_out=3: no such speaker; known: george"),
        ("data.spectrogram.mels=0", "^data.spectrogram.mels must be a whole number of at least 1, not 0"),
        (
            "data.spectrogram.mels=128",
            "bands lie between two frequencies of n_fft=256; take fewer mels or a larger n_fft",
        ),
        ("data.spectrogram.n_fft=9000", "^data.spectrogram.n_fft=9000 is more than the 8000 samples of a sound"),
        ("data.spectrogram.hop=0.5", "^data.spectrogram.hop must be a whole number"),
        ("data.spectrogram.high=5000", "low=50 and high=5000 are hertz, from 0 to half of data.rate, 4000"),
        ("data.spectrogram.low=4000", "the first below the second"),
        ("data.spectrogram.decibels=0", "^data.spectrogram.decibels must be above 0"),
        ("data.spectrogram.decibels=loud", "^data.spectrogram: decibels is a number, such as 60.0"),
        ("+data.spectrogram.mel=3", '^data.spectrogram has no option "mel"; did you mean "mels"'),
        ("data.crop=9", "^data.crop=9 cuts pictures, and data=spoken_digits holds sounds"),
        ("data.trim=2", "^data.trim=2 cuts pictures"),
        ("data.channels=2", "^data.channels=2"),
    ],
)
def test_options_that_cannot_be_are_refused(composed, changed, said):
    with pytest.raises(ValueError, match=said):
        loading.facts(composed("data=spoken_digits", changed)["data"])


# --- the spoken digits


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Small recordings under the official names: the folder that holds spoken-digits, and their digest."""
    root = tmp_path_factory.mktemp("official")
    folder = root / "spoken-digits/recordings"
    sample = bytearray(wav(folder / "sample.wav", tone(seconds=0.01)).read_bytes())
    (folder / "sample.wav").unlink()
    for number, name in enumerate(spoken_digits.NAMES, 1):
        sample[44:46] = struct.pack("<h", number)  # the first sample of sound numbers the recording
        (folder / name).write_bytes(sample)
    return root, spoken_digits.digest({name: (folder / name).read_bytes() for name in spoken_digits.NAMES})


@pytest.fixture
def digits(official, monkeypatch):
    """The folder of the small recordings, which count as the official ones."""
    monkeypatch.setattr(spoken_digits, "SHA256", official[1])
    return official[0]


@pytest.fixture
def own_digits(digits, tmp_path):
    """A copy of it, to be altered."""
    return shutil.copytree(digits, tmp_path / "own")


def numbers(examples):
    """The places of recordings in NAMES, which their first samples tell."""
    return [int(row[row.nonzero()[0]]) - 1 for row in examples.inputs[:, 0]]


def speakers(examples):
    return {spoken_digits.NAMES[i].split("_")[1] for i in numbers(examples)}


def test_the_official_test_set_is_the_first_five_of_each(digits, composed):
    splits = loading.load(composed("data=spoken_digits", f"data_dir={digits}", "data.seconds=0.05")["data"])
    assert (len(splits.train), len(splits.test), splits.val) == (2700, 300, None)
    names = [spoken_digits.NAMES[i] for i in numbers(splits.test)]
    assert {int(name[:-4].split("_")[2]) for name in names} == set(range(5))
    assert [int(name[0]) for name in names] == splits.test.labels.tolist()
    assert not {*numbers(splits.test)} & {*numbers(splits.train)}


def test_a_speaker_who_is_held_out_is_in_no_other_split(digits, composed):
    for speaker in spoken_digits.SPEAKERS:
        data = composed("data=spoken_digits", f"data_dir={digits}", f"data.held_out={speaker}", "data.seconds=0.05")
        splits = loading.load(data["data"])
        assert (len(splits.train), len(splits.test)) == (2500, 500)
        assert speakers(splits.test) == {speaker}
        assert speakers(splits.train) == {*spoken_digits.SPEAKERS} - {speaker}  # of which validation is split off
        assert len(prepared(data["data"]).val) == 300


@pytest.mark.parametrize("what", ["altered", "lengthened"])
def test_recordings_that_are_not_the_official_ones_are_refused(own_digits, composed, what):
    path = own_digits / "spoken-digits/recordings/7_theo_3.wav"
    path.write_bytes(path.read_bytes()[:-1] + b"x" if what == "altered" else path.read_bytes() + b"x")
    with pytest.raises(
        ValueError, match=r"does not hold the official recordings of commit 26eb9aa .*; delete the folder"
    ):
        loading.load(composed("data=spoken_digits", f"data_dir={own_digits}")["data"])


def test_without_files_and_network_a_line_says_what_to_do(composed, tmp_path):
    with pytest.raises(
        ValueError, match=r"no usable spoken-digits/recordings/\*.wav in .* and no download \(.*\); put"
    ):
        loading.load(composed("data=spoken_digits", f"data_dir={tmp_path}")["data"])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(digits, monkeypatch, tmp_path):
    """A local server that gives the recordings as GitHub packs a commit; gives the archive's path."""
    (tmp_path / "served").mkdir()
    archive = tmp_path / "served/archive.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("free-spoken-digit-dataset-26eb9aa/README.md", "about")
        for name in spoken_digits.NAMES:
            packed.write(
                digits / "spoken-digits/recordings" / name, f"free-spoken-digit-dataset-26eb9aa/recordings/{name}"
            )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(spoken_digits, "URL", f"http://127.0.0.1:{server.server_port}/archive.zip")
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    yield archive
    server.shutdown()
    thread.join()
    server.server_close()


def test_recordings_are_downloaded_once_and_are_whole(served, digits, composed, tmp_path):
    data = composed("data=spoken_digits", f"data_dir={tmp_path / 'fresh'}", "data.seconds=0.05")["data"]
    splits = loading.load(data)
    assert len(splits.train) == 2700
    place = tmp_path / "fresh/spoken-digits"
    assert {p.name for p in (place / "recordings").iterdir()} == set(spoken_digits.NAMES)
    assert [p.name for p in place.iterdir() if p.is_dir()] == ["recordings"]  # and nothing else is left
    served.unlink()
    loading.forget()
    assert torch.equal(loading.load(data).train.inputs, splits.train.inputs)


def test_what_is_missing_of_the_recordings_is_fetched(served, own_digits, composed):
    (own_digits / "spoken-digits/recordings/3_lucas_7.wav").unlink()
    assert len(loading.load(composed("data=spoken_digits", f"data_dir={own_digits}")["data"]).train) == 2700


@pytest.mark.parametrize("what", ["other recordings", "too few", "no archive"])
def test_a_download_that_is_not_the_official_one_leaves_nothing(served, composed, tmp_path, what):
    if what == "no archive":
        served.write_bytes(b"<html>not found</html>")
    else:
        with zipfile.ZipFile(served, "w") as packed:
            for name in spoken_digits.NAMES[: 9 if what == "too few" else None]:
                packed.writestr(f"x/recordings/{name}", b"RIFF")
    with pytest.raises(
        ValueError, match=r"^http://127.0.0.1:\d+/archive.zip (does not hold|is not the archive)"
    ) as raised:
        loading.load(composed("data=spoken_digits", f"data_dir={tmp_path / 'fresh'}")["data"])
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "fresh").rglob("*.wav"))


# --- sounds in folders


@pytest.fixture
def folder(tmp_path, composed):
    """Sounds in folders of their classes; gives the folder and its data config."""
    root = hums(tmp_path / "hums")
    return root, composed("data=sound_folder", f"data.path={root}", "data.seconds=0.5", "data.val_size=6")["data"]


def test_sounds_in_folders(folder):
    _, data = folder
    splits = prepared(data)
    assert (splits.classes, loading.class_names_of(data)) == (["high", "low"], ["high", "low"])
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [18, 6, 6]
    high, low = (splits.test.inputs[splits.test.labels == label].float().mean((0, 1, 3)) for label in (0, 1))
    assert high.argmax() < low.argmax()  # the highest frequency is the first row


def test_streamed_sounds_are_those_in_memory(folder):
    _, data = folder
    inputs = prepared(data).train.inputs
    files = prepared(data | {"stream": 1}).train
    assert type(files).__name__ == "Files"
    assert torch.equal(files.load(), inputs)


def test_a_broken_file_is_named(folder):
    root, data = folder
    (root / "train/low/0.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"hums/train/low/0.wav: not a wav file$"):
        loading.load(data)


def test_new_sounds_are_seen_and_a_folder_without_any_is_refused(folder):
    root, data = folder
    assert len(loading.load(data).train) == 24
    shutil.copy(root / "train/low/0.wav", root / "train/low/new.wav")
    assert len(loading.load(data).train) == 25
    for path in (root / "train/low").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"train/low holds no sound; remove the folder or add sounds"):
        loading.load(data)


# --- augmentation


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_shift_in_time_lets_silence_in():
    images = torch.arange(1, 21, dtype=torch.uint8).view(1, 1, 1, 20).expand(500, 2, 3, 20)
    moved = shift_time(images, seeded(), most=3)
    by = moved[:, 0, 0, 10].int() - 11  # the column that stands at column 10
    assert set(by.tolist()) == set(range(-3, 4))
    for image, shift in zip(moved, by.tolist(), strict=True):
        expected = torch.tensor([c + 1 + shift if 0 <= c + shift < 20 else 0 for c in range(20)], dtype=torch.uint8)
        assert torch.equal(image, expected.expand(2, 3, 20))


@pytest.mark.parametrize(("mask", "axis"), [(mask_time, 3), (mask_frequency, 2)])
def test_masks_silence_a_stretch_of_one_axis(mask, axis):
    images = torch.full((600, 2, 15, 20), 9, dtype=torch.uint8)
    masked = (mask(images, seeded(), most=5) == 0).movedim(axis, -1)
    lines = masked.flatten(1, -2)
    assert (lines == lines[:, :1]).all()  # in every channel and line the same
    widths = lines[:, 0].sum(1)
    assert set(widths.tolist()) == set(range(6))
    edges = lines[:, 0].int().diff(dim=1)
    assert ((edges == 1).sum(1) <= 1).all()  # in one piece
    first = lines[:, 0].int().argmax(1)[widths == 5]
    assert set(first.tolist()) == set(range(masked.shape[-1] - 4))
    assert (mask(images, seeded(), most=5, masks=3) == 0).sum() > 2 * masked.sum()


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (shift_time, {"most": 20}, "augment.shift_time.most must be from 0 to 19, not 20"),
        (mask_time, {"most": -1}, "augment.mask_time.most must be from 0 to 20, not -1"),
        (mask_frequency, {"most": 16}, "augment.mask_frequency.most must be from 0 to 15"),
        (mask_frequency, {"masks": 0}, "augment.mask_frequency.masks must be at least 1"),
    ],
)
def test_augmentations_that_cannot_be_are_refused(function, options, said):
    with pytest.raises(ValueError, match=said):
        function(torch.zeros(2, 1, 15, 20, dtype=torch.uint8), seeded(), **options)
