"""Show the progress of long work on stderr: a bar on a terminal, else a line now and then."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic

FIRST_LINE = 5.0  # seconds before the first line where there is no terminal; each pause is twice the last

Announce = Callable[[str], None]


@contextlib.contextmanager
def steps(work: str, total: int) -> Iterator[Announce]:
    """Show the current step while work runs; the bar disappears at the end.

    >>> with steps("inspect", 2) as step:
    ...     step("filters")
    ...     step("saliency")

    Yields a function to call with the name of each step as it begins. Where stderr is no terminal, work of a few
    seconds writes nothing.
    """
    with (_bar if sys.stderr.isatty() else _lines)(work, total) as step:
        yield step


@contextlib.contextmanager
def _bar(work: str, total: int) -> Iterator[Announce]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(work, total=total)
        begun = 0

        def step(name: str) -> None:
            nonlocal begun
            progress.update(task, description=f"{work}: {name}", completed=begun)
            begun += 1

        yield step


@contextlib.contextmanager
def _lines(work: str, total: int) -> Iterator[Announce]:
    finished, started = threading.Event(), monotonic()
    begun, current = 0, ""

    def step(name: str) -> None:
        nonlocal begun, current
        begun, current = begun + 1, name

    def report() -> None:
        pause = FIRST_LINE
        while not finished.wait(pause):
            sys.stderr.write(f"{work}: {current} ({begun} of {total}), {monotonic() - started:.0f} s so far\n")
            sys.stderr.flush()
            pause *= 2

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield step
    finally:
        finished.set()
        thread.join()
