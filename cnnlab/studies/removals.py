"""Which layers the variants of a study do without: single ones, blocks, pairs, all subsets of groups."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from cnnlab.models.arrangement import arrange, blocks_of, remove_layers
from cnnlab.models.layers import KINDS

GROUPS = 6  # of a factorial study, at most: 64 variants
KEYS = ("leave_out", "leave_out_blocks", "factorial", "pairs")  # of `study`, each a way to say it


def removals(study: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name what each variant of a network does without, beside what it does without anyway.

    Raises:
        ValueError: a pattern matches nothing, there are no blocks, or groups share layers.
    """
    named: dict[str, list[str]] = {}
    if study["leave_out"]:
        named |= {name: [name] for name in layers_to_leave_out(model, _patterns(study["leave_out"]), "leave_out")}
    if study["leave_out_blocks"]:
        named |= blocks_to_leave_out(model)
    groups = factors(study, model)
    sizes = range(1, len(groups) + 1) if study["factorial"] else (1, 2)
    for chosen in (subset for size in sizes for subset in combinations(groups, size)):
        named["-".join("_".join(group) for group in chosen)] = [layer for group in chosen for layer in group]
    return {f"no_{name}": layers for name, layers in named.items()}


def factors(study: Mapping[str, Any], model: Mapping[str, Any]) -> list[list[str]]:
    """Resolve the groups of layers whose interactions a study looks at; none where it looks at none.

    Raises:
        ValueError: a pattern matches nothing, groups share layers, or there are fewer than two groups, or too many.
    """
    if study["factorial"] and study["pairs"]:
        raise ValueError("study.factorial and study.pairs: give one of the two")
    if study["pairs"]:
        groups = [[name] for name in layers_to_leave_out(model, _patterns(study["pairs"]), "pairs")]
    else:
        given = [_patterns(group) for group in study["factorial"] or []]
        groups = [layers_to_leave_out(model, patterns, "factorial") for patterns in given]
    key = "pairs" if study["pairs"] else "factorial"
    every = [layer for group in groups for layer in group]
    if twice := sorted({layer for layer in every if every.count(layer) > 1}):
        raise ValueError(f"study.{key}: {', '.join(twice)} stands in two groups")
    if len(groups) == 1:
        raise ValueError(f"study.{key}: one group has nothing to interact with; give two or more")
    if study["factorial"] and len(groups) > GROUPS:
        raise ValueError(f"study.factorial: {len(groups)} groups make {2 ** len(groups)} variants; {GROUPS} at most")
    return groups


def layers_to_leave_out(model: Mapping[str, Any], patterns: Sequence[str], key: str) -> list[str]:
    """Find the layers whose names match a glob, pools too, but not the classifier and none that is removed anyway.

    Raises:
        ValueError: nothing matches.
    """
    removable = _removable(model)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in removable):
            raise ValueError(f"study.{key}: {pattern} matches none of {', '.join(removable)}")
    return [name for name in removable if any(fnmatchcase(name, p) for p in patterns)]


def blocks_to_leave_out(model: Mapping[str, Any]) -> dict[str, list[str]]:
    """Find blocks of layers, see `blocks_of`, but not one with the classifier, nor layers that are removed anyway.

    Raises:
        ValueError: there is none.
    """
    removable, blocks = _removable(model), blocks_of(arrange(model["layers"]))
    left = {name: [layer for layer in layers if layer in removable] for name, layers in blocks.items()}
    chosen = {n: layers for n, layers in left.items() if layers and not _gives_classes(model, blocks[n])}
    if not chosen:
        raise ValueError(
            f"study.leave_out_blocks: {model['name']} has no blocks, layers that share what stands before the last "
            "underscore in their names, such as b1_conv1 and b1_conv2"
        )
    return chosen


def _patterns(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _removable(model: Mapping[str, Any]) -> list[str]:
    """Return the layers that are not removed anyway, but the classifier."""
    layers, _ = remove_layers(arrange(model["layers"]), model.get("remove") or [])
    return [name for name in layers if not _gives_classes(model, [name])]


def _gives_classes(model: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(KINDS[model["layers"][name]["kind"]].gives_classes for name in names)
