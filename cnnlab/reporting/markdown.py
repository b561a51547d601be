"""Render sections as Markdown."""

from collections.abc import Sequence

from cnnlab.reporting.section import Block, Bullets, Code, Data, Figure, Section


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Render `report.md`, without figures that have no SVG file."""
    parts = [f"# {title}"]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        if blocks:
            parts += [f"## {section.title}", *blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case str():
            return block
        case Bullets():
            return "\n".join(f"- {line}" for line in block.lines)
        case Code():
            return "\n".join(f"    {line}" for line in block.text.splitlines())
        case Data():
            return block.rows.markdown() if "md" in block.media else ""
        case Figure():
            return f"![{block.caption.partition('. ')[0]}]({block.name}.svg)" if block.file else ""
