"""Read the style sheets that pages share."""

from pathlib import Path

HERE = Path(__file__).parent


def base() -> str:
    """Return the colours, type and plain elements of every page."""
    return css("colours", "base")


def css(*names: str) -> str:
    """Return style sheets, concatenated."""
    return "".join((HERE / f"{name}.css").read_text(encoding="utf-8") for name in names)
