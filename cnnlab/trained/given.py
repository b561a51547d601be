"""Make a run directory for a network with given weights, without training, so that every command can use it."""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnlab.config.compose import compose, plain, safe, write_config
from cnnlab.config.errors import value_errors
from cnnlab.config.identity import Config, config_hash, digest
from cnnlab.data.load import class_names_of, facts
from cnnlab.models.published import class_names, images_for
from cnnlab.runs.checkpoints import save_classifier
from cnnlab.runs.record import Record, completed, now, provenance, write_json
from cnnlab.training.classifier import Classifier
from cnnlab.training.weights import Weights, describe_start, digest_of, load_shared_layers, read_weights

COLOURS = 3  # channels of the images that networks of torchvision take


def given_run(request: Mapping[str, Any]) -> Record:
    """Return the run of a network with given weights, reusing that of an earlier, equal request.

    Args:
        request: a command's config, with `model`, `init_from`, perhaps `data`, `output_dir` and `trusted_modules`.

    Raises:
        ValueError: there are no such weights, or they do not fit the network.
    """
    source, data = request["init_from"], request.get("data")
    own = Record.load(source) if (Path(str(source)) / "run.json").is_file() else None
    base = plain(compose("train", ["data=image_folder"])[0])
    config = own.config | {key: base[key] for key in ("study", "run_name", "resume")} if own else base
    config |= {key: request[key] for key in ("model", "init_from", "output_dir", "trusted_modules")}
    if data and not own:
        config["data"] = dict(data)
    names = class_names_of(data) if data and not own else None
    identity = {
        "config": config_hash(config | {"init_from": None}),
        "weights": digest_of(source, config["model"]),
        "classes": names,
    }
    directory = Path(config["output_dir"]) / "given" / f"{safe(config['model']['name'])}-{digest(identity)}"
    if not completed(directory):
        weights = read_weights(source, config["model"])
        config["data"] = _prepared_as(weights, config["data"])
        config = {key: str(value) if key == "init_from" else value for key, value in config.items()}
        _write(directory, config, _classifier(config, weights, names), weights)
    run = Record(directory)
    print(f"{describe_start(source, run.info['given']['afresh'])}\nrun          {os.path.relpath(directory)}\n")
    return run


def compose_given(overrides: Sequence[str]) -> Config:
    """Compose a command's config for a network with given weights.

    Raises:
        ValueError: there is no such network, dataset or key.
    """
    with value_errors():
        return plain(compose("export", overrides)[0], "export")


def _prepared_as(weights: Weights, data: Mapping[str, Any]) -> Config:
    """Return the data config with the weights' resize and crop, unless it has a `crop` or the weights are a run's."""
    if weights.classifier or data.get("crop") is not None:
        return dict(data)
    expected = images_for(weights.entry)
    return {**data, "resize": expected.resize, "crop": expected.crop}


def _classifier(config: Config, weights: Weights, names: list[str] | None) -> Classifier:
    """Build the classifier: a run's weights keep that run's hyperparameters, others the published preprocessing."""
    if weights.classifier:
        options = {k: v for k, v in weights.classifier.hparams.items() if k not in ("model", "config_hash")}
    else:
        shape = _shape(config["data"])
        expected, classes = images_for(weights.entry), class_names(weights.classes)
        if names is not None and len(names) == len(classes) and not set(names) <= set(classes):
            classes = names
        mean, std = list(expected.mean), list(expected.std)
        options = {"input_shape": shape, "classes": classes, "mean": mean, "std": std, "seed": config["seed"]}
    return Classifier(config["model"], **options, config_hash=config_hash(config))


def _shape(data: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of images, from the data config alone if it names no folder."""
    if without_images(data):
        crop = data["crop"] - 2 * data["trim"]
        return COLOURS, crop, crop
    shape = facts(data).shape
    if shape[0] != COLOURS:
        raise ValueError(
            f"data={data['name']} has images of {shape[0]} channel, and these weights expect {COLOURS}; "
            f"data.channels={COLOURS} repeats it"
        )
    return shape


def without_images(data: Mapping[str, Any]) -> bool:
    """Return whether a data config only describes preprocessing, without a folder, as for given weights."""
    return data["name"] == "image_folder" and data["path"] is None


def _write(directory: Path, config: Config, classifier: Classifier, weights: Weights) -> None:
    """Write a run directory atomically: under a temporary name beside it, then renamed."""
    network = classifier.network
    afresh = load_shared_layers(network, weights)
    overrides = [f"model={config['model']['name']}", f"init_from={config['init_from']}"]
    part = directory.with_name(f".{directory.name}.{secrets.token_hex(3)}")
    part.mkdir(parents=True)
    try:
        save_classifier(part / "checkpoints/best.ckpt", classifier.state_dict(), classifier.hparams)
        write_config(config, part, overrides)
        write_json(part / "metrics.json", {"params": network.params, "macs": network.macs, "epochs": 0})
        info = provenance(config, overrides) | {"status": "completed", "ended": now()}
        write_json(part / "run.json", info | {"given": {"from": str(weights.source), "afresh": afresh}})
        part.rename(directory)
    except OSError:
        if not completed(directory):  # else another process has made it meanwhile
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
