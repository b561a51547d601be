"""Test metrics of a finished run, on its own or on other data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnlab.config import command, compose, plain, value_errors
from cnnlab.reporting.tables import Table
from cnnlab.runs import Run, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from cnnlab.classifier import Classifier


def evaluate(run: Run, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Metrics of a run's best checkpoint on test images, every image once.

    Args:
        run: a finished run.
        data: a data config as a plain mapping; the run's own if not given. The images are scaled to the run's size, and
            keep the run's normalisation.

    Returns `test/loss`, `test/acc` (and `test/top5_acc` with more than 10 classes), `images`, and `per_class`, the
    accuracy by class name. Writes the same to `evaluate/<data>.json` in the run directory.

    Raises:
        ValueError: no checkpoint, no test images, or other channels or classes than the run's.
    """
    import torch

    from cnnlab.models.losses import LOSSES

    config = dict(data or run.config["data"])
    classifier, images, labels = load_test(run, config)
    logits = classifier.logits(images, config["eval_batch_size"])
    hits = logits.argmax(1) == labels
    metrics: dict[str, Any] = {
        "test/loss": float(LOSSES[classifier.loss_name](logits.double(), labels)),
        "test/acc": float(hits.double().mean()),
    }
    if len(classifier.classes) > 10:
        metrics["test/top5_acc"] = float((logits.topk(5).indices == labels[:, None]).any(1).double().mean())
    metrics["images"] = len(labels)
    present = torch.bincount(labels, minlength=len(classifier.classes))
    right = torch.bincount(labels[hits], minlength=len(classifier.classes))
    metrics["per_class"] = {
        name: r / n for name, r, n in zip(classifier.classes, right.tolist(), present.tolist(), strict=True) if n
    }
    folder = run.directory / "evaluate"
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{config['name']}.json", metrics)
    return metrics


def load_test(run: Run, config: Mapping[str, Any], permute: bool = True) -> tuple["Classifier", "Tensor", "Tensor"]:
    """A run's classifier where it computes fastest, and the test images of a data config as it takes them, with labels.

    Without `permute` the pixels of a run on permuted ones are left in their places.

    Raises:
        ValueError: no checkpoint, no test images, or other channels or classes than the run's.
    """
    from cnnlab.data.images import prepare
    from cnnlab.data.sources import load

    classifier = run.classifier()
    channels, height, width = classifier.hparams["input_shape"]
    splits = load(config)
    if splits.test is None:
        raise ValueError(f"data={config['name']} has no test images")
    if splits.test.images.shape[1] != channels:
        raise ValueError(
            f"data={config['name']} has {splits.test.images.shape[1]} channels, and {run.directory} was trained on "
            f"{channels}"
        )
    labels = _labels_of_run(splits.test.labels, splits.classes, classifier.classes, config["name"])
    theirs = run.config["data"] if permute else {**run.config["data"], "permute_pixels": False}
    return classifier.to(best_device()), prepare(splits.test.images, (height, width), theirs), labels


def best_device() -> str:
    """Where torch computes fastest on this machine."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _labels_of_run(labels: "Tensor", theirs: list[str], ours: list[str], name: str) -> "Tensor":
    """Labels renumbered as the run numbers its classes, by name.

    Raises:
        ValueError: a class the run does not know.
    """
    import torch

    unknown = [c for c in theirs if c not in ours]
    if unknown:
        raise ValueError(
            f"data={name} has classes this run was not trained on: {', '.join(unknown[:5])}; "
            f"it knows {', '.join(ours[:5])}"
        )
    return torch.tensor([ours.index(c) for c in theirs])[labels]


def request(
    run: Run,
    data: str | Sequence[str] | Mapping[str, Any] | None,
    lesion: str | Sequence[str] | None,
    lesion_by: str | None,
) -> dict[str, Any]:
    """Compose what the command would do for a run, from arguments as `Run.evaluate` takes them.

    Raises:
        ValueError: there is no such dataset or key.
    """
    overrides: list[str] = []
    if not isinstance(data, Mapping):
        given = [] if data is None else [data] if isinstance(data, str) else data
        overrides = [o if "=" in o else f"data={o}" for o in given]
    with value_errors():
        composed, _ = compose("evaluate", [f"run={run.directory}", *overrides])
        asked = plain(composed, "evaluate")
    if isinstance(data, Mapping):
        asked["data"] = dict(data)
    return asked | {k: v for k, v in {"lesion": lesion, "lesion_by": lesion_by}.items() if v is not None}


def as_asked(run: Run, config: Mapping[str, Any]) -> dict[str, Any] | Table:
    """Evaluate a run as a config of the command asks: its metrics, or a table of lesions."""
    run = run.reading(config["data_dir"])
    if config["lesion"]:
        from cnnlab.lesions import expand, lesion

        return lesion(run, expand(run.network(), config["lesion"]), config["lesion_by"], config.get("data"))
    if config["lesion_by"] != "mean":
        raise ValueError(f"lesion_by={config['lesion_by']} needs lesion=..., the layers that it silences")
    return evaluate(run, config.get("data"))


def _task(config: dict[str, Any]) -> None:
    run = Run.load(config["run"])
    metrics = as_asked(run, config)
    if isinstance(metrics, Table):
        print(metrics)
        return
    for name, value in metrics.items():
        if not isinstance(value, dict):
            print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value:,}")
    for name, value in metrics["per_class"].items():
        print(f"  {name:<12} {value:.4f}")
    print(f"\nwritten to {run.directory / 'evaluate' / ((config.get('data') or run.config['data'])['name'] + '.json')}")


main = command("evaluate", _task)

if __name__ == "__main__":
    main()
