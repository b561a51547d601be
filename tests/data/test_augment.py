import pytest
import torch
import torch.nn.functional as F

from cnnlab.config.compose import conf_dir
from cnnlab.data.augment import AUGMENTATIONS, affine, augmentation, crop, cutout, flip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, *shape):
    """No black pixel, and not square, so that mixing up axes shows."""
    return torch.randint(1, 256, (count, *(shape or (3, 12, 16))), generator=seeded(9), dtype=torch.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_bytes_in_bytes_out_seeded(name):
    images = noise(40)
    kept = images.clone()
    result = AUGMENTATIONS[name](images, seeded())
    assert (result.dtype, result.shape) == (torch.uint8, images.shape)
    assert torch.equal(images, kept)  # the data stay as they are for the next epoch
    torch.manual_seed(8)
    assert torch.equal(AUGMENTATIONS[name](images, seeded()), result)
    assert not torch.equal(AUGMENTATIONS[name](images, seeded(1)), result)


def test_flip_mirrors_about_half():
    images = noise(1000)
    result = flip(images, seeded())
    mirrored = (result == images.flip(-1)).flatten(1).all(1)
    same = (result == images).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 440 < mirrored.sum() < 560


def test_crop_takes_a_window_of_the_reflected_image():
    images = noise(1, 3, 6, 7).expand(600, -1, -1, -1)
    result = crop(images, seeded(), pad=2)
    padded = F.pad(images[:1].float(), (2, 2, 2, 2), mode="reflect").byte()[0]
    windows = torch.stack([padded[:, i : i + 6, j : j + 7] for i in range(5) for j in range(5)])
    matches = (result.unsqueeze(1) == windows).flatten(2).all(2)
    assert (matches.sum(1) == 1).all()
    assert (matches.sum(0) > 5).all()  # all 25 shifts occur
    assert torch.equal(crop(images, seeded(), pad=0), images)
    crop(images, seeded(), pad=5)  # the most that reflection gives
    for pad in (-1, 6):
        with pytest.raises(ValueError, match=r"augment\.crop\.pad must be from 0 to 5"):
            crop(images, seeded(), pad=pad)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_cutout_blackens_one_square_anywhere(size):
    images = noise(6000, 3, 6, 7)
    result = cutout(images, seeded(), size)
    black = (result == 0).all(1)
    assert torch.equal(result, images * ~black.unsqueeze(1))
    assert black.flatten(1).sum(1).max() == size**2
    for axis in (1, 2):  # a square: rows and columns of black, at most `size`, all touching
        line = black.any(axis).int()
        assert line.sum(1).max() == size
        assert (line.diff(dim=1, prepend=line[:, :1] * 0) == 1).sum(1).max() == 1
    often = black.float().mean(0)
    assert often.min() > 0.7 * often.max()  # no pixel is spared, the border's neither


def test_affine_without_distortion_is_identity():
    images = noise(20)
    assert torch.equal(affine(images, seeded(), 0.0, 0.0, 0.0), images)


def test_affine_stays_within_its_bounds():
    # a dot 8 pixels right of the centre of an image that is wider than high
    images = torch.zeros(300, 1, 21, 41, dtype=torch.uint8)
    images[:, :, 9:12, 27:30] = 200

    def dot(**options):
        ink = affine(images, seeded(), **{"rotation": 0.0, "translation": 0.0, "scaling": 0.0, **options})[
            :, 0
        ].double()
        weight = ink.sum((1, 2))
        x = (ink.sum(1) * torch.arange(41)).sum(1) / weight - 20
        return x, (ink.sum(2) * torch.arange(21)).sum(1) / weight - 10

    def spans(values, low, high):
        assert values.min().item() == pytest.approx(low, abs=0.15)
        assert values.max().item() == pytest.approx(high, abs=0.15)

    x, y = dot(translation=3.0)
    spans(x, 5, 11)
    spans(y, -3, 3)
    x, y = dot(scaling=0.25)
    spans(x, 6, 10)
    spans(y, 0, 0)
    x, y = dot(rotation=30.0)
    spans(torch.hypot(x, y), 8, 8)  # turned, neither sheared nor squeezed
    spans(torch.atan2(y, x).rad2deg() / 10, -3, 3)


def test_what_an_augment_config_lists_runs_in_its_order():
    images = noise(50)

    def run(config):
        return augmentation(config)(images, seeded())

    generator = seeded()
    assert torch.equal(run({"flip": {}, "crop": {"pad": 2}}), crop(flip(images, generator), generator, pad=2))
    assert torch.equal(run({"flip": {}, "crop": None}), flip(images, seeded()))  # augment.crop=null
    assert augmentation({}) is None
    assert augmentation({"flip": None}) is None


@pytest.mark.parametrize("name", sorted(p.stem for p in (conf_dir() / "augment").glob("*.yaml")))
def test_shipped_configs_work(name, composed):
    run = augmentation(composed(f"augment={name}")["augment"] or {})
    assert (run is None) == (name == "none")
    assert run is None or not torch.equal(run(noise(20), seeded()), noise(20))


def test_unknown_names_get_a_hint():
    with pytest.raises(ValueError, match='unknown augmentation "flop"; did you mean "flip"'):
        augmentation({"flop": {}})
    with pytest.raises(ValueError, match=r'augment\.crop has no option "padd"; did you mean "pad"'):
        augmentation({"crop": {"padd": 2}})


def test_alternating_flip_shows_each_image_both_ways_in_two_epochs():
    images = noise(1000)
    first = torch.randint(2, (1000,), generator=seeded(3))
    one, two = (flip(images, seeded(epoch), alternate=True, turn=first + epoch) for epoch in (0, 1))
    mirrored = (one == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(mirrored, first == 0)
    assert torch.equal(two[mirrored], images[mirrored])
    assert torch.equal(two[~mirrored], images[~mirrored].flip(-1))
    assert torch.equal(flip(images, seeded(), turn=first), flip(images, seeded()))  # only where asked for
