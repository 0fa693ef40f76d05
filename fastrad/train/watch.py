"""A rank that ends, vanishes or stands still ends the others, with a line that names it: none waits for it for ever.

A collective that one rank never enters holds all others inside C++, where neither an exception nor a signal reaches
them. So each rank counts in the store that they met by, once a second, in a thread of its own; the first rank looks
whether all counts grow, and each of the others whether the first one's does. A rank that fails writes there why. Time
is counted in looks, not by the clock: a job that is suspended as a whole goes on.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from itertools import count

from torch import distributed

from fastrad.system.progress import say

BEAT_SECONDS = 1.0
SILENT_BEATS = 15  # of a rank that is given up
_GRACE_BEATS = 3  # for the main thread to end by itself, with a message of its own
_WATCHES = count()


class Watch:
    """Looks after the other ranks until it is closed; ends this process when one of them is lost.

    Parameters
    ----------
    rank, world_size : int
        Of this process, which has met the others at MASTER_ADDR and MASTER_PORT.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self._rank = rank
        self._watched = range(1, world_size) if rank == 0 else range(1)
        # a job that a launcher begins again finds its old counts in the store
        self._prefix = f"fastrad/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{next(_WATCHES)}"
        self._store = distributed.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=SILENT_BEATS * BEAT_SECONDS),
        )
        self._closed = threading.Event()
        self._looks = self._answered = 0
        self._counts = dict.fromkeys(self._watched, 0)
        self._grew = dict.fromkeys(self._watched, 0)
        self._to_publish = self._reason = ""
        for work in (self._beat, self._judge):
            threading.Thread(target=work, daemon=True, name=f"fastrad-watch-{work.__name__}").start()

    def fail(self, reason: str) -> None:
        """Tell the others that this rank ends, and why; return when they can know it."""
        self._to_publish = f"rank {self._rank}: {reason}"
        for _ in range(_GRACE_BEATS * 10):
            if not self._to_publish:
                break
            time.sleep(BEAT_SECONDS / 10)
        time.sleep(2 * BEAT_SECONDS)  # the store ends with the first rank, where no launcher keeps it

    def wait_for_the_reason(self) -> None:
        """After a broken connection: wait for whoever broke it to be known, which ends this process."""
        self._closed.wait((SILENT_BEATS + 2 * _GRACE_BEATS) * BEAT_SECONDS)

    def close(self) -> None:
        """All ranks are done."""
        self._closed.set()

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            try:
                self._store.add(f"{self._prefix}/rank{self._rank}", 1)
                for rank in self._watched:
                    seen = self._store.add(f"{self._prefix}/rank{rank}", 0)
                    if seen != self._counts[rank]:
                        self._counts[rank], self._grew[rank] = seen, self._looks
                if self._to_publish:
                    self._publish(self._to_publish)
                    self._to_publish = ""
                elif not self._reason and self._store.add(f"{self._prefix}/failed", 0):
                    self._reason = self._store.get(f"{self._prefix}/why").decode(errors="replace")
                self._answered = self._looks
            except RuntimeError:  # its keeper has gone; how long it does not answer is counted below
                continue

    def _publish(self, reason: str) -> None:
        """Only the first rank that fails knows why."""
        if self._store.add(f"{self._prefix}/claimed", 1) == 1:
            self._store.set(f"{self._prefix}/why", reason)
            self._store.add(f"{self._prefix}/failed", 1)

    def _judge(self) -> None:
        known = 0
        while not self._closed.wait(BEAT_SECONDS):
            self._looks += 1
            silent = [rank for rank in self._watched if self._looks - self._grew[rank] > SILENT_BEATS]
            if self._reason:
                known += 1
                if known > _GRACE_BEATS:
                    self._end(self._reason)
            elif silent or self._looks - self._answered > SILENT_BEATS:
                lost = ", ".join(map(str, silent)) or "0"
                reason = f"rank {lost} gives no sign of life: it was stopped or killed, or its machine is lost"
                if self._rank == 0:
                    self._to_publish = reason
                    time.sleep(_GRACE_BEATS * BEAT_SECONDS)
                self._end(reason)

    def _end(self, reason: str) -> None:
        if self._closed.is_set():
            return
        say(f"fastrad: rank {self._rank} ends with {reason}; go on with --resume when that is mended")
        os._exit(1)
