"""Export a trained network for other programs."""

import os
from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    from cnnlab.trained.export import export

    run = Run.chosen(config).reading(config["data_dir"])
    for path, difference in export(run, Path(config["output"] or run.directory / "export")).values():
        print(f"{os.path.relpath(path)}  agrees with the checkpoint to {difference:.1e} of the largest logit")


main = command("export", _task)

if __name__ == "__main__":
    main()
