"""Count the runs of a study that are over, from their run directories, and estimate the time that is left.

Whatever launcher runs them, in whatever process, the directories are what it leaves. No lock is taken: one that is
held, if for a moment only, would keep a run from starting.
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
class _Open:
    """A run that is not over."""

    variant: str
    seen: int | None  # when `run.json` was last written, nanoseconds
    begun: float | None = None  # seconds since 1970


class Tally:
    """What the run directories of a study say.

    Args:
        total: number of runs of the study.
        over: number of those that were completed before.
        guesses: seconds that a run of a variant was thought to take, for variants of which none is over yet.
        unit: what a run is called.
    """

    def __init__(
        self, total: int, over: int = 0, guesses: Mapping[str, float] | None = None, unit: str = "runs"
    ) -> None:
        self.total, self.over, self.failed, self._unit = total, over, 0, unit
        self._guesses = guesses or {}
        self._open: dict[Path, _Open] = {}
        self._seconds: dict[str, list[float]] = {}  # of completed runs, by variant
        self._worked = 0.0  # seconds that runs took which are over
        self._first: float | None = None  # when the first run began

    def expect(self, directories: Iterable[Path]) -> None:
        """Watch these run directories, which are named `<variant>-s<seed>-<hash>`; what they hold already is old."""
        for directory in directories:
            self._open[directory] = _Open(directory.name.rpartition("-s")[0], _written(directory))

    def look(self) -> list[Path]:
        """Look at the directories; returns those whose runs are over since the last look."""
        over = []
        for directory, run in list(self._open.items()):
            written = _written(directory)
            if written == run.seen:
                continue
            with suppress(OSError, ValueError, KeyError):  # it is looked at again
                info = read_json(directory / "run.json")
                run.begun = datetime.fromisoformat(info["started"]).timestamp()
                self._first = min(self._first or run.begun, run.begun)
                if info["status"] != "running":
                    self._close(run, info)
                    del self._open[directory]
                    over.append(directory)
                run.seen = written
        return over

    def _close(self, run: _Open, info: Mapping[str, Any]) -> None:
        assert run.begun is not None
        seconds = max(0.0, datetime.fromisoformat(info["ended"]).timestamp() - run.begun) if info.get("ended") else 0.0
        self.over += 1
        self.failed += info["status"] != "completed"
        self._worked += seconds
        if info["status"] == "completed" and "resumed" not in info:  # which took less than a whole run
            self._seconds.setdefault(run.variant, []).append(seconds)

    def left(self, now: float | None = None) -> float | None:
        """Return the seconds that are left, learned from the runs that are over; None while it cannot be said.

        A run is taken to last as long as others of its variant, or else as long as was guessed, times what the guesses
        were off. What is left is divided by how many runs have gone on at a time since the first began, pauses
        included, and is no less than what the longest run under way still takes.

        Args:
            now: seconds since 1970.
        """
        now = time() if now is None else now
        known = {variant: mean(seconds) for variant, seconds in self._seconds.items()}
        if not known or self._first is None or now <= self._first:
            return None
        every = mean(s for seconds in self._seconds.values() for s in seconds)
        guessed = [(known[v], self._guesses[v]) for v in known if self._guesses.get(v)]
        off = sum(took for took, _ in guessed) / sum(guess for _, guess in guessed) if guessed else None
        rests, working = [every] * (self.total - self.over - len(self._open)), []
        for run in self._open.values():
            guess = self._guesses.get(run.variant)
            whole = known.get(run.variant, guess * off if guess and off else every)
            if run.begun is None:
                rests.append(whole)
            else:
                working.append((max(0.0, now - run.begun), whole))
        under_way = [max(0.0, whole - took) for took, whole in working]
        at_a_time = (self._worked + sum(took for took, _ in working)) / (now - self._first)
        if at_a_time <= 0:
            return None
        return max([(sum(rests) + sum(under_way)) / at_a_time, *under_way])

    def line(self) -> str:
        """Return what there is to say: `12 of 56 runs, 1 failed, 21 min left`."""
        parts = [f"{self.over} of {self.total} {self._unit}", f"{self.failed} failed" if self.failed else ""]
        left = self.left() if self.over < self.total else None
        if left is not None:
            parts.append(f"{left:.0f} s left" if left < 90 else f"{shown_seconds(left)} left")
        return ", ".join(filter(None, parts))


def _written(directory: Path) -> int | None:
    """Return when the `run.json` of a directory was written; None where there is none."""
    try:
        return (directory / "run.json").stat().st_mtime_ns
    except OSError:
        return None
