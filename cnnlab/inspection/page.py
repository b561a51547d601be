"""What lookers found as one HTML page, layer by layer, as a picture goes through the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.reporting.tables import show


@dataclass
class Section:
    """A layer, or a look at the whole network."""

    name: str
    drawn: bool = True  # figures, not pixels
    texts: list[str] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)  # name, PNG in base64


def inside_page(
    title: str,
    lead: str,
    layers: Sequence[str],
    pictures: Mapping[str, str],
    scalars: Mapping[str, float],
    texts: Mapping[str, str],
) -> str:
    """The page.

    Args:
        title, lead: what it is about.
        layers: names, in order.
        pictures: PNG in base64, by tags such as "filters/conv1/weights".
        scalars, texts: by tags of the same sort.
    """
    from jinja2 import Environment

    sections = {name: Section(name, drawn=False) for name in layers}

    def place(tag: str) -> tuple[Section, str]:
        look, _, rest = tag.partition("/")
        layer, _, what = rest.partition("/")
        if layer in sections and look in ("filters", "features", "health"):
            return sections[layer], what
        return sections.setdefault(look, Section(look)), rest

    for tag, text in texts.items():
        place(tag)[0].texts.append(text)
    for tag, value in scalars.items():
        section, name = place(tag)
        section.numbers.append((name, show(value)))
    for tag, data in pictures.items():
        section, name = place(tag)
        section.pictures.append((name, data))
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    return template.render(title=title, lead=lead, sections=list(sections.values()))
