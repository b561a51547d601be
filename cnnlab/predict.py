"""Class and probability for image files."""

import sys
from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    run = Run.load(config["run"])
    rows = run.predict(config["images"])
    output = Path(config["output"] or run.directory / "predictions.csv")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(rows.csv(), encoding="utf-8", errors="surrogateescape")  # a file's name may be any bytes
    print(rows)
    print(f"\nwritten to {output}")
    unreadable = [row for row in rows if row["error"]]
    if unreadable:
        names = ", ".join(row["file"] for row in unreadable[:5])
        sys.exit(f"cnnlab: {len(unreadable)} of {len(rows)} files could not be read: {names}")


main = command("predict", _task)

if __name__ == "__main__":
    main()
