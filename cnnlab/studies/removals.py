"""List the layers that the variants of a study remove: single ones, blocks, pairs, all subsets of groups."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from cnnlab.models.arrangement import arrange, blocks_of, remove_layers
from cnnlab.models.layers import KINDS

GROUPS = 6  # largest number of groups of a factorial study: 64 variants
KEYS = ("leave_out", "leave_out_blocks", "factorial", "pairs")  # keys of `study` that remove layers


def removals(study: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the layers that each variant removes, by the variant's name, beside those that `model.remove` names.

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
    """Return the groups of layers whose interactions a study measures; [] if it measures none.

    Raises:
        ValueError: a pattern matches nothing, groups share layers, or there is one group only, or too many.
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
    """Return the layers whose names match a glob, pools included, the classifier and layers already removed not.

    Raises:
        ValueError: nothing matches.
    """
    removable = _removable(model)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in removable):
            raise ValueError(f"study.{key}: {pattern} matches none of {', '.join(removable)}")
    return [name for name in removable if any(fnmatchcase(name, p) for p in patterns)]


def blocks_to_leave_out(model: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return blocks of layers, see `blocks_of`, except one with the classifier and layers already removed.

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
    """Return the layers that are not already removed, except the classifier."""
    layers, _ = remove_layers(arrange(model["layers"]), model.get("remove") or [])
    return [name for name in layers if not _gives_classes(model, [name])]


def _gives_classes(model: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(KINDS[model["layers"][name]["kind"]].gives_classes for name in names)
