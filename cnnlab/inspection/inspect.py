"""Let every looker look at a finished run: TensorBoard events and one HTML page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab.config.targets import target
from cnnlab.data.load import form
from cnnlab.data.sources import Examples
from cnnlab.device import best_device
from cnnlab.inspection.filters import panel
from cnnlab.inspection.look import Look, looked
from cnnlab.inspection.page import inside_page
from cnnlab.inspection.saliency import saliency
from cnnlab.reporting.steps import steps
from cnnlab.reporting.tables import show
from cnnlab.runs.record import Record
from cnnlab.trained.load import labels_of_run, refuse_other_words
from cnnlab.trained.predict import files_of
from cnnlab.training.datamodule import DataModule
from cnnlab.training.load import load_trained


def inspect(run: Record, lookers: dict[str, Any], images: Any = None, trusted: Sequence[str] = ()) -> Path:
    """Let every looker look at a run's best checkpoint; returns the page, `inspect/index.html` in the run directory.

    Args:
        run: a finished run.
        lookers: as in `conf/callbacks/inspect.yaml`.
        images: files and folders of images that go through the network in place of the first validation images.
        trusted: modules from which a looker may be any callable.

    Raises:
        ValueError: no checkpoint, or a file that is no picture.
    """
    from torch.utils.tensorboard import SummaryWriter

    classifier = load_trained(run).to(best_device())
    data = DataModule(run.config["data"])
    refuse_other_words(classifier, data)
    data.setup()
    if data.classes != classifier.classes:  # the network was not trained on these data
        assert data.val is not None
        labels = labels_of_run(data.val.labels, data.classes, classifier.classes, run.config["data"]["name"])
        data.val, data.classes = Examples(data.val.inputs, labels), classifier.classes
    looks = {name: target(options, Look, trusted)().look for name, options in lookers.items() if options is not None}
    if images:
        pictures = read_images(run, files_of(images, run.config["data"]))
        looks |= {
            "filters of the images": lambda of, _: panel(of, pictures),
            "saliency of the images": lambda of, _: saliency(of, pictures),
        }
    folder = run.directory / "inspect"
    found = []
    with steps("inspect", len(looks) + 1) as step:
        for name, look in looks.items():
            step(name)
            found.append(looked(look, classifier, data))
        step("TensorBoard events")
        with SummaryWriter(str(folder)) as writer:
            for findings in found:
                findings.write(writer, 0)
    merged: dict[str, dict[str, Any]] = {"pictures": {}, "scalars": {}, "texts": {}}
    for findings in found:  # of the same tag the later one counts
        for kind, values in merged.items():
            values.update(getattr(findings, kind))
    config, metrics = run.config, run.metrics
    accuracy = metrics.get("test/acc", metrics.get("val/acc"))
    table = classifier.network.table
    lead = (
        f"{run.directory.name}: {config['model']['name']} on {config['data']['name']}, "
        f"{show(classifier.network.params)} parameters" + (f", accuracy {accuracy:.2%}" if accuracy else "")
    )
    encoded = {tag: png(picture) for tag, picture in merged["pictures"].items()}
    layers = [row.name for row in table]
    page = folder / "index.html"
    title = f"Inside {config['model']['name']}"
    page.write_text(inside_page(title, lead, layers, encoded, merged["scalars"], merged["texts"]), encoding="utf-8")
    return page


def read_images(run: Record, files: list[Path]) -> Tensor:
    """Picture files as the run's network gets them, (N, C, H, W).

    Raises:
        ValueError: a file that is no picture.
    """
    facts, data = load_trained(run).facts, run.config["data"]
    read = form(data).read
    prepared = []
    for file in files:
        try:
            prepared.append(read(file, facts, data))
        except (OSError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error
    return torch.cat(prepared)


def png(picture: Tensor) -> str:
    """A picture (3, H, W) from 0 to 1 as PNG in base64."""
    from torchvision.transforms.functional import to_pil_image

    out = io.BytesIO()
    to_pil_image(picture.clamp(0, 1)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
