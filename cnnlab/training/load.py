"""Load the classifier of a checkpoint."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnlab.data.forms import Form
from cnnlab.data.load import form
from cnnlab.device import keep_freed
from cnnlab.runs.checkpoints import READ_ERRORS, read, refuse_other_run
from cnnlab.runs.record import Record
from cnnlab.training.classifier import Classifier
from cnnlab.training.divergence import infinite_weight


def load_classifier(checkpoint: Path, config_hash: str) -> Classifier:
    """The classifier of a checkpoint, on the CPU, in evaluation mode; nothing in the file is executed.

    Raises:
        ValueError: the file is missing, damaged, of another run than the one with this config hash, holds more than
            tensors and plain containers, or a weight that is not finite.
    """
    keep_freed()
    content = read(checkpoint)
    refuse_other_run(content, config_hash, checkpoint)
    try:
        classifier = Classifier(**content["hyper_parameters"])
        classifier.load_state_dict(content["state_dict"])
    except READ_ERRORS as error:
        raise ValueError(f"{checkpoint} holds no network of cnnlab: {str(error).partition(chr(10))[0]}") from error
    if layer := infinite_weight(classifier.network):
        raise ValueError(f"{checkpoint}: a weight of {layer} is not finite, so that no answer would mean anything")
    return classifier.eval()


def load_trained(run: Record, checkpoint: str = "best") -> Classifier:
    """Load the classifier that a run has trained, on the CPU, in evaluation mode.

    Raises:
        ValueError: there is no such checkpoint, or it cannot be read.
    """
    with naming_modules(run):
        return load_classifier(run.directory / "checkpoints" / f"{checkpoint}.ckpt", run.info["config_hash"])


def form_of(run: Record) -> Form:
    """The form of the examples that a run was trained on.

    Raises:
        ValueError: there is no such data source.
    """
    with naming_modules(run):
        return form(run.config["data"])


@contextmanager
def naming_modules(run: Record) -> Iterator[None]:
    """Let a refusal name the modules that a run was trained with, where they are not imported."""
    try:
        yield
    except ValueError as error:
        asked = run.config["trusted_modules"]  # somebody else's perhaps: named in the message and not imported
        missing = [name for name in asked if name not in sys.modules] if isinstance(asked, list) else []
        if not missing:
            raise
        given = f"trusted_modules=[{','.join(map(str, missing))}]"
        raise ValueError(f"{error}; it was trained with {given}, which has to be given again") from error
