"""Look up names in tables and check options; errors suggest the nearest known name."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

Value = TypeVar("Value")


def hint(name: object, known: Iterable[object]) -> str:
    """Return '; did you mean "relu"?', or the known names if none is near."""
    names = [str(k) for k in known]
    near = get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else f"; known: {', '.join(names) or 'none'}"


def check_options(what: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse an unknown option, and a value of another type where the default is a number or a flag.

    Args:
        what: the owner of the options; begins the message.
        given: options with their values.
        known: options with their defaults.

    Raises:
        ValueError: names the option, and the nearest known one.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} is a mapping of options, perhaps {{}}, not {given!r}")
    for option, value in given.items():
        if option not in known:
            raise ValueError(f'{what} has no option "{option}"{hint(option, known)}')
        default = known[option]
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{what}: {option} is true or false, not {value!r}")
        elif isinstance(default, (int, float)) and (value is None or isinstance(value, (str, bool, Mapping))):
            raise ValueError(f"{what}: {option} is a number, such as {default}, not {value!r}")


def pick(table: Mapping[str, Value], name: Any, what: str) -> Value:
    """Return table[name]; raise a ValueError that names the nearest entry if there is none."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f'unknown {what} "{name}"{hint(name, table)}')
    return table[name]


def kind_and_options(choice: Any, what: str) -> tuple[Any, dict[str, Any]]:
    """Split a choice, which is a kind or a mapping of `kind` and options, such as {kind: batch, eps: 0.001}.

    Raises:
        ValueError: a mapping without kind.
    """
    options = dict(choice) if isinstance(choice, Mapping) else {"kind": choice}
    if "kind" not in options:
        raise ValueError(f"{what} has options and no kind: {choice}")
    return options.pop("kind"), options


def one_line(error: object) -> str:
    """Return the text of an error, or of anything else, in one line."""
    return " ".join(str(error).split())
