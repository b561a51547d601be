"""Read the scripts and styles of pages."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from cnnlab.reporting.styles import base

HERE = Path(__file__).parent
STYLE = "page/style.css"  # of the page of play


def read(path: str) -> str:
    """Return the text of a file of this folder."""
    return (HERE / path).read_text(encoding="utf-8")


def style(*paths: str) -> str:
    """Return the styles of all pages, those of play, and further style sheets of this folder."""
    return base() + "".join(read(path) for path in (STYLE, *paths))


def scripts(names: Sequence[str]) -> str:
    """Return scripts of the engine and of the page by name, concatenated in this order."""
    folders = ("engine", "page")
    places = [next(f for f in folders if (HERE / f / f"{name}.js").is_file()) for name in names]
    return "\n".join(read(f"{folder}/{name}.js") for folder, name in zip(places, names, strict=True))


def hash_of(text: str) -> str:
    """Return the source expression of a content security policy that allows only this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
