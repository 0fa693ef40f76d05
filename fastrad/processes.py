"""What worker processes of every stage have in common: how many, and that none outlives the command that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


def available_cores() -> int:
    """Cores that this process may use: its affinity mask, not what the machine has."""
    return len(os.sched_getaffinity(0))


def follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, however it went: a worker's initializer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
