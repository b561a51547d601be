"""Predict class and probability of image files, sound files or sentences."""

import sys
from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.reporting.tables import Table
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    if config["images"] is None and config["text"] is None:
        raise ValueError("images=... has to be given, or text=... for a run on sentences")
    if config["images"] is not None and config["text"] is not None:
        raise ValueError("images= and text=: give one of the two")
    run = Run.chosen(config)
    rows = run.predict(config["images"], text=config["text"])
    output = Path(config["output"] or run.directory / "predictions.csv")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(rows.csv(), encoding="utf-8", errors="surrogateescape")  # a file's name may be any bytes
    print(rows_in_short(rows))
    print(f"\nwritten to {output}")
    unreadable = [row for row in rows if row["error"]]
    if unreadable:
        names = ", ".join(row.get("file", repr(row.get("text"))) for row in unreadable[:5])
        what = "files" if config["text"] is None else "sentences"
        sys.exit(f"cnnlab: {len(unreadable)} of {len(rows)} {what} could not be read: {names}")


def rows_in_short(rows: Table) -> Table:
    """Shorten the rows of `predict` for a terminal: all guesses but the first in one column."""
    short = Table()
    for row in rows:
        guesses = [f"label{rank}" for rank in range(2, len(row)) if f"label{rank}" in row]
        others = [f"{row[guess]} {row[guess.replace('label', 'probability')]:.2g}" for guess in guesses]
        first = {key: row[key] for key in ("file", "text", "label", "probability", "error") if key in row}
        short.append(first | {"next guesses": ", ".join(others)})
    return short


main = command("predict", _task)

if __name__ == "__main__":
    main()
