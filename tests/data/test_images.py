import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data.forms import Facts, find_files
from cnnlab.data.images import SUFFIXES, read_image, resize, to_input

WHITE = (255, 255, 255)


def read_sized(path, channels, size):
    return resize(read_image(path, channels)[None], size)[0]


def palette(**options):
    picture = Image.new("P", (5, 7), 1)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    return picture, options


PICTURES = {  # a picture of one colour with options to save it, and that colour
    "1": (Image.new("1", (5, 7), 1), {}, WHITE),
    "L": (Image.new("L", (5, 7), 90), {}, (90, 90, 90)),
    "L, one grey transparent": (Image.new("L", (5, 7), 90), {"transparency": 90}, WHITE),
    "LA": (Image.new("LA", (5, 7), (90, 255)), {}, (90, 90, 90)),
    "LA transparent": (Image.new("LA", (5, 7), (90, 0)), {}, WHITE),
    "RGB": (Image.new("RGB", (5, 7), (10, 20, 30)), {}, (10, 20, 30)),
    "RGB, one colour transparent": (Image.new("RGB", (5, 7), (10, 20, 30)), {"transparency": (10, 20, 30)}, WHITE),
    "RGBA": (Image.new("RGBA", (5, 7), (10, 20, 30, 255)), {}, (10, 20, 30)),
    "RGBA transparent": (Image.new("RGBA", (5, 7), (10, 20, 30, 0)), {}, WHITE),
    "RGBA half": (Image.new("RGBA", (5, 7), (0, 0, 0, 128)), {}, (127, 127, 127)),
    "P": (*palette(), (0, 255, 0)),
    "P, other entry transparent": (*palette(transparency=0), (0, 255, 0)),
    "P, one entry transparent": (*palette(transparency=1), WHITE),
    "P, alpha of each entry": (*palette(transparency=b"\xff\x00"), WHITE),
    "I;16": (Image.fromarray(np.full((7, 5), 100 * 257, np.uint16)), {}, (100, 100, 100)),
    "I;16 dark": (Image.fromarray(np.full((7, 5), 200, np.uint16)), {}, (1, 1, 1)),
    "I;16, one grey transparent": (Image.fromarray(np.full((7, 5), 9, np.uint16)), {"transparency": 9}, WHITE),
}


@pytest.mark.parametrize("mode", PICTURES)
def test_every_mode_of_png(mode, tmp_path):
    picture, options, rgb = PICTURES[mode]
    path = tmp_path / "picture.png"
    picture.save(path, **options)
    with Image.open(path) as saved:
        assert saved.mode == mode.replace(",", " ").split()[0]  # else the case tests something else
    colour = read_sized(path, 3, (4, 6))
    assert (colour.dtype, colour.shape) == (torch.uint8, (3, 4, 6))
    assert torch.equal(colour, torch.tensor(rgb, dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 6))
    grey = read_sized(path, 1, (4, 6))
    assert grey.shape == (1, 4, 6)
    assert (grey - np.dot(rgb, (0.299, 0.587, 0.114))).abs().max() <= 1  # ITU-R 601


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red = read_sized(tmp_path / "red.jpg", 3, (16, 16))
    assert red[0].min() > 250
    assert red[1:].max() < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2), (40, 30)])
def test_any_size(size, tmp_path):
    Image.new("L", size, 70).save(tmp_path / "picture.png")
    assert torch.equal(read_sized(tmp_path / "picture.png", 1, (28, 28)), torch.full((1, 28, 28), 70).byte())


def test_pixels_stay_in_place_and_turn_as_the_camera_said(tmp_path):
    values = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    Image.fromarray(values).save(tmp_path / "upright.png")
    assert np.array_equal(read_sized(tmp_path / "upright.png", 3, (6, 5)), values.transpose(2, 0, 1))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(values).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_sized(tmp_path / "turned.png", 3, (6, 5)), values[::-1, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(11, 40), (50, 7), (3, 3)])
def test_resize_is_pillows_bilinear(size):
    values = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)
    expected = np.array(Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    result = resize(torch.from_numpy(values)[None, None].expand(2, 3, -1, -1), size)
    assert (result.dtype, result.shape) == (torch.uint8, (2, 3, *size))
    assert np.abs(result[1, 2].numpy() - expected).max() <= 1


@pytest.mark.parametrize("pixels", [144, 400])  # Pillow warns above its limit and refuses above twice the limit
def test_a_bomb_is_refused(pixels, tmp_path, monkeypatch):
    side = int(pixels**0.5)
    Image.new("L", (side, side)).save(tmp_path / "bomb.png")
    read_sized(tmp_path / "bomb.png", 1, (8, 8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="too large"):
        read_sized(tmp_path / "bomb.png", 1, (8, 8))


def test_so_is_a_picture_that_scaling_its_short_side_would_make_one(tmp_path, monkeypatch):
    Image.new("L", (50, 1)).save(tmp_path / "long.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(tmp_path / "long.png", 1, short=4).shape == (1, 4, 200)
    with pytest.raises(ValueError, match="too long to be scaled to a short side of 5: 50x1"):
        read_image(tmp_path / "long.png", 1, short=5)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "ppm", "webp"])
def test_a_file_cut_short_anywhere_raises_what_predict_expects(suffix, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    path, buffer = tmp_path / f"cut.{suffix}", io.BytesIO()
    noise.save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    whole = buffer.getvalue()
    for length in [*range(60), *range(60, len(whole), len(whole) // 40)]:
        path.write_bytes(whole[:length])
        # only the last bytes of a file may be missing without harm
        expected = pytest.raises((OSError, ValueError)) if length < len(whole) * 0.9 else contextlib.suppress(OSError)
        with expected:
            read_sized(path, 3, (8, 8))
    if suffix == "png":
        path.write_bytes(whole[:36] + bytes([whole[36] ^ 255]) + whole[37:])  # a chunk of another length
        with pytest.raises(ValueError, match="broken image"):  # what Pillow calls a SyntaxError
            read_sized(path, 3, (8, 8))
    for content in (b"", b"no picture at all"):
        path.write_bytes(content)
        with pytest.raises(OSError, match="cannot identify"):
            read_sized(path, 3, (8, 8))


def test_image_files_are_found_by_suffix_sorted(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "dir.png").mkdir()  # a folder, whatever its name
    for name in ("z.JPG", "b/a.png", "notes.txt", "a.tiff", "README"):
        (tmp_path / name).touch()
    assert [str(p.relative_to(tmp_path)) for p in find_files(tmp_path, SUFFIXES)] == ["a.tiff", "b/a.png", "z.JPG"]


def test_prepare_scales_then_trims_then_permutes():
    images = torch.arange(6 * 8, dtype=torch.uint8).view(1, 1, 6, 8)
    trimmed = to_input(images, Facts((1, 4, 6), 2), {"trim": 1})
    assert torch.equal(trimmed, images[:, :, 1:5, 1:7])
    permuted = to_input(images, Facts((1, 4, 6), 2), {"trim": 1, "permute_pixels": True})
    assert not torch.equal(permuted, trimmed)
    assert torch.equal(permuted.flatten().sort().values, trimmed.flatten().sort().values)
    assert to_input(images, Facts((1, 12, 12), 2), {"trim": 2}).shape == (1, 1, 12, 12)
