"""Show the progress of a running study on stderr: a line at the bottom of a terminal, else a new line now and then."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from cnnlab.studies.tally import Tally

LOOK_EVERY = 1.0  # seconds between two reads of the run directories
SHARE = 0.02  # largest share of the time that reading may take
FIRST_LINE, LAST_PAUSE = 60.0, 1800.0  # without a terminal: seconds before the first line, and at most between two
SMALLEST = (20, 4)  # columns and rows that a terminal must have for the line


@contextmanager
def follow(tally: Tally, announce: Callable[[Path], None] | None = None) -> Iterator[None]:
    """Show the progress of a study while the block runs, and remove the line at its end.

    Args:
        tally: of the study.
        announce: called with the directory of each run that has ended, if workers cannot report it themselves.
    """
    over = threading.Event()
    display = BottomLine(sys.stderr.fileno()) if _is_terminal() else SparseLines()
    watcher = threading.Thread(target=_watch, args=(tally, display, over, announce), daemon=True)
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
    announce: Callable[[Path], None] | None,
) -> None:
    pause, last = 0.0, False
    while not last:
        last = over.wait(pause)  # once it is set, the directories are read one last time
        began = monotonic()
        ended = tally.look()
        if announce is not None:
            for directory in ended:
                with suppress(OSError, ValueError, KeyError):  # from damaged files, which the report names
                    announce(directory)
        if not last:
            with suppress(OSError):  # closing the terminal must not end the study
                display.show(tally.line())
        pause = max(LOOK_EVERY, (monotonic() - began) / SHARE)


def _is_terminal() -> bool:
    """Return whether stderr is a terminal with cursor control and room for the line."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    columns, rows = os.get_terminal_size(sys.stderr.fileno())
    return columns >= SMALLEST[0] and rows >= SMALLEST[1]


class BottomLine:
    """Keep the last line of a terminal out of the region that scrolls.

    The terminal scrolls only the lines above it (DECSTBM), so that other processes and progress bars write there
    without knowing of the line. Each change is a single write that saves and restores the cursor, so that no other
    process's write can come between.
    """

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal  # its file descriptor
        self._size: os.terminal_size | None = None

    def show(self, text: str) -> None:
        """Write the line; reserve its row first if that is new or the terminal's size has changed."""
        size, room = os.get_terminal_size(self._terminal), ""
        if size != self._size:
            room = f"\n\x1b7\x1b[1;{size.lines - 1}r\x1b8\x1b[1A"  # the cursor may stand in the last line
            self._size = size
        self._write(f"{room}\x1b7\x1b[{size.lines};1H\x1b[2K{text[: size.columns - 1]}\x1b8")

    def close(self) -> None:
        """Remove the line, and let the whole terminal scroll again."""
        if self._size is not None:
            self._write(f"\x1b7\x1b[{self._size.lines};1H\x1b[2K\x1b[r\x1b8")

    def _write(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._terminal, text.encode())  # not sys.stderr, whose lock a forked process would inherit


class SparseLines:
    """Write plain lines to a pipe or file, each after a pause twice as long as the one before."""

    def __init__(self) -> None:
        self._pause = FIRST_LINE
        self._next = monotonic() + self._pause

    def show(self, text: str) -> None:
        """Write the line if its pause is over."""
        if monotonic() >= self._next:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
            self._pause = min(2 * self._pause, LAST_PAUSE)
            self._next = monotonic() + self._pause

    def close(self) -> None:
        """Do nothing: written lines stay."""
