"""A trained network for other programs: ONNX and torch.export, normalisation inside, batch size free, both checked."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.forms import as_floats
from cnnlab.models.network import Network
from cnnlab.reporting.steps import Announce, steps
from cnnlab.runs.record import Record
from cnnlab.trained.given import without_images
from cnnlab.trained.load import refuse_other_words
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule
from cnnlab.training.load import load_trained

TOLERANCE = 1e-5  # of the largest logit
CHECKED = 64  # images


def export(run: Record, output: Path) -> dict[str, tuple[Path, float]]:
    """Write `<model>.onnx` and `<model>.pt2`; returns of each the path and the largest difference from the checkpoint.

    Both take images (N, C, H, W), floats from 0 to 1, any N, and give logits (N, classes). They are compared with the
    checkpoint on real images, in batches of other sizes than the one they were traced with.

    Raises:
        ValueError: no checkpoint, or an export that differs by more than 1e-5 of the largest logit.
    """
    classifier = load_trained(run)
    images = real_images(run, classifier)
    network = classifier.network.eval()
    with torch.inference_mode():
        expected = network(images)
    found = {}
    with steps("export", 4) as step:
        answers = write(network, images, output, run.config["model"]["name"], step)
        for path, answer in answers.items():
            step(f"checking {path.name}")
            with torch.inference_mode():
                given = torch.cat([answer(part) for part in images.split(CHECKED // 3)])
            difference = float((given - expected).abs().max() / expected.abs().max())
            if difference > TOLERANCE:
                raise ValueError(f"{path} differs from the checkpoint by {difference:.1e} of the largest logit")
            found[path.suffix[1:]] = (path, difference)
    return found


def write(
    network: Network, images: Tensor, output: Path, name: str, step: Announce = lambda name: None
) -> dict[Path, Any]:
    """Write both files, traced with two of the images; returns what they hold, as functions of images."""
    output.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' of each other
        step(f"{name}.pt2")
        program = torch.export.export(network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, output / f"{name}.pt2")
        step(f"{name}.onnx")
        torch.onnx.export(program, (), output / f"{name}.onnx", dynamo=True, external_data=False, verbose=False)
    return {
        output / f"{name}.pt2": torch.export.load(output / f"{name}.pt2").module(),
        output / f"{name}.onnx": OnnxNetwork(output / f"{name}.onnx"),
    }


def real_images(run: Record, classifier: Classifier) -> Tensor:
    """Some validation images of the run, (N, C, H, W), floats from 0 to 1; noise where it has no data."""
    if without_images(run.config["data"]):
        shape = classifier.hparams["input_shape"]
        return torch.rand(CHECKED, *shape, generator=torch.Generator().manual_seed(0))
    data = DataModule(run.config["data"])
    refuse_other_words(classifier, data)
    data.setup()
    assert data.val is not None
    return as_floats(data.val.inputs[:CHECKED])


class OnnxNetwork:
    """Images (N, C, H, W) to logits (N, classes), computed by onnxruntime."""

    def __init__(self, path: Path) -> None:
        from onnxruntime import InferenceSession

        self.session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> Tensor:
        """Run the session."""
        return torch.from_numpy(self.session.run(None, {self.input: images.numpy()})[0])
