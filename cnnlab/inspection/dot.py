"""Draw a network as a graph: DOT text, and the SVG that Graphviz makes of it."""

import subprocess
from collections.abc import Mapping
from html import escape
from shutil import which
from typing import Any

from cnnlab.models.arrangement import blocks_of
from cnnlab.models.layers import KINDS
from cnnlab.reporting.tables import show

STYLE = """  rankdir=TB; nodesep=0.25; ranksep=0.3; fontname="Helvetica"; labelloc=t; color="#b0b8c0"; fontsize=12
  node [shape=box; style="rounded,filled"; fillcolor=white; color="#56606a"; fontname="Helvetica"; fontsize=11]
  edge [color="#56606a"; arrowsize=0.6]"""
WEIGHTED, FROZEN, MERGE = "#dbe9f6", "#e4e4e4", "#fdebc8"  # fill colours of layers


def dot(result: Mapping[str, Any]) -> str:
    """Return a `summary` as DOT text: a node for each layer, an edge for each value read, a cluster for each block."""
    layers = {layer["name"]: layer for layer in result["layers"]}
    clusters = blocks_of(layers)
    block = {name: prefix for prefix, names in clusters.items() for name in names}
    title = f"{result['model']} on {show(result['input_shape'])}: {result['params']:,} trainable parameters"
    lines = ["digraph {", f"  label={_quoted(title)}", STYLE, '  "input" [shape=plain; style=""]']
    drawn = set()
    for name, layer in layers.items():
        if name not in block:
            lines.append(f"  {_node(layer)}")
        elif (prefix := block[name]) not in drawn:
            drawn.add(prefix)
            inside = [f"    {_node(layers[other])}" for other in clusters[prefix]]
            head = f"  subgraph {_quoted(f'cluster_{prefix}')} {{"
            lines += [head, f"    label={_quoted(prefix)}; labeljust=l; style=rounded", *inside, "  }"]
    for name, layer in layers.items():
        lines += [f"  {_quoted(source)} -> {_quoted(name)}" for source in layer["from"]]
    return "\n".join([*lines, "}"])


def svg(text: str) -> str:
    """Render DOT text as SVG with Graphviz.

    Raises:
        ValueError: Graphviz is not installed.
    """
    if which("dot") is None:
        raise ValueError("format=svg: Graphviz is not installed; install it (package graphviz), or take format=dot")
    return subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True).stdout


def _node(layer: Mapping[str, Any]) -> str:
    """Return the statement for a layer: its name, kind, output shape and parameters."""
    params, frozen = layer["params"], layer.get("frozen")
    lines = [f"<b>{escape(layer['name'])}</b>", f"{escape(layer['kind'])} &#8594; {show(layer['output_shape'])}"]
    if params or frozen:
        lines.append(f"{frozen:,} params, frozen" if frozen else f"{params:,} params")
    fill = MERGE if KINDS[layer["kind"]].merge else WEIGHTED if params else FROZEN if frozen else "white"
    return f'{_quoted(layer["name"])} [label=<{"<br/>".join(lines)}>; fillcolor="{fill}"]'


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
