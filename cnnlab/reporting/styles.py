"""Styles that several pages share, as CSS."""

from pathlib import Path

HERE = Path(__file__).parent


def base() -> str:
    """Return the colours, type and plain elements of every page."""
    return _read("colours") + _read("base")


def plots() -> str:
    """Return the colours and the marks of plots, which a plot in a file of its own holds."""
    return _read("colours") + _read("plots")


def report() -> str:
    """Return the styles of a report."""
    return base() + _read("plots") + _read("page")


def _read(name: str) -> str:
    return (HERE / f"{name}.css").read_text(encoding="utf-8")
