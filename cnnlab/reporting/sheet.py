"""Sections as one HTML file that works offline."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from cnnlab.reporting.section import Block, Bullets, Code, Data, Figure, Section
from cnnlab.reporting.tables import Table, show

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src \
'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
"""


def sheet(title: str, sections: Sequence[Section]) -> str:
    """The file. Its content security policy lets it load nothing, and run no script but its own."""
    style, marks, script = (
        Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "plots.css", "page.js")
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    links = "".join(f'<a href="#section-{i}">{escape(s.title)}</a>' for i, s in enumerate(sections, 1))
    parts = [HEAD.format(hash=digest, title=escape(title), style=marks + style)]
    parts.append(f"<body>\n<h1>{escape(title)}</h1>\n<nav>{links}</nav>")
    for i, section in enumerate(sections, 1):
        blocks = "\n".join(part for block in section.blocks for part in _block(block))
        parts.append(f'<section id="section-{i}">\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>')
    return "\n".join([*parts, f"<script>{script}</script>\n</body>\n</html>\n"])


def _block(block: Block) -> Iterator[str]:
    match block:
        case str():
            yield f"<p>{escape(block)}</p>"
        case Bullets():
            yield "".join(["<ul>", *(f"<li>{escape(line)}</li>" for line in block.lines), "</ul>"])
        case Code():
            yield f'<pre tabindex="0">{escape(block.text)}</pre>'
        case Figure():
            caption = f"<figcaption>{escape(block.caption)}</figcaption>"
            yield f'<figure id="{block.name}">{block.html}{caption}</figure>'
        case Data() if "html" in block.media:
            table = f'<table id="{block.name}">{_table(block.rows)}</table>'
            yield f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(block.caption)}">{table}</div>'


def _table(rows: Table) -> str:
    right = {c for c in rows.columns if all(isinstance(row.get(c), (int, float, type(None))) for row in rows)}
    heads = "".join(
        f'<th scope="col"{_class(c in right)}><button type="button">{escape(c)}</button></th>' for c in rows.columns
    )
    lines = "\n".join(
        f"<tr>{''.join(_cell(c, row.get(c), right=c in right) for c in rows.columns)}</tr>" for row in rows
    )
    return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody>"


def _cell(column: str, value: Any, *, right: bool) -> str:
    text = escape(show(value))
    if column == "run_dir" and value:
        text = f'<a href="{text}/">{text}</a>'
    key = "" if value is None else escape(str(value))
    return f'<td data-key="{key}"{_class(right)}>{text}</td>'


def _class(right: bool) -> str:
    return ' class="number"' if right else ""
