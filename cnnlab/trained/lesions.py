"""Measure what trained layers contribute, without retraining: silence layers or channels, and test.

Lesion studies as in Meyes et al. (2019), and in Veit et al. (2016) for the blocks of residual networks. Replacing an
output by its mean keeps the next layer's input at its usual level; zero does not.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import comb
from pathlib import Path
from random import Random
from statistics import mean, stdev
from typing import Any

from cnnlab.models.arrangement import blocks_of
from cnnlab.models.network import Network
from cnnlab.models.table import class_layer
from cnnlab.registry import pick
from cnnlab.reporting.plots import deleted_blocks, single_blocks
from cnnlab.reporting.steps import steps
from cnnlab.reporting.tables import Table
from cnnlab.runs.record import Record, read_json, write_json
from cnnlab.trained.load import load_test
from cnnlab.trained.silence import (
    MisfitError,
    Targets,
    channels_of,
    parse,
    refuse_unknown,
    silenced,
    validation_means,
    without,
)
from cnnlab.training.classifier import Classifier
from cnnlab.training.load import load_trained

DRAWS = 10  # number of random sets of blocks


def run_lesions(
    run: Record, spec: str | Sequence[str], by: str = "mean", data: Mapping[str, Any] | None = None
) -> Table:
    """Test a run with the lesions that `lesion=` describes.

    Args:
        spec: layers, globs of layers, or channels as "conv3:17", which are silenced together; "each" layer by itself,
            "each:conv3" (every channel of that layer), "each_block"; or "blocks:4", one to four blocks drawn at random.
        by: replacement of an output, see `lesion`.
        data: a data config as a plain mapping; the run's own if not given.

    Returns rows of `lesion`, or for "blocks:4" of `lesion_blocks`. For "each_block", writes a plot to
    `evaluate/each_block-<data>-<by>.svg`.

    Raises:
        ValueError: an unknown layer, channel or replacement, or a single lesion after which the network does not fit.
    """
    classifier = load_trained(run)
    if isinstance(spec, str) and spec.startswith("blocks:"):
        return lesion_blocks(run, blocks(classifier, by), spec.partition(":")[2], by, data)
    rows = lesion(run, expand(classifier, spec, by), by, data)
    if spec == "each_block":
        _write_plot(run, f"each_block-{(data or run.config['data'])['name']}-{by}", single_blocks, rows)
    return rows


def lesion(
    run: Record, lesions: Sequence[Sequence[str]], by: str = "mean", data: Mapping[str, Any] | None = None
) -> Table:
    """Measure the test accuracy of a run with parts of its network silenced, the intact network first.

    Args:
        lesions: each a list of parts silenced together: layers, globs of layers, or channels as "conv3:17".
        by: "mean" replaces an output by its mean over the validation examples, for each channel; "zero" by zero. "pass"
            removes layers as `model.remove` does, and the others keep their trained weights; a channel is replaced by
            that of the layer's input.
        data: a data config as a plain mapping; the run's own if not given.

    Returns rows of `lesion`, `test/acc` and `change`, the last two None if one of several lesions by "pass" leaves a
    network that does not fit. Results are cached in `evaluate/lesions-<data>-<by>.json`.

    Raises:
        ValueError: an unknown layer, channel or replacement, or a single lesion by "pass" that leaves a misfit.
    """
    refuse_unknown(by)
    config = dict(data or run.config["data"])
    path = run.directory / "evaluate" / f"lesions-{config['name']}-{by}.json"
    known = _read_cache(path, run.directory / "checkpoints/best.ckpt")
    classifier = load_trained(run)
    targets = [parse(classifier.network, parts) for parts in ((), *lesions)]
    keys = [_key(own) for own in targets]
    labels = ["+".join(parts) or "none" for parts in ((), *lesions)]
    missing = {key: (own, label) for key, own, label in zip(keys, targets, labels, strict=True) if key not in known}
    if missing:
        classifier, inputs, classes = load_test(run, config)
        with steps(f"lesions of {run.info['variant']} s{run.info['seed']}", len(missing) + 1) as step:
            step("means of the outputs")
            means = validation_means(run, classifier) if by == "mean" else {}
            for key, (own, label) in missing.items():
                step(label)
                try:
                    with silenced(classifier, own, by, means):
                        hits = classifier.logits(inputs, config["eval_batch_size"]).argmax(1) == classes
                except MisfitError:
                    if len(lesions) == 1:
                        raise
                else:
                    known[key] = float(hits.double().mean())
        path.parent.mkdir(exist_ok=True)
        write_json(path, known)
    return Table(
        {"lesion": label, "test/acc": known.get(key), "change": known[key] - known[""] if key in known else None}
        for label, key in zip(labels, keys, strict=True)
    )


def lesion_blocks(
    run: Record, lesions: Mapping[str, Sequence[str]], most: str, by: str, data: Mapping[str, Any] | None
) -> Table:
    """Measure the test accuracy of a run without one, two, ... blocks drawn at random (Veit et al. 2016).

    Args:
        lesions: the layers of each block; blocks that cannot be silenced by themselves are not drawn.
        most: the largest number of blocks.
        run, by, data: as in `lesion`.

    Returns rows of `blocks` (their number, 0 for the intact network), `draws`, mean `test/acc` and `sd` over draws, and
    `change`. Single blocks are all silenced; of larger sets there are ten draws, or all if there are no more. Writes a
    plot to `evaluate/blocks-<data>-<by>.svg`.

    Raises:
        ValueError: `most` is not a number from 1 to the number of blocks.
    """
    intact, *singles = lesion(run, list(lesions.values()), by, data)
    able = [name for name, row in zip(lesions, singles, strict=True) if row["test/acc"] is not None]
    if not most.isdigit() or not 1 <= int(most) <= len(able):
        raise ValueError(f"lesion=blocks:{most}: take a number from 1 to {len(able)}, the blocks that can be silenced")
    numbers = range(1, int(most) + 1)
    drawn = [(n, [layer for name in names for layer in lesions[name]]) for n in numbers for names in draws(able, n)]
    found = [row["test/acc"] for row in lesion(run, [layers for _, layers in drawn], by, data)[1:]]
    rows = Table([{"blocks": 0, "draws": 1, "test/acc": intact["test/acc"], "sd": None, "change": 0.0}])
    for number in numbers:
        values = [value for (n, _), value in zip(drawn, found, strict=True) if n == number and value is not None]
        rows.append(
            {
                "blocks": number,
                "draws": len(values),
                "test/acc": mean(values) if values else None,
                "sd": stdev(values) if len(values) > 1 else None,
                "change": mean(values) - intact["test/acc"] if values else None,
            }
        )
    _write_plot(run, f"blocks-{(data or run.config['data'])['name']}-{by}", deleted_blocks, rows)
    return rows


def _write_plot(run: Record, name: str, plot: Callable[[Mapping[str, Table]], str], rows: Table) -> None:
    path = run.directory / "evaluate" / f"{name}.svg"
    path.write_text(plot({run.config["model"]["name"]: rows}), encoding="utf-8")


def draws(blocks: Sequence[str], number: int) -> list[tuple[str, ...]]:
    """Return ten different sets of `number` blocks, the same at every call; all sets if of one block, or no more."""
    if number == 1 or comb(len(blocks), number) <= DRAWS:
        return list(combinations(blocks, number))
    rng, found = Random(number), dict[tuple[str, ...], None]()
    while len(found) < DRAWS:
        sample = rng.sample(blocks, number)
        found[tuple(block for block in blocks if block in sample)] = None
    return list(found)


def _read_cache(path: Path, checkpoint: Path) -> dict[str, float]:
    """Return the cached accuracies of a file; {} if it is damaged, or older than the checkpoint, as after a resume."""
    with contextlib.suppress(OSError, ValueError):
        known = read_json(path)
        is_sound = all(isinstance(v, float) and 0 <= v <= 1 for v in known.values())
        if is_sound and path.stat().st_mtime >= checkpoint.stat().st_mtime:
            return known
    return {}


def expand(classifier: Classifier, spec: str | Sequence[str], by: str = "mean") -> list[list[str]]:
    """Expand `lesion=` to a list of lesions, see `run_lesions`."""
    network = classifier.network
    if spec == "each":
        return [[name] for name in channels_of(network)]
    if spec == "each_block":
        return list(blocks(classifier, by).values())
    if isinstance(spec, str) and spec.startswith("each:"):
        name = spec.partition(":")[2]
        return [[f"{name}:{channel}"] for channel in range(pick(channels_of(network), name, "layer to silence"))]
    return [[spec] if isinstance(spec, str) else list(spec)]


def blocks(classifier: Classifier, by: str) -> dict[str, list[str]]:
    """Return the lesion of each block of a network, without the block that holds the classifier.

    By "pass", a block that changes the shape of the maps keeps its shortcut, if that fits.

    Raises:
        ValueError: there are no blocks.
    """
    refuse_unknown(by)
    network, found = classifier.network, dict[str, list[str]]()
    for prefix, layers in blocks_of(row.name for row in network.table).items():
        if class_layer(network.table) in layers:
            continue
        found[prefix] = [f"{prefix}_*"] if parse(network, [f"{prefix}_*"]).keys() == set(layers) else layers
        if by == "pass" and _fits(classifier, branch := _branch(network, layers)) and not _fits(classifier, layers):
            found[prefix] = branch
    if not found:
        name = classifier.hparams["model"].get("name", "the network")
        raise ValueError(
            f"lesion: {name} has no blocks, layers that share what stands before the last underscore in their names; "
            "take lesion=each"
        )
    return found


def _branch(network: Network, layers: Sequence[str]) -> list[str]:
    """Return a block's layers on the path to the first input of its sum, if there are layers on the others, else []."""
    rows = {row.name: row for row in network.table if row.name in layers}

    def ancestors(name: str) -> set[str]:
        return {name}.union(*map(ancestors, rows[name].sources)) if name in rows else set()

    total = next((row for row in reversed(rows.values()) if row.kind == "add"), None)
    if total is None:
        return []
    first, *others = map(ancestors, total.sources)
    return [name for name in rows if name in first.difference(*others)] if any(others) else []


def _fits(classifier: Classifier, layers: Sequence[str]) -> bool:
    """Return whether there are layers to remove and the trained weights fit the rest."""
    try:
        without(classifier, layers)
    except MisfitError:
        return False
    return bool(layers)


def _key(targets: Targets) -> str:
    """Return the cache key of a lesion: "conv2+conv3:17"."""
    return "+".join(
        name if indices is None else "+".join(f"{name}:{i}" for i in indices) for name, indices in targets.items()
    )
