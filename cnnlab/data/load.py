"""Load the examples of a data config, say their shape without loading, and remember what was loaded."""

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
FINGERPRINT = "(fingerprint)"  # in the config that a remembered function gets; no key of a config has parentheses


class Remembered(Generic[T]):
    """A function of a data config that keeps its last two results, for the runs of a sweep; batch sizes are ignored.

    A result is dropped when the source's fingerprint says that the files have changed.
    """

    KEPT: ClassVar[int] = 2
    every: ClassVar[list["Remembered[Any]"]] = []

    def __init__(self, function: Callable[[Config], T]) -> None:
        self._function = function
        self.results: dict[str, tuple[str | None, T]] = {}  # by config: the fingerprint and the result, oldest first
        update_wrapper(self, function)
        self.every.append(self)

    def __call__(self, config: Config) -> T:
        """Return the function's result, perhaps of an earlier call."""
        identity = {k: v for k, v in config.items() if k not in ("batch_size", "eval_batch_size", FINGERPRINT)}
        key = json.dumps(identity, sort_keys=True)
        # given by the remembered function that calls this one, so that the files are looked at once
        found = config[FINGERPRINT] if FINGERPRINT in config else source(config).fingerprint(config)
        for function in self.every:  # before new examples are loaded, so that memory never holds old ones beside them
            if key in function.results and function.results[key][0] != found:
                del function.results[key]
        if key in self.results:
            result = self.results.pop(key)[1]
        else:
            with torch.device("cpu"):  # also for one who builds a network on the meta device
                result = self._function({**json.loads(key), FINGERPRINT: found})
        self.results[key] = found, result
        for oldest in list(self.results)[: -self.KEPT]:
            del self.results[oldest]
        return result

    def forget(self) -> None:
        """Let go of the results."""
        self.results.clear()


def forget() -> None:
    """Let go of all examples and whatever else is remembered of data configs."""
    for function in Remembered.every:
        function.forget()


@Remembered
def load(config: Config) -> Splits:
    """All examples of a data config, as they are; grey pictures three times over where `channels` is 3.

    Raises:
        ValueError: in one line what is missing or damaged, and what to do.
    """
    splits = source(config).load(config)
    if not len(splits.train):
        raise ValueError(f"data={config['name']} has no training images")
    if form(config) is not PICTURES:
        return splits
    own, wanted = source(config).facts(config)[0][0], facts(config).shape[0]
    return splits if own == wanted else splits.map(lambda images: images.expand(-1, wanted, -1, -1).contiguous())


def class_names_of(config: Config) -> list[str]:
    """Return the class names of a data config, in label order; where folders name them, no examples are read."""
    names = source(config).classes
    return load(config).classes if names is None else names(config)


def facts(config: Config) -> Facts:
    """What a data config tells the network: shape of one example as the network gets it, classes; reads no examples.

    Those of sentences are read for their vocabulary, once.
    """
    return _facts(config) if form(config) is PICTURES else _remembered_facts(config)


def _facts(config: Config) -> Facts:
    its = source(config)
    return its.form.facts(Facts(*its.facts(config)), config)


_remembered_facts = Remembered(_facts)


def form(config: Config) -> Form:
    """The form of a data config's examples."""
    return source(config).form
