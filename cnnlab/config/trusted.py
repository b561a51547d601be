"""Import the modules that `trusted_modules` names, which may register layers, data sources and so on."""

from importlib import import_module
from typing import Any

from cnnlab.registry import one_line


def import_trusted(modules: Any) -> None:
    """Import modules, so that what they register is there when a config names it.

    Args:
        modules: the value of `trusted_modules`, from the command line or from config files of the user's own, never
            from a run directory.

    Raises:
        ValueError: it is no list of names, or a module cannot be imported.
    """
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise ValueError("trusted_modules is a list, such as [my_package]")
    for name in modules:
        try:
            import_module(name)
        except Exception as error:  # whatever the module's own code raises
            cause = one_line(f"{type(error).__name__}: {error}")
            raise ValueError(f"trusted_modules: {name} cannot be imported ({cause})") from error
