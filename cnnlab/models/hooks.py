"""Watch modules while a network computes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn


@contextmanager
def watch(modules: Mapping[str, nn.Module], hook: Callable[..., Any], before: bool = False) -> Iterator[None]:
    """Call a function at every forward of some modules, until the context ends.

    The hook is called with the name of a module, the arguments of its forward and its output; what it returns, if
    anything, replaces the output. Where it is called `before` the forward, which may fail, there is no output.
    """
    with ExitStack() as handles:
        for name, module in modules.items():
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.enter_context(register(lambda _, *values, name=name: hook(name, *values)))
        yield
