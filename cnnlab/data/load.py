"""Load the examples of a data config, or only their shape and classes, and cache them."""

import json
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, ClassVar, Generic, TypeVar

import torch

from cnnlab.data.examples import Splits
from cnnlab.data.forms import Config, Facts, Form
from cnnlab.data.images import PICTURES
from cnnlab.data.sources import source

T = TypeVar("T")
FINGERPRINT = "(fingerprint)"  # in the config that a cached function gets; no key of a config has parentheses


class Remembered(Generic[T]):
    """A function of a data config that caches its last two results, for the runs of a sweep; batch sizes are ignored.

    A result is dropped when the source's fingerprint shows that files have changed.
    """

    KEPT: ClassVar[int] = 2
    every: ClassVar[list["Remembered[Any]"]] = []

    def __init__(self, function: Callable[[Config], T]) -> None:
        self._function = function
        self.results: dict[str, tuple[str | None, T]] = {}  # by config: the fingerprint and the result, oldest first
        update_wrapper(self, function)
        self.every.append(self)

    def __call__(self, config: Config) -> T:
        """Return the function's result, from the cache if it is there."""
        identity = {k: v for k, v in config.items() if k not in ("batch_size", "eval_batch_size", FINGERPRINT)}
        key = json.dumps(identity, sort_keys=True)
        # passed on by a cached function that calls this one, so that the fingerprint is taken once
        found = config[FINGERPRINT] if FINGERPRINT in config else source(config).fingerprint(config)
        for function in self.every:  # before new examples are loaded, so that memory never holds old ones beside them
            if key in function.results and function.results[key][0] != found:
                del function.results[key]
        if key in self.results:
            result = self.results.pop(key)[1]
        else:
            with torch.device("cpu"):  # also if the caller builds a network on the meta device
                result = self._function({**json.loads(key), FINGERPRINT: found})
        self.results[key] = found, result
        for oldest in list(self.results)[: -self.KEPT]:
            del self.results[oldest]
        return result

    def forget(self) -> None:
        """Drop the cached results."""
        self.results.clear()


def forget() -> None:
    """Drop all cached results, examples included."""
    for function in Remembered.every:
        function.forget()


@Remembered
def load(config: Config) -> Splits:
    """Load all examples of a data config; grey images are repeated where `channels` is 3.

    Raises:
        ValueError: missing or damaged files, with the remedy.
    """
    splits = source(config).load(config)
    if not len(splits.train):
        raise ValueError(f"data={config['name']} has no training images")
    if form(config) is not PICTURES:
        return splits
    own, wanted = source(config).facts(config)[0][0], facts(config).shape[0]
    return splits if own == wanted else splits.map(lambda images: images.expand(-1, wanted, -1, -1).contiguous())


def class_names_of(config: Config) -> list[str]:
    """Return the class names of a data config, in label order; reads no examples if their folders have the names."""
    names = source(config).classes
    return load(config).classes if names is None else names(config)


def facts(config: Config) -> Facts:
    """Return the shape of a network's input and the number of classes, without reading examples.

    Sentences are read once, for their vocabulary.
    """
    return _facts(config) if form(config) is PICTURES else _remembered_facts(config)


def _facts(config: Config) -> Facts:
    dataset = source(config)
    return dataset.form.facts(Facts(*dataset.facts(config)), config)


_remembered_facts = Remembered(_facts)


def form(config: Config) -> Form:
    """Return the form of a data config's examples."""
    return source(config).form
