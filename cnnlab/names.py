"""Look names up in tables, and say what was probably meant when one is not there."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

Value = TypeVar("Value")


def hint(name: object, known: Iterable[object]) -> str:
    """'; did you mean "relu"?', or the known names where none is near."""
    names = [str(k) for k in known]
    near = get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else f"; known: {', '.join(names) or 'none'}"


def pick(table: Mapping[str, Value], name: Any, what: str) -> Value:
    """table[name], or a ValueError that names the nearest entry."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f'unknown {what} "{name}"{hint(name, table)}')
    return table[name]
