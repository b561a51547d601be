"""Load the images of a data config, say their shape without loading, and remember what was loaded."""

import json
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, ClassVar, Generic, TypeVar

from cnnlab.data.sources import Config, Splits, source

T = TypeVar("T")
FINGERPRINT = "(fingerprint)"  # in the config that a remembered function gets; no key of a config has parentheses


class Remembered(Generic[T]):
    """A function of a data config that keeps its last two results, for the runs of a sweep; batch sizes are ignored.

    A result is dropped when the source's fingerprint says that the files have changed.
    """

    KEPT: ClassVar[int] = 2
    every: ClassVar[list["Remembered[Any]"]] = []

    def __init__(self, function: Callable[[Config], T]) -> None:
        self._function = function
        self._results: dict[str, tuple[str | None, T]] = {}  # by config: the fingerprint and the result, oldest first
        update_wrapper(self, function)
        self.every.append(self)

    def __call__(self, config: Config) -> T:
        """Return the function's result, perhaps of an earlier call."""
        identity = {k: v for k, v in config.items() if k not in ("batch_size", "eval_batch_size", FINGERPRINT)}
        key = json.dumps(identity, sort_keys=True)
        # given by the remembered function that calls this one, so that the files are looked at once
        found = config[FINGERPRINT] if FINGERPRINT in config else source(config).fingerprint(config)
        for function in self.every:  # before new images are loaded, so that memory never holds old ones beside them
            if key in function._results and function._results[key][0] != found:
                del function._results[key]
        if key in self._results:
            result = self._results.pop(key)[1]
        else:
            result = self._function({**json.loads(key), FINGERPRINT: found})
        self._results[key] = found, result
        for oldest in list(self._results)[: -self.KEPT]:
            del self._results[oldest]
        return result

    @property
    def kept(self) -> int:
        """How many results are kept."""
        return len(self._results)

    def forget(self) -> None:
        """Let go of the results."""
        self._results.clear()


def forget() -> None:
    """Let go of all images and whatever else is remembered of data configs."""
    for function in Remembered.every:
        function.forget()


@Remembered
def load(config: Config) -> Splits:
    """All images of a data config, at their own size; grey ones three times over where `channels` is 3.

    Raises:
        ValueError: in one line what is missing or damaged, and what to do.
    """
    splits = source(config).load(config)
    if not len(splits.train):
        raise ValueError(f"data={config['name']} has no training images")
    own, wanted = source(config).facts(config)[0][0], facts(config)[0][0]
    return splits if wanted == own else splits.map(lambda images: images.expand(-1, wanted, -1, -1).contiguous())


def class_names_of(config: Config) -> list[str]:
    """Return the class names of a data config, in label order; where folders name them, no images are read."""
    names = source(config).classes
    return load(config).classes if names is None else names(config)


def facts(config: Config) -> tuple[tuple[int, ...], int]:
    """Shape (C, H, W) of one image as the network gets it, and the number of classes; reads no images.

    What has one or three axes in place of height and width stays as it is.
    """
    size = config.get("resize")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ValueError(f"data.resize must be a whole number of at least 1, or null, not {size!r}")
    shape, classes = source(config).facts(config)
    if len(shape) != 3:
        for key in ("resize", "crop", "trim", "channels", "permute_pixels"):
            if config.get(key):
                raise ValueError(
                    f"data.{key} is for pictures, and data={config['name']} has {'x'.join(map(str, shape))}"
                )
        return tuple(shape), classes
    channels, height, width = shape
    wanted = config.get("channels")
    if wanted not in (None, channels):
        if (channels, wanted) != (1, 3):
            raise ValueError(
                f"data.channels={wanted}: images of data={config['name']} have {channels}; only grey ones can be "
                "repeated, as 3"
            )
        channels = wanted
    height, width = (size or height), (size or width)
    crop = config.get("crop")
    if crop is not None:
        if not isinstance(crop, int) or not 1 <= crop <= min(height, width):
            raise ValueError(f"data.crop={crop!r} is cut out of {height}x{width} images; raise data.resize")
        height = width = crop
    trim = config.get("trim", 0)
    if not isinstance(trim, int) or not 0 <= 2 * trim < min(height, width):
        raise ValueError(f"data.trim={trim!r} cuts that many pixels off each edge of {height}x{width} images")
    return (channels, height - 2 * trim, width - 2 * trim), classes
