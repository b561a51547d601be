"""Show how far a running study is, on stderr: a line that stays at the bottom of a terminal, else one at times."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from cnnlab.studies.tally import Tally

LOOK_EVERY = 1.0  # seconds between looks at the run directories
SHARE = 0.02  # of the time that looking may take
FIRST_LINE, LAST_PAUSE = 60.0, 1800.0  # seconds before a first line where there is no terminal, at most between two
SMALLEST = (20, 4)  # columns and rows of a terminal that has room for the line


@contextmanager
def follow(tally: Tally, said: Callable[[Path], None] | None = None) -> Iterator[None]:
    """Show the line of a tally while the runs of a study go on, and nothing once they are over.

    Args:
        tally: of the study.
        said: called with each run directory whose run is over, where workers cannot say so themselves.
    """
    over = threading.Event()
    display = BottomLine(sys.stderr.fileno()) if _is_terminal() else SparseLines()
    watcher = threading.Thread(target=_watch, args=(tally, display, over, said), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        display.close()


def _watch(
    tally: Tally,
    display: "BottomLine | SparseLines",
    over: threading.Event,
    said: Callable[[Path], None] | None,
) -> None:
    pause, last = 0.0, False
    while not last:
        last = over.wait(pause)  # after which it looks once more
        began = monotonic()
        ended = tally.look()
        if said is not None:
            for directory in ended:
                with suppress(OSError, ValueError, KeyError):  # of damaged files, which the report names
                    said(directory)
        if not last:
            with suppress(OSError):  # a terminal that was closed ends no study
                display.show(tally.line())
        pause = max(LOOK_EVERY, (monotonic() - began) / SHARE)


def _is_terminal() -> bool:
    """Tell whether stderr is a terminal that knows where a line is, and has room for one."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    columns, rows = os.get_terminal_size(sys.stderr.fileno())
    return columns >= SMALLEST[0] and rows >= SMALLEST[1]


class BottomLine:
    """The last line of a terminal, kept out of what scrolls.

    The terminal is told to scroll the lines above it only (DECSTBM), so that whatever other processes or progress bars
    write there stays above, and does not have to know of the line. Each change is one write, between saving and
    restoring the cursor, which no other process's write can come between.
    """

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal  # its file descriptor
        self._size: os.terminal_size | None = None

    def show(self, text: str) -> None:
        """Write the line; make room for it at first and where the terminal's size has changed."""
        size, room = os.get_terminal_size(self._terminal), ""
        if size != self._size:
            room = f"\n\x1b7\x1b[1;{size.lines - 1}r\x1b8\x1b[1A"  # the cursor may stand in the last line
            self._size = size
        self._write(f"{room}\x1b7\x1b[{size.lines};1H\x1b[2K{text[: size.columns - 1]}\x1b8")

    def close(self) -> None:
        """Take the line away, and let the whole terminal scroll again."""
        if self._size is not None:
            self._write(f"\x1b7\x1b[{self._size.lines};1H\x1b[2K\x1b[r\x1b8")

    def _write(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._terminal, text.encode())  # not by sys.stderr, whose lock a forked process would inherit


class SparseLines:
    """Plain lines, each after twice as long as the one before, for a pipe or a file."""

    def __init__(self) -> None:
        self._pause = FIRST_LINE
        self._next = monotonic() + self._pause

    def show(self, text: str) -> None:
        """Write the line, if it is time."""
        if monotonic() >= self._next:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
            self._pause = min(2 * self._pause, LAST_PAUSE)
            self._next = monotonic() + self._pause

    def close(self) -> None:
        """Leave what is written."""
