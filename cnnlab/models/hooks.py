"""Watch modules while a network computes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn


@contextmanager
def watch(modules: Mapping[str, nn.Module], hook: Callable[..., Any], before: bool = False) -> Iterator[None]:
    """Call a function at every forward of some modules, until the context ends.

    Args:
        modules: by name.
        hook: called with the name of a module, the arguments of its forward and, unless `before`, its output; what it
            returns, if anything, replaces the output.
        before: call it before the forward, which may fail.
    """
    handles = []
    try:
        for name, module in modules.items():
            if before:
                handles.append(module.register_forward_pre_hook(partial(_before, hook, name)))
            else:
                handles.append(module.register_forward_hook(partial(_after, hook, name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(hook: Callable[..., Any], name: str, module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    return hook(name, inputs)


def _after(hook: Callable[..., Any], name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    return hook(name, inputs, output)
