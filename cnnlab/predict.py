"""Class and probability for image files."""

import sys
from pathlib import Path
from typing import Any

from cnnlab.config import command
from cnnlab.reporting.tables import Table
from cnnlab.runs import Run, decide


def predict(run: Run, images: list[Path], batch_size: int = 500) -> Table:
    """A row for each file: `file`, `label` (a class name), `probability`, `error`.

    Pictures of any size and mode are scaled to the run's size, as its data were. A file that cannot be read has an
    error and no label; the others are not stopped.
    """
    import torch

    from cnnlab.data.images import prepare, read_image
    from cnnlab.evaluate import best_device

    classifier = run.classifier().to(best_device())
    channels, height, width = classifier.hparams["input_shape"]
    rows = Table({"file": str(path), "label": None, "probability": None, "error": None} for path in images)
    for start in range(0, len(images), batch_size):  # so that a large folder never stands in memory
        pictures, readable = [], []
        for row in rows[start : start + batch_size]:
            try:
                picture = read_image(Path(row["file"]), channels)[None]
                pictures.append(prepare(picture, (height, width), run.config["data"]))
                readable.append(row)
            except (OSError, ValueError) as error:
                row["error"] = " ".join(str(error).split())
        if pictures:
            answers = decide(classifier.logits(torch.cat(pictures)), classifier.classes)
            for row, answer in zip(readable, answers, strict=True):
                row.update(answer)
    return rows


def files_of(images: object) -> list[Path]:
    """The files a path, or a list of paths, names; a folder stands for the image files in it.

    Raises:
        ValueError: there is none.
    """
    from cnnlab.data.images import find_images

    files: list[Path] = []
    for given in images if isinstance(images, list) else [images]:
        path = Path(str(given))
        if not path.exists():
            raise ValueError(f"images={path}: there is no such file or folder")
        found = find_images(path) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"images={path}: the folder holds no image files")
        files += found
    return files


def _task(config: dict[str, Any]) -> None:
    run = Run.load(config["run"])
    files = files_of(config["images"])
    rows = predict(run, files)
    output = Path(config["output"] or run.directory / "predictions.csv")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(rows.csv())
    print(rows)
    print(f"\nwritten to {output}")
    unreadable = [row for row in rows if row["error"]]
    if unreadable:
        names = ", ".join(row["file"] for row in unreadable[:5])
        sys.exit(f"cnnlab: {len(unreadable)} of {len(rows)} files could not be read: {names}")


main = command("predict", _task)

if __name__ == "__main__":
    main()
