"""The network of a finished run seen from inside: TensorBoard events and one HTML page, without training."""

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.config import command
from cnnlab.reporting.inside import inside_page
from cnnlab.reporting.tables import show
from cnnlab.runs import Run
from cnnlab.steps import steps
from cnnlab.targets import target

if TYPE_CHECKING:
    from torch import Tensor


def inspect(run: Run, lookers: dict[str, Any], images: list[Path] | None = None) -> Path:
    """Let every looker look at a run's best checkpoint; returns the page, `inspect/index.html` in the run directory.

    Args:
        run: a finished run.
        lookers: as in `conf/callbacks/inspect.yaml`.
        images: files that go through the network in place of the first validation images.

    Raises:
        ValueError: no checkpoint, or a file that is no picture.
    """
    from torch.utils.tensorboard import SummaryWriter

    from cnnlab.callbacks.filters import panel
    from cnnlab.callbacks.look import Look, looked
    from cnnlab.callbacks.saliency import saliency
    from cnnlab.data.datamodule import DataModule
    from cnnlab.evaluate import best_device

    classifier = run.classifier().to(best_device())
    data = DataModule(run.config["data"])
    data.setup()
    looks = {name: target(options, Look)().look for name, options in lookers.items() if options is not None}
    if images:
        pictures = read_images(run, images)
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


def read_images(run: Run, files: list[Path]) -> "Tensor":
    """Picture files as the run's network gets them, (N, C, H, W).

    Raises:
        ValueError: a file that is no picture.
    """
    import torch

    from cnnlab.data.images import prepare, read_image

    channels, height, width = run.classifier().hparams["input_shape"]
    prepared = []
    for file in files:
        try:
            prepared.append(prepare(read_image(file, channels)[None], (height, width), run.config["data"]))
        except OSError as error:
            raise ValueError(f"{file}: {error}") from error
    return torch.cat(prepared)


def png(picture: "Tensor") -> str:
    """A picture (3, H, W) from 0 to 1 as PNG in base64."""
    from torchvision.transforms.functional import to_pil_image

    out = io.BytesIO()
    to_pil_image(picture.clamp(0, 1)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _task(config: dict[str, Any]) -> None:
    from cnnlab.predict import files_of

    files = files_of(config["images"]) if config["images"] else None
    page = inspect(Run.load(config["run"]).reading(config["data_dir"]), config["callbacks"], files)
    print(f"page         {os.path.relpath(page)}\nTensorBoard  tensorboard --logdir {os.path.relpath(page.parent)}")


main = command("inspect", _task)

if __name__ == "__main__":
    main()
