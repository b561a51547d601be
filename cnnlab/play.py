"""Write an offline page in which a trained network runs live, `play/index.html` in its run directory, or a lesson."""

import os
from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    if config["lesson"] is not None:
        return _lesson(config)
    for key in ("picture", "kernel"):
        if config[key] is not None:
            raise ValueError(f"{key}={config[key]} is for lesson=convolution; a network's page takes pictures itself")
    pictures = config["pictures"]
    if not isinstance(pictures, int) or pictures < 0:
        raise ValueError(f"pictures={pictures}: give a whole number, 0 for none")
    given = config["run"]
    if isinstance(given, list) and len(given) != 2:
        raise ValueError(f"run=[{','.join(map(str, given))}]: give one run directory, or two, [BASE,ABLATED]")
    from cnnlab.playground.write import play

    directories = given if isinstance(given, list) else [given]
    runs = [Run.chosen(config | {"run": directory}).reading(config["data_dir"]) for directory in directories]
    page = play(runs[0], pictures, *runs[1:])
    print(f"page         {os.path.relpath(page)} ({page.stat().st_size / 1e6:.1f} MB), to be opened in a browser")


def _lesson(config: dict[str, Any]) -> None:
    for key in ("run", "init_from"):
        if config[key] is not None:
            raise ValueError(f"lesson={config['lesson']} and {key}={config[key]}: give one of them")
    from cnnlab.playground.lesson import write_lesson, write_picture

    folder, picture, kernel = Path(config["output_dir"]) / "lessons", config["picture"], config["kernel"]
    page = write_lesson(config["lesson"], folder, picture, kernel)
    if drawn := write_picture(config["lesson"], folder, picture, kernel):
        print(f"picture      {os.path.relpath(drawn)}")
    print(f"page         {os.path.relpath(page)}, to be opened in a browser")


main = command("play", _task)

if __name__ == "__main__":
    main()
