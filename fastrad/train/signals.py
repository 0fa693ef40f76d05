"""Stopping in good order: SIGTERM, SIGUSR1 (SLURM's warning) and Ctrl-C ask for a checkpoint and an end.

In: signals. Out: `StopSignals.received`, looked at between two steps. A second signal of the kind acts as usual.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from fastrad.errors import FastradError

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(FastradError):
    """A run that ended early, with a checkpoint, because a signal asked for it.

    Attributes
    ----------
    signal : int
        Its number; the process's exit status is 128 more.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.signal = number


class StopSignals:
    """Inside this context the first stopping signal is only noted.

    Attributes
    ----------
    received : int
        The signal's number, 0 while there is none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._usual: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # Python handles signals nowhere else
            for number in STOPPING:
                self._usual[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, usual in self._usual.items():
            signal.signal(number, usual)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._usual[number])
