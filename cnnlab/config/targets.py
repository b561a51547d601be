"""Resolve a `_target_` to the class it names; a module whose source has no such class is not imported."""

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from cnnlab.config.identity import MOVED, rename_targets
from cnnlab.registry import check_options

LIBRARIES = ("cnnlab", "lightning", "torch", "torchmetrics", "torchvision")  # imported without inspecting their source


def target(node: Mapping[str, Any], base: type, trusted: Sequence[str] = ()) -> Callable[..., Any]:
    """Return the class that a node's `_target_` names, with the node's other keys as its arguments.

    Args:
        node: a plain mapping such as {_target_: torch.optim.SGD, lr: 0.1}.
        base: the class that it must be or derive from.
        trusted: the `trusted_modules`, from which other callables are accepted too.

    Raises:
        ValueError: the target cannot be imported, is no such class, or does not take these arguments.
    """
    name = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(name, str):
        raise ValueError(f"it needs a _target_, the {base.__name__} it is")
    name = rename_targets({"_target_": name}, MOVED)["_target_"]
    module, _, attribute = name.rpartition(".")
    is_trusted = any(module == t or module.startswith(f"{t}.") for t in trusted)
    try:
        may_import = is_trusted or _may_define_class(module, attribute)
        found: Any = getattr(import_module(module), attribute) if may_import else None
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise ValueError(f"_target_: {name} cannot be imported ({error})") from error
    if not is_trusted and not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(
            f"_target_: {name} is no {base.__name__}; trusted_modules=[{module}] would allow it all the same"
        )
    options = {k: v for k, v in node.items() if k != "_target_"}
    parameters = _parameters(found)
    if parameters:
        check_options(name, options, parameters)
    return functools.partial(found, **options)


def _may_define_class(module: str, attribute: str) -> bool:
    """Tell whether a module is safe to import, or its source defines or imports a class of that name.

    Raises:
        ImportError: there is no such module.
    """
    if not module:
        raise ImportError("Empty module name")
    if module in sys.modules or module.partition(".")[0] in LIBRARIES:
        return True
    source = _source(module)
    if source is None or source.suffix != ".py":
        return False
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return True
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) in (attribute, "*") for a in node.names):
            return True
    return False


def _source(module: str) -> Path | None:
    """Return the file of a module, found without importing it or its packages.

    Raises:
        ImportError: there is no such module.
    """
    locations, origin, full = None, None, ""
    for part in module.split("."):
        full = f"{full}.{part}" if full else part
        spec = PathFinder.find_spec(full, locations)
        if spec is None:
            raise ImportError(f"No module named {full!r}")
        locations, origin = list(spec.submodule_search_locations or []), spec.origin
    return Path(origin) if origin else None


def _parameters(found: Any) -> dict[str, Any]:
    """Return a class's keyword arguments with defaults, with its bases' if it takes **kwargs; empty if it takes any."""
    known: dict[str, Any] = {}
    for cls in found.__mro__ if isinstance(found, type) else [found]:
        parameters = inspect.signature(cls).parameters.values()
        known = {p.name: p.default for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} | known
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return known
    return {}
