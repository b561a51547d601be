"""Which layers a network has, their order, and which each reads: as written, inserted, removed; data in, data out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from cnnlab.models.layers import KINDS
from cnnlab.registry import hint, pick

Spec = dict[str, Any]  # of an arranged layer: kind, options, and `from`, the names of those that it reads


def arrange(layers: Any) -> dict[str, Spec]:
    """Put layers in the order in which they are computed, each with the names of those that it reads.

    A layer reads those that it names with `from`, else the layer before it; the first reads "input". With `after` it is
    inserted behind the layer that it names: for all who read that one, or, where it has a `from` as well, as if it had
    been written there.

    Raises:
        ValueError: a name that cannot be a module's, a layer without kind, an unknown anchor, a `from` that cannot be
            read, a layer that nobody reads.
    """
    specs = _checked(layers)
    order = [name for name, spec in specs.items() if "after" not in spec]
    waiting = {name: spec.pop("after") for name, spec in specs.items() if "after" in spec}
    for name, anchor in waiting.items():
        if anchor not in (*specs, "input"):
            raise ValueError(f'{name}: there is no layer "{anchor}" to come after{hint(anchor, specs)}')
        if anchor in waiting:
            raise ValueError(f"{name}: {anchor} is itself inserted; name the layer both come after")
    behind = list(reversed(waiting.items()))  # so that the first written stands first behind a shared anchor
    for name, anchor in behind:
        if "from" in specs[name]:
            order.insert(_place(order, anchor), name)
    for before, name in zip(["input", *order], order, strict=False):
        given = specs[name].get("from", before)
        specs[name]["from"] = sources = list(given) if isinstance(given, (list, tuple)) else [given]
        if not all(isinstance(source, str) for source in sources):
            raise ValueError(f"{name}: from is the name of a layer, or a list of names, not {given!r}")
    for name, anchor in behind:
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
    """Return copies of what layers say, without those that are null."""
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
    """Refuse what a layer cannot read, and layers that nobody reads."""
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
    """Return what is left without the layers that match a name or glob, and the names that matched.

    Whoever read a removed layer reads what that one read; for a removed merge, the first that it read. A branch removed
    back to its fork is dropped from the merge; a merge that is left with one input is that input. What then leads
    nowhere goes too.

    Raises:
        ValueError: a pattern that matches nothing, or the layer that gives the classes.
    """
    patterns = as_patterns(patterns, "model.remove")
    removed = matching(layers, patterns, "model.remove")
    for pattern in patterns:
        if heads := [name for name in matching(layers, [pattern]) if KINDS[layers[name]["kind"]].gives_classes]:
            raise ValueError(f'model.remove: "{pattern}" takes {heads[0]}, which gives the classes and has to stay')
    return _without(layers, removed) if removed else dict(layers), removed


def as_patterns(patterns: Any, key: str) -> list[str]:
    """Return names or globs as a list; a single one may stand without brackets.

    Raises:
        ValueError: something else; names the key that has it.
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
    """Return blocks: two or more layers that share what stands before the last underscore in their names, by that."""
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(name.rpartition("_")[0], []).append(name)
    return {prefix: members for prefix, members in blocks.items() if prefix and len(members) > 1}


def _without(layers: Mapping[str, Spec], removed: Sequence[str]) -> dict[str, Spec]:
    """Return the layers that stay, reading each other."""
    order = ["input", *layers]
    behind: dict[str, set[str]] = {"input": {"input"}}  # of each layer, itself and all that lead to it
    stands_for = {"input": "input"}  # what is read in the place of each layer
    kept: dict[str, Spec] = {}
    for name, spec in layers.items():
        sources = spec["from"]
        behind[name] = {name}.union(*(behind[source] for source in sources))
        left = []
        for source in sources:
            others = set().union(*(behind[other] for other in sources if other != source))
            fork = max(behind[source] & others, key=order.index) if others else None
            gone = fork not in (None, source) and stands_for[source] == stands_for[fork]
            if not gone and stands_for[source] not in left:
                left.append(stands_for[source])
        left = left or [stands_for[sources[0]]]
        if name in removed or len(left) == 1 < len(sources):
            stands_for[name] = left[0]
        else:
            stands_for[name] = name
            kept[name] = {**spec, "from": left}
    read = {stands_for[order[-1]]}
    for name, spec in reversed(kept.items()):
        if name in read:
            read.update(spec["from"])
    return {name: spec for name, spec in kept.items() if name in read}
