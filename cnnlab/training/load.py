"""Load the classifier of a checkpoint or a run."""

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
    """Load the classifier of a checkpoint on the CPU, in evaluation mode, without executing code from the file.

    Raises:
        ValueError: the file is missing or damaged, belongs to a run with another config hash, holds more than tensors
            and plain containers, or has a weight that is not finite.
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
    with name_missing_modules(run):
        return load_classifier(run.directory / "checkpoints" / f"{checkpoint}.ckpt", run.info["config_hash"])


def form_of(run: Record) -> Form:
    """Return the form of the examples that a run was trained on.

    Raises:
        ValueError: there is no such data source.
    """
    with name_missing_modules(run):
        return form(run.config["data"])


@contextmanager
def name_missing_modules(run: Record) -> Iterator[None]:
    """Add to a ValueError the `trusted_modules` that the run was trained with and that are not imported."""
    try:
        yield
    except ValueError as error:
        names = run.config["trusted_modules"]  # perhaps somebody else's: named in the message, never imported
        missing = [name for name in names if name not in sys.modules] if isinstance(names, list) else []
        if not missing:
            raise
        given = f"trusted_modules=[{','.join(map(str, missing))}]"
        raise ValueError(f"{error}; it was trained with {given}, which has to be given again") from error
