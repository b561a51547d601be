"""Render sections as one HTML file that works offline."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cnnlab.reporting.forest import css_class
from cnnlab.reporting.section import Section
from cnnlab.reporting.styles import css
from cnnlab.reporting.tables import numeric, show, sort_key


def page(title: str, sections: Sequence[Section]) -> str:
    """Render `report.html`; its content security policy blocks all loading, and all scripts but its own."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    return template.render(
        title=title,
        sections=sections,
        kind=lambda block: type(block).__name__,
        show=show,
        key=sort_key,
        css_class=css_class,
        numeric=numeric,
        style=css("colours", "base", "plots", "page"),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )
