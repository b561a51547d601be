"""Run every looker on a finished run: TensorBoard events and one HTML page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab.config.targets import target
from cnnlab.data.forms import Config, Facts
from cnnlab.data.load import form
from cnnlab.device import best_device
from cnnlab.inspection.filters import dead_maps, panel
from cnnlab.inspection.look import Findings, Look, fitting, layers_of, run_look
from cnnlab.inspection.page import Page
from cnnlab.inspection.pictures import axes_in_words, scales_of
from cnnlab.inspection.plates import percent
from cnnlab.inspection.saliency import saliency
from cnnlab.reporting.steps import steps
from cnnlab.runs.record import Record
from cnnlab.trained.load import labels_of_run, load_data
from cnnlab.trained.predict import files_of
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule
from cnnlab.training.load import load_trained


def inspect(run: Record, lookers: dict[str, Any], images: Any = None, trusted: Sequence[str] = ()) -> Path:
    """Run every looker on a run's best checkpoint; return the page, `inspect/index.html` in the run directory.

    Args:
        run: a finished run.
        lookers: their configs by name, as in `conf/callbacks/inspect.yaml`.
        images: files and folders of images that go through the network in place of the first validation images.
        trusted: modules from which a looker may be any callable.

    Raises:
        ValueError: there is no checkpoint, or a file is no picture.
    """
    from torch.utils.tensorboard import SummaryWriter

    classifier = load_trained(run).to(best_device())
    data = load_data(run, classifier)
    if data.classes != classifier.classes:  # the network was not trained on these data
        for part in (data.train, data.val):
            part.labels = labels_of_run(part.labels, data.classes, classifier.classes, run.config["data"]["name"])
        data.classes = classifier.classes
    made = {name: target(options, Look, trusted)() for name, options in lookers.items() if options is not None}
    looks: dict[str, Callable[[Any, Any], Findings]] = {
        name: looker.look for name, looker in fitting(made, classifier.facts).items()
    }
    if images:
        pictures = read_images(files_of(images, run), classifier.facts, run.config["data"])
        scales, dead = scales_of(data), dead_maps(classifier, data.val.inputs)
        given: dict[str, Any] = {"what": f"{form(run.config['data']).name}s given"}
        looks |= {
            "filters of the images": lambda of, _: panel(of, pictures, dead=dead, axes=axes_in_words(scales), **given),
            "saliency of the images": lambda of, _: saliency(of, pictures, scales=scales, **given),
        }
    folder = run.directory / "inspect"
    found = []
    with steps("inspect", len(looks) + 1) as step:
        for name, look in looks.items():
            step(name)
            found.append(run_look(look, classifier, data))
        step("TensorBoard events")
        with SummaryWriter(str(folder)) as writer:
            for findings in found:
                findings.write(writer, 0)
    page = Page(layers_of(classifier))
    page.add(merge(found))
    path = folder / "index.html"
    title = f"Inside {run.config['model']['name']}"
    about = lead(run, classifier, data)
    path.write_text(page.html(title, about, run.directory.resolve().name), encoding="utf-8")
    return path


def merge(found: Sequence[Findings]) -> Findings:
    """Merge findings; for the same tag the last one counts."""
    whole = Findings()
    for findings in found:
        for kind in ("pictures", "scalars", "texts", "plates", "notes"):
            getattr(whole, kind).update(getattr(findings, kind))
    return whole


def lead(run: Record, classifier: Classifier, data: DataModule) -> str:
    """Return the page's lead: the network, its test accuracy, and the images that the page shows."""
    config, metrics = run.config, run.metrics
    says = (
        f"{config['model']['name']} on {config['data']['name']}: {len(layers_of(classifier))} layers, "
        f"{classifier.network.params:,} trainable parameters."
    )
    if "test/acc" in metrics:
        count = f" on {len(data.test):,} test images" if data.test is not None else ""
        says += f" Test accuracy {percent(metrics['test/acc'], 2)}{count}."
    return f"{says} Everything below is of its {len(data.val):,} validation images, which it was not trained on."


def read_images(files: list[Path], facts: Facts, data: Config) -> Tensor:
    """Read picture files as inputs (N, C, H, W) of a network trained with a data config.

    Raises:
        ValueError: a file is no picture.
    """
    prepared = []
    for file in files:
        try:
            prepared.append(form(data).read(file, facts, data))
        except (OSError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error
    return torch.cat(prepared)
