"""Which layers a network has and in which order: as written, inserted, removed; data in, data out."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from cnnlab.models.layers import KINDS
from cnnlab.registry import hint, pick

Spec = dict[str, Any]


def arrange(layers: Any, where: str = "model.layers") -> dict[str, Spec]:
    """Put layers in their order: as written, those with `after` behind the layer they name ("input": first).

    Args:
        layers: as a model config has them.
        where: they stand, for messages.

    Raises:
        ValueError: a name that cannot be a module's, a layer without kind, an unknown anchor.
    """
    if not isinstance(layers, Mapping):
        raise ValueError(f"{where} is a mapping of names to layers, not {layers!r}")
    specs: dict[str, Spec] = {}
    for name, spec in layers.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or name == "input" or hasattr(nn.Sequential, str(name)):
            raise ValueError(f'a layer cannot be called "{name}"; take letters, digits and _, and no name torch has')
        if spec is None:  # model.layers.conv2=null
            continue
        place = name if where == "model.layers" else f"{where}.{name}"
        if not isinstance(spec, Mapping) or "kind" not in spec:
            raise ValueError(
                f"{place}: a layer is a mapping with a kind, such as {{kind: conv, channels: 6, kernel_size: 5}}"
            )
        pick(KINDS, spec["kind"], f"kind of {place}")
        specs[name] = dict(spec)
    order = [name for name, spec in specs.items() if "after" not in spec]
    waiting = {name: spec.pop("after") for name, spec in specs.items() if "after" in spec}
    for name, anchor in reversed(waiting.items()):  # so that the first written stands first behind a shared anchor
        if anchor not in (*specs, "input"):
            raise ValueError(f'{name}: there is no layer "{anchor}" to come after{hint(anchor, specs)}')
        if anchor in waiting:
            raise ValueError(f"{name}: {anchor} is itself inserted; name the layer both come after")
        order.insert(0 if anchor == "input" else order.index(anchor) + 1, name)
    return {name: specs[name] for name in order}


def remove_layers(layers: Mapping[str, Spec], patterns: Sequence[str] | str) -> tuple[dict[str, Spec], list[str]]:
    """Return what is left without the layers that match a name or glob, and the names that went.

    Raises:
        ValueError: a pattern that matches nothing, or the classifier.
    """
    if not isinstance(patterns, (str, list, tuple)):
        raise ValueError(f"model.remove is a list of names, such as [conv2], not {patterns!r}")
    patterns = [patterns] if isinstance(patterns, str) else [str(p) for p in patterns]
    for pattern in patterns:
        matched = [name for name in layers if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(f'model.remove: no layer is called "{pattern}"{hint(pattern, layers)}')
        if heads := [name for name in matched if KINDS[layers[name]["kind"]].gives_classes]:
            raise ValueError(f'model.remove: "{pattern}" takes {heads[0]}, which gives the classes and has to stay')
    removed = [name for name in layers if any(fnmatchcase(name, p) for p in patterns)]
    return {name: spec for name, spec in layers.items() if name not in removed}, removed
