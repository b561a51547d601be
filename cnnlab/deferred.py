"""Modules that run when something of them is used, and not when they are imported.

Lightning imports all of torchmetrics, whose metrics of images import torchvision, whose plots import matplotlib, and
which looks once into scipy.signal; torch's optimizers import its compiler at every step, to do nothing. None of that is
needed to train, and it takes longer than torch itself. Whoever uses it gets it, a moment later.
"""

import functools
import operator
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

COMPILER, BACKEND, SYMBOLS = "torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes"
PLOT = "torchmetrics.utilities.plot"
# what can be imported of a deferred package without the package: all else waits for what it imports first
ALONE = (
    "torch._inductor.config",
    "torch._inductor.custom_graph_pass",
    "torchmetrics.image.",
    "torchmetrics.functional.image.",
)

_choosing = threading.Lock()  # which thread runs a module


class Deferred(ModuleType):
    """A module that has not run yet; asked for an attribute that has no stand-in, it runs."""

    def __getattr__(self, name: str) -> Any:
        stand_ins = STAND_INS[self.__name__]
        if name in stand_ins:
            return stand_ins[name]
        if name.startswith("__"):  # what the import system looks for in every module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(run(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(run(self.__name__))


def run(name: str) -> ModuleType:
    """Return a module, run if that was deferred so far."""
    module = sys.modules[name]
    with _choosing:  # not while it runs: a module that it imports may wait for another thread's
        if not isinstance(module, Deferred):
            return module
        module.__class__ = ModuleType  # type: ignore[assignment]  # mypy takes it for a module of its own
    loader = module.__loader__
    assert isinstance(loader, DeferringLoader)
    try:
        loader.actual.exec_module(module)
    except BaseException:
        module.__class__ = Deferred  # the next use says again what is wrong
        raise
    return module


def calls(module: str, name: str) -> Callable[..., Any]:
    """Make a function that runs its module when it is called."""
    return lambda *args, **kwargs: getattr(run(module), name)(*args, **kwargs)


def unless_symbolic(name: str, formula: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    """Make a function of truths or sizes, any of which may be symbolic; where none is, a formula computes it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if all(map(_concrete, args)):
            return formula(args)
        return getattr(run(SYMBOLS), name)(*args, **kwargs)

    return call


def _flat(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _concrete(value: Any) -> bool:
    return all(map(_concrete, value)) if isinstance(value, (list, tuple)) else type(value) in (bool, int)


def disable(fn: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """torch._dynamo.disable: a function that is not compiled, which none is before the compiler has run."""
    if fn is None:
        return functools.partial(disable, *args, **kwargs)

    @functools.cache
    def disabled() -> Callable[..., Any]:
        answer: Callable[..., Any] = run(COMPILER).disable(fn, *args, **kwargs)
        return answer

    @functools.wraps(fn)
    def call(*arguments: Any, **options: Any) -> Any:
        return (fn if isinstance(sys.modules[COMPILER], Deferred) else disabled())(*arguments, **options)

    return call


class _KindOf(type):
    """The type of a stand-in for a class: its instances are those of the class, of which there are none so far."""

    home: str

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules[cls.home]
        return not isinstance(module, Deferred) and isinstance(instance, getattr(module, cls.__name__))


def instances(module: str, name: str) -> type:
    """Make a class that stands in for one of a module in isinstance checks."""
    return _KindOf(name, (), {"home": module})


# how sizes of tensors without values are checked, where no size is symbolic
OF_PLAIN_VALUES: dict[str, Callable[[Sequence[Any]], Any]] = {
    **dict.fromkeys(("expect_true", "guard_or_false", "guard_or_true", "guard_size_oblivious"), all),
    **dict.fromkeys(("statically_known_true", "sym_and"), all),
    "sym_or": any,
    "sym_eq": lambda pair: operator.eq(*map(_flat, pair)),
    "is_nested_int": lambda values: False,
    "has_guarding_hint": lambda values: True,
    "guarding_hint_or_throw": operator.itemgetter(0),
}

# modules that are deferred, and what is asked of them where nobody uses them
STAND_INS: dict[str, dict[str, Any]] = {
    COMPILER: {
        "disable": disable,
        "graph_break": lambda *args, **kwargs: None,
        "OptimizedModule": instances(COMPILER, "OptimizedModule"),
    },
    BACKEND: {},  # has a setting noted, whether to be deterministic
    SYMBOLS: {name: unless_symbolic(name, formula) for name, formula in OF_PLAIN_VALUES.items()},
    "sympy": {"Basic": instances("sympy", "Basic")},
    "scipy.signal": {"hamming": None},  # torchmetrics would add it, if it were missing
    "torchmetrics.functional.image": {},
    "torchmetrics.image": {},
    PLOT: {
        **dict.fromkeys(("_AX_TYPE", "_CMAP_TYPE", "_PLOT_OUT_TYPE"), Any),
        **{name: calls(PLOT, name) for name in ("plot_confusion_matrix", "plot_curve", "plot_single_or_multi_val")},
    },
}


class DeferringLoader(Loader):
    """Loads a module without running it.

    Args:
        actual: the loader that runs it.
    """

    def __init__(self, actual: Loader) -> None:
        self.actual = actual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader would."""
        return self.actual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it at that."""
        module.__class__ = Deferred

    def __getattr__(self, name: str) -> Any:  # its source, its data files
        return getattr(self.actual, name)


class DeferringFinder(MetaPathFinder):
    """Finds the modules that are deferred; those that are imported already stay as they are."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a deferred module, and None of others."""
        package = name.rpartition(".")[0]
        if package in STAND_INS and not name.startswith(ALONE):
            run(package)
        if name not in STAND_INS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = DeferringLoader(spec.loader)
        return spec


def defer() -> None:
    """Defer the modules of `STAND_INS` from here on."""
    sys.meta_path.insert(0, DeferringFinder())
