"""Export a trained network as ONNX and torch.export, with preprocessing and any batch size, and check both."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.data.examples import in_memory
from cnnlab.data.forms import Config, Facts, as_floats
from cnnlab.data.load import form, load
from cnnlab.data.sound import SOUNDS, to_spectrograms
from cnnlab.models.network import Network
from cnnlab.reporting.steps import Announce, steps
from cnnlab.runs.record import Record
from cnnlab.trained.given import without_images
from cnnlab.trained.load import load_data
from cnnlab.training.classifier import Classifier
from cnnlab.training.load import load_trained

TOLERANCE = 1e-5  # relative to the largest logit
# a spectrogram's values are rounded to bytes, so that tiny differences can become a whole step
TOLERANCE_OF_SOUNDS = 1e-3
CHECKED = 64  # number of examples


class OfWaveforms(nn.Module):
    """Compute logits (N, classes) of waveforms (N, 1, samples), floats from -1 to 1: spectrogram and network as one."""

    def __init__(self, network: Network, facts: Facts, config: Config) -> None:
        super().__init__()
        self.network, self.facts, self.config = network, facts, config

    def forward(self, waveforms: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = self.network(to_spectrograms(waveforms, self.facts, self.config))
        return logits


def export(run: Record, output: Path) -> dict[str, tuple[Path, float]]:
    """Write `<model>.onnx` and `<model>.pt2`; returns the path of each and its largest difference from the checkpoint.

    Both compute logits (N, classes) of any number of examples: images (N, C, H, W), floats from 0 to 1; waveforms
    (N, 1, samples), floats from -1 to 1, of the run's rate and length; or word ids (N, length). They are compared with
    the checkpoint on real examples, in batches of other sizes than the traced one.

    Raises:
        ValueError: no checkpoint, or an export that differs by more than 1e-5 of the largest logit, of sounds 1e-3.
    """
    classifier = load_trained(run)
    data = run.config["data"]
    examples = real_examples(run, classifier)
    network: nn.Module = classifier.network
    tolerance = TOLERANCE
    if form(data) is SOUNDS:
        network, tolerance = OfWaveforms(classifier.network, classifier.facts, data), TOLERANCE_OF_SOUNDS
    network.eval()
    with torch.inference_mode():
        expected = network(examples)
    found = {}
    with steps("export", 4) as step:
        exported = write(network, examples, output, run.config["model"]["name"], step)
        for path, compute in exported.items():
            step(f"checking {path.name}")
            with torch.inference_mode():
                logits = torch.cat([compute(part) for part in examples.split(CHECKED // 3)])
            difference = float((logits - expected).abs().max() / expected.abs().max())
            if difference > tolerance:
                raise ValueError(f"{path} differs from the checkpoint by {difference:.1e} of the largest logit")
            found[path.suffix[1:]] = (path, difference)
    return found


def write(
    network: nn.Module, examples: Tensor, output: Path, name: str, step: Announce = lambda name: None
) -> dict[Path, Any]:
    """Write both files, traced with two of the examples; returns the exported networks as callables, by path."""
    output.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' about each other's internals
        step(f"{name}.pt2")
        program = torch.export.export(network, (examples[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, output / f"{name}.pt2")
        step(f"{name}.onnx")
        torch.onnx.export(program, (), output / f"{name}.onnx", dynamo=True, external_data=False, verbose=False)
    return {
        output / f"{name}.pt2": torch.export.load(output / f"{name}.pt2").module(),
        output / f"{name}.onnx": OnnxNetwork(output / f"{name}.onnx"),
    }


def real_examples(run: Record, classifier: Classifier) -> Tensor:
    """Return CHECKED examples of a run's data, as inputs of the exported network; noise if the run has no data."""
    data = run.config["data"]
    if without_images(data):
        shape = classifier.hparams["input_shape"]
        return torch.rand(CHECKED, *shape, generator=torch.Generator().manual_seed(0))
    if form(data) is SOUNDS:
        train = load(data).train
        indices = torch.arange(0, len(train), max(1, len(train) // CHECKED))[:CHECKED]
        return as_floats(in_memory(train.part(indices)).inputs)
    return as_floats(load_data(run, classifier).val.inputs[:CHECKED])


class OnnxNetwork:
    """Compute logits (N, classes) of examples (N, ...) with onnxruntime."""

    def __init__(self, path: Path) -> None:
        from onnxruntime import InferenceSession

        self.session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, examples: Tensor) -> Tensor:
        """Run the session."""
        return torch.from_numpy(self.session.run(None, {self.input: examples.numpy()})[0])
