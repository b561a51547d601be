"""Count the runs of a study that have ended, from their run directories, and estimate the remaining time.

Directories are read because every launcher leaves them, whatever processes it uses. They are not locked: a lock held
even for a moment would keep a run from starting.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from time import time
from typing import Any

from cnnlab.runs.record import read_json
from cnnlab.studies.plan import shown_seconds


@dataclass
class _OpenRun:
    """A run that has not ended."""

    variant: str
    seen: int | None  # time of the `run.json` that was last read, nanoseconds
    begun: float | None = None  # seconds since 1970


class Tally:
    """Count ended runs and estimate the remaining time.

    Args:
        total: number of runs of the study.
        over: number of those that were completed before.
        guesses: estimated seconds of a run by variant, used until one of the variant has ended.
        unit: word for the runs.
    """

    def __init__(
        self, total: int, over: int = 0, guesses: Mapping[str, float] | None = None, unit: str = "runs"
    ) -> None:
        self.total, self.over, self.failed, self._unit = total, over, 0, unit
        self._guesses = guesses or {}
        self._open: dict[Path, _OpenRun] = {}
        self._seconds: dict[str, list[float]] = {}  # of completed runs, by variant
        self._worked = 0.0  # seconds of all ended runs
        self._first: float | None = None  # when the first run began

    def expect(self, directories: Iterable[Path]) -> None:
        """Watch run directories, named `<variant>-s<seed>-<hash>`; a `run.json` already there is of an earlier try."""
        for directory in directories:
            self._open[directory] = _OpenRun(directory.name.rpartition("-s")[0], _written(directory))

    def look(self) -> list[Path]:
        """Read the directories; returns those whose runs have ended since the last call."""
        over = []
        for directory, run in list(self._open.items()):
            written = _written(directory)
            if written == run.seen:
                continue
            with suppress(OSError, ValueError, KeyError):  # it is read again next time
                info = read_json(directory / "run.json")
                run.begun = datetime.fromisoformat(info["started"]).timestamp()
                self._first = min(self._first or run.begun, run.begun)
                if info["status"] != "running":
                    self._close(run, info)
                    del self._open[directory]
                    over.append(directory)
                run.seen = written
        return over

    def _close(self, run: _OpenRun, info: Mapping[str, Any]) -> None:
        assert run.begun is not None
        seconds = max(0.0, datetime.fromisoformat(info["ended"]).timestamp() - run.begun) if info.get("ended") else 0.0
        self.over += 1
        self.failed += info["status"] != "completed"
        self._worked += seconds
        if info["status"] == "completed" and "resumed" not in info:  # a resumed run took less than a whole one
            self._seconds.setdefault(run.variant, []).append(seconds)

    def left(self, now: float | None = None) -> float | None:
        """Return the remaining seconds, estimated from the runs that have ended; None if none has.

        A run is assumed to take the mean of its variant, or else its guess, scaled by how far the guesses were off. The
        sum of the remaining times is divided by the mean number of concurrent runs since the first began, pauses
        included; the result is at least the remaining time of the longest current run.

        Args:
            now: seconds since 1970.
        """
        now = time() if now is None else now
        known = {variant: mean(seconds) for variant, seconds in self._seconds.items()}
        if not known or self._first is None or now <= self._first:
            return None
        overall = mean(s for seconds in self._seconds.values() for s in seconds)
        guessed = [(known[v], self._guesses[v]) for v in known if self._guesses.get(v)]
        off = sum(took for took, _ in guessed) / sum(guess for _, guess in guessed) if guessed else None
        rests, working = [overall] * (self.total - self.over - len(self._open)), []
        for run in self._open.values():
            guess = self._guesses.get(run.variant)
            whole = known.get(run.variant, guess * off if guess and off else overall)
            if run.begun is None:
                rests.append(whole)
            else:
                working.append((max(0.0, now - run.begun), whole))
        under_way = [max(0.0, whole - took) for took, whole in working]
        concurrent = (self._worked + sum(took for took, _ in working)) / (now - self._first)
        if concurrent <= 0:
            return None
        return max([(sum(rests) + sum(under_way)) / concurrent, *under_way])

    def line(self) -> str:
        """Return the progress in words: `12 of 56 runs, 1 failed, 21 min left`."""
        parts = [f"{self.over} of {self.total} {self._unit}", f"{self.failed} failed" if self.failed else ""]
        left = self.left() if self.over < self.total else None
        if left is not None:
            parts.append(f"{left:.0f} s left" if left < 90 else f"{shown_seconds(left)} left")
        return ", ".join(filter(None, parts))


def _written(directory: Path) -> int | None:
    """Return when the `run.json` of a directory was written; None if there is none."""
    try:
        return (directory / "run.json").stat().st_mtime_ns
    except OSError:
        return None
