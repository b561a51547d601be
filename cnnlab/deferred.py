"""Defer the execution of slow modules from their import until an attribute is used.

Lightning imports all of torchmetrics, whose image metrics import torchvision, whose plots import matplotlib, and which
imports one function of scipy.signal; torch's optimizers import its compiler at every step, without using it. Training
needs none of these modules, and importing them takes longer than importing torch.
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
# submodules of deferred packages that do not need the package to be executed before them, as all others do
WITHOUT_PACKAGE = (
    "torch._inductor.config",
    "torch._inductor.custom_graph_pass",
    "torchmetrics.image.",
    "torchmetrics.functional.image.",
)

_lock = threading.Lock()  # held to decide which thread executes a module


class Deferred(ModuleType):
    """A module that is not executed before an attribute without a stand-in is read."""

    def __getattr__(self, name: str) -> Any:
        stand_ins = STAND_INS[self.__name__]
        if name in stand_ins:
            return stand_ins[name]
        if name.startswith("__"):  # the import system looks these up in every module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(run(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(run(self.__name__))


def run(name: str) -> ModuleType:
    """Return a module, executing it first if that was deferred."""
    module = sys.modules[name]
    with _lock:  # released before the execution, which may wait for a module that another thread imports
        if not isinstance(module, Deferred):
            return module
        module.__class__ = ModuleType  # type: ignore[assignment]  # mypy forbids it
    loader = module.__loader__
    assert isinstance(loader, DeferringLoader)
    try:
        loader.actual.exec_module(module)
    except BaseException:
        module.__class__ = Deferred  # the next use raises the error again
        raise
    return module


def calls(module: str, name: str) -> Callable[..., Any]:
    """Make a stand-in for a function that executes its module when it is called."""
    return lambda *args, **kwargs: getattr(run(module), name)(*args, **kwargs)


def unless_symbolic(name: str, formula: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    """Make a stand-in for a function of bools or sizes: if none of them is symbolic, `formula` computes it."""

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
    """Stand in for torch._dynamo.disable: return a function that is not compiled; none is before the compiler runs."""
    if fn is None:
        return functools.partial(disable, *args, **kwargs)

    @functools.cache
    def disabled() -> Callable[..., Any]:
        wrapped: Callable[..., Any] = run(COMPILER).disable(fn, *args, **kwargs)
        return wrapped

    @functools.wraps(fn)
    def call(*arguments: Any, **options: Any) -> Any:
        return (fn if isinstance(sys.modules[COMPILER], Deferred) else disabled())(*arguments, **options)

    return call


class _StandInType(type):
    """Metaclass of a stand-in for a class: its instances are the class's, none while the module is deferred."""

    home: str

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules[cls.home]
        return not isinstance(module, Deferred) and isinstance(instance, getattr(module, cls.__name__))


def instances(module: str, name: str) -> type:
    """Make a stand-in for a class of a module, for isinstance checks."""
    return _StandInType(name, (), {"home": module})


# torch's functions of sizes and bools that may be symbolic, computed where none is
NON_SYMBOLIC: dict[str, Callable[[Sequence[Any]], Any]] = {
    **dict.fromkeys(("expect_true", "guard_or_false", "guard_or_true", "guard_size_oblivious"), all),
    **dict.fromkeys(("statically_known_true", "sym_and"), all),
    "sym_or": any,
    "sym_eq": lambda pair: operator.eq(*map(_flat, pair)),
    "is_nested_int": lambda values: False,
    "has_guarding_hint": lambda values: True,
    "guarding_hint_or_throw": operator.itemgetter(0),
}

# deferred modules, with stand-ins for the attributes that are read although the module is not used
STAND_INS: dict[str, dict[str, Any]] = {
    COMPILER: {
        "disable": disable,
        "graph_break": lambda *args, **kwargs: None,
        "OptimizedModule": instances(COMPILER, "OptimizedModule"),
    },
    BACKEND: {},  # imported by torch.use_deterministic_algorithms, to set an option of its config
    SYMBOLS: {name: unless_symbolic(name, formula) for name, formula in NON_SYMBOLIC.items()},
    "sympy": {"Basic": instances("sympy", "Basic")},
    "scipy.signal": {"hamming": None},  # torchmetrics adds it if it is missing
    "torchmetrics.functional.image": {},
    "torchmetrics.image": {},
    PLOT: {
        **dict.fromkeys(("_AX_TYPE", "_CMAP_TYPE", "_PLOT_OUT_TYPE"), Any),
        **{name: calls(PLOT, name) for name in ("plot_confusion_matrix", "plot_curve", "plot_single_or_multi_val")},
    },
}


class DeferringLoader(Loader):
    """Loads a module without executing it.

    Args:
        actual: the loader that executes it later.
    """

    def __init__(self, actual: Loader) -> None:
        self.actual = actual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader would."""
        return self.actual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Mark the module as deferred instead of executing it."""
        module.__class__ = Deferred

    def __getattr__(self, name: str) -> Any:  # its source, its data files
        return getattr(self.actual, name)


class DeferringFinder(MetaPathFinder):
    """Finds the modules to be deferred; modules that are already imported are not."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a deferred module, and None of others."""
        package = name.rpartition(".")[0]
        if package in STAND_INS and not name.startswith(WITHOUT_PACKAGE):
            run(package)
        if name not in STAND_INS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = DeferringLoader(spec.loader)
        return spec


def defer() -> None:
    """Defer the modules of `STAND_INS` from now on."""
    sys.meta_path.insert(0, DeferringFinder())
