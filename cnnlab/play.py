"""Write an offline page in which a trained network runs live, `play/index.html` in its run directory, or a lesson."""

import os
from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    (_check_network if config["lesson"] is None else _check_lesson)(config)
    from cnnlab.playground import lesson, write  # with torch, which a wrong request need not wait for

    size = ""
    if config["lesson"] is None:
        directories = config["run"] if isinstance(config["run"], list) else [config["run"]]
        runs = [Run.chosen(config | {"run": directory}).reading(config["data_dir"]) for directory in directories]
        page = write.play(runs[0], config["pictures"], *runs[1:])
        size = f" ({page.stat().st_size / 1e6:.1f} MB)"
    else:
        request = (config["lesson"], Path(config["output_dir"]) / "lessons", config["picture"], config["kernel"])
        page = lesson.write_lesson(*request)
        if drawn := lesson.write_picture(*request):
            print(f"picture      {os.path.relpath(drawn)}")
    print(f"page         {os.path.relpath(page)}{size}, to be opened in a browser")


def _check_network(config: dict[str, Any]) -> None:
    for key in ("picture", "kernel"):
        if config[key] is not None:
            raise ValueError(f"{key}={config[key]} is for lesson=convolution; a network's page takes pictures itself")
    given, pictures = config["run"], config["pictures"]
    if not isinstance(pictures, int) or pictures < 0:
        raise ValueError(f"pictures={pictures}: give a whole number, 0 for none")
    if isinstance(given, list) and len(given) != 2:
        raise ValueError(f"run=[{','.join(map(str, given))}]: give one run directory, or two, [BASE,ABLATED]")


def _check_lesson(config: dict[str, Any]) -> None:
    for key in ("run", "init_from"):
        if config[key] is not None:
            raise ValueError(f"lesson={config['lesson']} and {key}={config[key]}: give one of them")


main = command("play", _task)

if __name__ == "__main__":
    main()
