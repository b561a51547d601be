"""Call a function whenever given modules compute."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn


@contextmanager
def watch(modules: Mapping[str, nn.Module], hook: Callable[..., Any], before: bool = False) -> Iterator[None]:
    """Call `hook(name, inputs, output)` at every forward of the modules, until the context ends.

    A value that it returns, other than None, replaces the output. With `before` it is called as `hook(name, inputs)`
    before the forward, so also where that fails.
    """
    with ExitStack() as handles:
        for name, module in modules.items():
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.enter_context(register(lambda _, *values, name=name: hook(name, *values)))
        yield
