"""Render the findings of lookers as one HTML page, layer by layer in the order of the network."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cnnlab.inspection.look import Findings
from cnnlab.inspection.pictures import data_url, svg
from cnnlab.inspection.plates import Card, Drawing, Inputs, Maps, Pictures, Strip, Tile
from cnnlab.playground.assets import hash_of, scripts, style
from cnnlab.reporting.tables import show

HERE = Path(__file__).parent
PLAYS = ("shapes", "unpack", "elements", "colours", "grid")  # scripts of the page of play
STEPS = 127  # values of a signed byte on each side of 0
OF_LAYERS = ("filters", "features", "health")  # lookers whose findings are shown with the layers
TITLES = {
    "mistakes": "What the network gets wrong",
    "saliency": "Where the answer comes from",
    "embeddings": "How it arranges the images",
    "probe": "How well a linear classifier reads each layer",
    "shifts": "What a shift changes",
    "decision_regions": "What it answers where",
}


@dataclass
class Section:
    """A layer, or a look at the whole network."""

    name: str
    title: str = ""
    lead: str = ""
    notes: list[str] = field(default_factory=list)
    plates: list[dict[str, Any]] = field(default_factory=list)
    aside: list[dict[str, Any]] = field(default_factory=list)  # plates in a closed `details` element


class Page:
    """Collect sections, and the numbers that the page's script draws.

    Args:
        layers: their names, in order.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = {name: Section(name, name) for name in layers}
        self.others: dict[str, Section] = {}
        self.inputs: Inputs | None = None
        self.grids: list[dict[str, Any]] = []
        self.numbers = bytearray()

    def add(self, findings: Findings) -> None:
        """Add the findings of a looker, or of several."""
        for tag in {**findings.texts, **findings.scalars, **findings.notes}:
            self._add_note(tag, findings)
        for tag, plate in {**dict.fromkeys(findings.pictures), **findings.plates}.items():
            if isinstance(plate, Inputs):
                self.inputs = plate
            elif plate is not None:
                section, _ = self._section_of(tag)
                drawn = self._plate(plate, tag)
                (section.aside if isinstance(plate, Maps) and plate.aside else section.plates).append(drawn)
            elif self._has_no_plates(tag, findings):
                section, name = self._section_of(tag)
                about = {"title": name, "alt": f"{section.name}: {name}"}
                section.plates.append({"kind": "picture", "url": data_url(Tile(findings.pictures[tag])), **about})

    def html(self, title: str, lead: str, run: str) -> str:
        """Render the page; its content security policy blocks all loading, and all scripts but its own."""
        from jinja2 import Environment

        template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_read("page.html"))
        script = scripts(PLAYS) + "\n" + _read("page.js")
        policy = (
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
            f"script-src {hash_of(script)}"
        )
        images = self.inputs.images if self.inputs else None
        return template.render(
            title=title,
            lead=lead,
            run=run,
            layers=[s for s in self.layers.values() if s.lead or s.notes or s.plates or s.aside],
            others=list(self.others.values()),
            inputs=self.inputs,
            urls=[] if images is None else [data_url(Tile(image)) for image in images],
            tile_of=_tile,
            policy=policy,
            style=style() + _read("page.css"),
            script=script,
            grids=json.dumps(self.grids, separators=(",", ":")).replace("<", "\\u003c"),
            numbers=base64.b64encode(gzip.compress(bytes(self.numbers), mtime=0)).decode(),
        )

    def _section_of(self, tag: str) -> tuple[Section, str]:
        """Return the section of a tag, and the tag's name within it."""
        look, _, rest = tag.partition("/")
        layer, _, what = rest.partition("/")
        if layer in self.layers and look in OF_LAYERS:
            return self.layers[layer], what
        title = TITLES.get(look, look.replace("_", " "))
        return self.others.setdefault(look, Section(look, title)), rest

    def _add_note(self, tag: str, findings: Findings) -> None:
        section, name = self._section_of(tag)
        if tag in findings.scalars:
            value = f"{name} {show(findings.scalars[tag])}"
        else:
            value = findings.texts.get(tag, "")
        if not (note := findings.notes.get(tag, value)):
            return
        if not name and not section.lead:
            section.lead = note
        else:
            section.notes.append(note)

    def _has_no_plates(self, tag: str, findings: Findings) -> bool:
        """Return whether the looker of a tag has no plates, so that its pictures are shown."""
        look = tag.partition("/")[0]
        return not any(other.partition("/")[0] == look for other in findings.plates)

    def _plate(self, plate: Maps | Pictures | Drawing, tag: str) -> dict[str, Any]:
        """Return a plate as the template takes it."""
        shown: dict[str, Any] = {"kind": type(plate).__name__.lower(), "title": plate.title, "says": plate.says}
        if isinstance(plate, Drawing):
            return shown | {"svg": svg(plate.figure, tag.replace("/", "-").replace(" ", "-"))}
        if isinstance(plate, Maps):
            return shown | {"grid": self._grid(plate)}
        return shown | {"cards": plate.cards}

    def _grid(self, plate: Maps) -> int:
        """Store values as bytes; return the index of their grid."""
        reach = plate.values.abs().amax((1, 2, 3)).clamp(min=1e-30)
        steps = (plate.values / reach.view(-1, 1, 1, 1) * STEPS).round().to(torch.int8)
        images, *shape = plate.values.shape
        grid = {"title": plate.title, "shape": shape, "start": len(self.numbers)}
        grid["reach"] = [float(f"{value:.4g}") for value in reach.tolist()]
        self.grids.append(grid | {"tile": plate.tile, "dead": list(plate.dead), "images": images})
        self.numbers += steps.numpy().tobytes()
        return len(self.grids) - 1


def _tile(tile: Tile, strip: Strip, card: Card) -> dict[str, Any]:
    """Return a tile as the template takes it; small ones are enlarged by a whole number, as the script does."""
    width, wide, about = tile.image.shape[-1], strip.wide, f"{card.head} {strip.says}".strip()
    shown = max(1, round(wide / width)) * width if width < wide else min(width, 2 * wide)
    alt = f"{about}: {tile.caption}" if about and tile.caption else about or tile.caption
    return {
        "url": data_url(tile),
        "caption": tile.caption,
        "css": "signed" if tile.signed else "seen-through" if tile.opaque is not None else "",
        "width": shown,
        "alt": alt,
    }


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
