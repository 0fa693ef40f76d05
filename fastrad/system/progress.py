"""Progress of long work on stderr: a bar where it is a terminal, a plain line every few seconds where it is not."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from fastrad.system.terminal import beneath, one_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PLAIN_INTERVAL_SECONDS = 5.0


class Progress(Protocol):
    """What `track` yields."""

    def advance(self, count: int = 1, **notes: object) -> None:
        """Say that `count` more units are done; `notes` (name=value) are shown behind the rate."""


class _PlainProgress:
    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = 0
        self._notes: dict[str, object] = {}
        self._started = self._printed = time.monotonic()

    def advance(self, count: int = 1, **notes: object) -> None:
        self._done += count
        self._notes.update(notes)
        now = time.monotonic()
        if now - self._printed >= PLAIN_INTERVAL_SECONDS:
            self._printed = now
            self.line()

    def line(self) -> None:
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate = self._done / elapsed
        parts = [f"{self._done}" + (f"/{self._total}" if self._total is not None else "") + f" {self._unit}".rstrip()]
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s")
        if self._total is not None and 0 < self._done < self._total:
            parts.append(f"{time_text((self._total - self._done) / rate)} left")
        else:
            parts.append(f"{elapsed:.1f} s")
        parts += [f"{name} {value}" for name, value in self._notes.items()]
        say(f"{self._description}: " + ", ".join(parts))


class _BarProgress:
    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._notes: dict[str, object] = {}

    def advance(self, count: int = 1, **notes: object) -> None:
        self._notes.update(notes)
        text = one_line(" ".join(f"{name} {value}" for name, value in self._notes.items()))
        elapsed = self._bar.tasks[self._task].elapsed
        done = self._bar.tasks[self._task].completed + count
        rate = f"{done / elapsed:,.1f}/s" if elapsed else ""
        self._bar.update(self._task, advance=count, notes=text, rate=rate)


@contextmanager
def track(description: str, total: int | None, unit: str = "images") -> Iterator[Progress]:
    """Show the progress of a piece of work on stderr.

    Parameters
    ----------
    description : str
        What is being done, in a few words.
    total : int or None
        How many units there are; None where nobody knows.
    unit : str
        The plural name of one unit; "" where the description says it.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[notes]}", markup=False),
        )
        with Bar(*columns, console=Console(file=beneath(sys.stderr))) as bar:
            task = bar.add_task(one_line(description), total=total, notes="", rate="")
            yield _BarProgress(bar, task)
    else:
        plain = _PlainProgress(description, total, unit)
        try:
            yield plain
        finally:
            plain.line()


def time_text(seconds: float) -> str:
    """A length of time as people say it: 80 s, 12 min, 5.5 h, 3.0 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def say(line: str) -> None:
    """Print one line about the work on stderr, at once and in one piece: several ranks may share it."""
    print(f"{one_line(line)}\n", end="", file=sys.stderr, flush=True)
