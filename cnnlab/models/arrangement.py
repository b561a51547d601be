"""Resolve a model's layers to an ordered graph: default inputs, insertions (`after`), removals; plain data only."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from cnnlab.models.layers import KINDS
from cnnlab.registry import hint, pick

Spec = dict[str, Any]  # of an arranged layer: kind, options, and `from`, the names of its inputs


def arrange(layers: Any) -> dict[str, Spec]:
    """Put layers in the order in which they are computed, each with the names of its inputs in `from`.

    A layer reads those that its `from` names, else the layer before it; the first reads "input". `after` inserts it
    behind an anchor, the layer named: all readers of the anchor read the inserted layer instead, unless it has a `from`
    as well; then only its place changes.

    Raises:
        ValueError: an invalid name, a layer without kind, an unknown anchor, an invalid `from`, or a layer other than
            the last that no layer reads.
    """
    specs = _checked(layers)
    order = [name for name, spec in specs.items() if "after" not in spec]
    anchors = {name: spec.pop("after") for name, spec in specs.items() if "after" in spec}
    for name, anchor in anchors.items():
        if anchor not in (*specs, "input"):
            raise ValueError(f'{name}: there is no layer "{anchor}" to come after{hint(anchor, specs)}')
        if anchor in anchors:
            raise ValueError(f"{name}: {anchor} is itself inserted; name the layer both come after")
    inserted = list(reversed(anchors.items()))  # of layers with the same anchor, the first written comes first
    for name, anchor in inserted:
        if "from" in specs[name]:
            order.insert(_place(order, anchor), name)
    for before, name in zip(["input", *order], order, strict=False):
        given = specs[name].get("from", before)
        specs[name]["from"] = sources = list(given) if isinstance(given, (list, tuple)) else [given]
        if not all(isinstance(source, str) for source in sources):
            raise ValueError(f"{name}: from is the name of a layer, or a list of names, not {given!r}")
    for name, anchor in inserted:
        if "from" not in specs[name]:
            for reader in order:
                sources = specs[reader]["from"]
                specs[reader]["from"] = [name if source == anchor else source for source in sources]
            specs[name]["from"] = [anchor]
            order.insert(_place(order, anchor), name)
    arranged = {name: specs[name] for name in order}
    _refuse_unreadable(arranged, layers)
    return arranged


def _place(order: Sequence[str], anchor: str) -> int:
    return 0 if anchor == "input" else order.index(anchor) + 1


def _checked(layers: Any) -> dict[str, Spec]:
    """Return copies of the layers' mappings, without layers that are null; refuse invalid names and kinds."""
    if not isinstance(layers, Mapping):
        raise ValueError(f"model.layers is a mapping of names to layers, not {layers!r}")
    specs: dict[str, Spec] = {}
    for name, spec in layers.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or name == "input" or hasattr(nn.Sequential, str(name)):
            raise ValueError(f'a layer cannot be called "{name}"; take letters, digits and _, and no name torch has')
        if spec is None:  # model.layers.conv2=null
            continue
        if not isinstance(spec, Mapping) or "kind" not in spec:
            raise ValueError(
                f"{name}: a layer is a mapping with a kind, such as {{kind: conv, channels: 6, kernel_size: 5}}"
            )
        pick(KINDS, spec["kind"], f"kind of {name}")
        specs[name] = dict(spec)
        if spec.get("from", "") is None:  # model.layers.add.from=null
            del specs[name]["from"]
    return specs


def _refuse_unreadable(arranged: Mapping[str, Spec], written: Mapping[str, Any]) -> None:
    """Refuse inputs that a layer cannot read, and layers that no layer reads."""
    before = ["input"]
    for name, spec in arranged.items():
        sources = spec["from"]
        for source in sources:
            if source in before:
                continue
            if source in arranged:
                itself = "itself" if source == name else f"{source}, which comes later"
                raise ValueError(f"{name} reads {itself}; layers are computed in the order in which they stand")
            if source in written:
                raise ValueError(
                    f"{name} reads {source}, which is null; model.remove=[{source}] also mends what reads it"
                )
            raise ValueError(f'{name}: there is no layer "{source}" to read{hint(str(source), before)}')
        merge = KINDS[spec["kind"]].merge
        if merge and len(set(sources)) < 2:
            raise ValueError(
                f"{name}: {spec['kind']} reads two or more layers, from: [A, B], not {', '.join(sources) or 'none'}"
            )
        if not merge and len(sources) != 1:
            several = ", ".join(kind for kind, entry in KINDS.items() if entry.merge)
            raise ValueError(f"{name}: {spec['kind']} reads one layer, not {len(sources)}; several are for {several}")
        before.append(name)
    read = {source for spec in arranged.values() for source in spec["from"]}
    if unread := [name for name in before[1:-1] if name not in read]:
        raise ValueError(f"no layer reads {unread[0]}; a network has one output, its last layer")


def remove_layers(layers: Mapping[str, Spec], patterns: Sequence[str] | str) -> tuple[dict[str, Spec], list[str]]:
    """Remove the layers that match a name or glob; return the remaining layers and the names that matched.

    The readers of a removed layer read its input instead; of a removed merge, its first input. A branch removed back to
    its fork is dropped from the merge, and a merge with one input left is removed. So are layers that lead nowhere.

    Raises:
        ValueError: a pattern that matches nothing, or one that matches the layer that gives the classes.
    """
    patterns = as_patterns(patterns, "model.remove")
    removed = matching(layers, patterns, "model.remove")
    for pattern in patterns:
        if heads := [name for name in matching(layers, [pattern]) if KINDS[layers[name]["kind"]].gives_classes]:
            raise ValueError(f'model.remove: "{pattern}" takes {heads[0]}, which gives the classes and has to stay')
    return _without(layers, removed) if removed else dict(layers), removed


def as_patterns(patterns: Any, key: str) -> list[str]:
    """Return names or globs as a list; one string becomes a list of one.

    Raises:
        ValueError: neither a string nor a list; names the config key.
    """
    if not isinstance(patterns, (str, list, tuple)):
        raise ValueError(f"{key} is a list of names, such as [conv2], not {patterns!r}")
    return [patterns] if isinstance(patterns, str) else [str(p) for p in patterns]


def matching(names: Iterable[str], patterns: Sequence[str], key: str = "") -> list[str]:
    """Return the layers that match a name or glob.

    Raises:
        ValueError: a pattern that matches nothing, where a `key` is given for the message.
    """
    names = list(names)
    for pattern in patterns:
        if key and not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f'{key}: no layer is called "{pattern}"{hint(pattern, names)}')
    return [name for name in names if any(fnmatchcase(name, p) for p in patterns)]


def blocks_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return blocks by name: two or more layers whose names share the part before the last underscore, the name."""
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(name.rpartition("_")[0], []).append(name)
    return {prefix: members for prefix, members in blocks.items() if prefix and len(members) > 1}


def _without(layers: Mapping[str, Spec], removed: Sequence[str]) -> dict[str, Spec]:
    """Return the remaining layers, with their inputs rewired."""
    order = ["input", *layers]
    ancestors: dict[str, set[str]] = {"input": {"input"}}  # of each layer: itself and all layers that lead to it
    replacement = {"input": "input"}  # of each layer: the layer that is read in its place
    kept: dict[str, Spec] = {}
    for name, spec in layers.items():
        sources = spec["from"]
        ancestors[name] = {name}.union(*(ancestors[source] for source in sources))
        inputs = []
        for source in sources:
            others = set().union(*(ancestors[other] for other in sources if other != source))
            fork = max(ancestors[source] & others, key=order.index) if others else None
            dropped = fork not in (None, source) and replacement[source] == replacement[fork]
            if not dropped and replacement[source] not in inputs:
                inputs.append(replacement[source])
        inputs = inputs or [replacement[sources[0]]]
        if name in removed or len(inputs) == 1 < len(sources):
            replacement[name] = inputs[0]
        else:
            replacement[name] = name
            kept[name] = {**spec, "from": inputs}
    read = {replacement[order[-1]]}
    for name, spec in reversed(kept.items()):
        if name in read:
            read.update(spec["from"])
    return {name: spec for name, spec in kept.items() if name in read}
