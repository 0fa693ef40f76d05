"""Runs the chunks of a conversion on a Dask cluster whose workers see the archive and the output under the same paths.

The cluster itself moves the chunks of a worker that dies to another one; only a chunk that kills several comes back as
an error. A scheduler that is gone or stands still is asked for a sign of life, and given up after a stated time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from fastrad.convert.chunk import begin_worker
from fastrad.errors import FastradError, InputError, MissingDependencyError

_CONNECT_SECONDS = 20
_ASKED_EVERY = 5.0  # seconds
_SILENT_LOOKS = 40  # of half a second, in which a scheduler that was asked does not answer
_LEAVE_SECONDS = 5  # for the goodbye, which nobody may hear


class ClusterWorkers:
    """The workers of a Dask cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, for example "tcp://10.0.0.1:8786".

    Raises
    ------
    MissingDependencyError
        If dask.distributed is not installed.
    InputError
        If nothing answers at the address, or the cluster has no workers.
    """

    sync = True  # each machine has to write out its own pages

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client, KilledWorker, Security
            from distributed.comm import connect
        except ImportError:
            raise MissingDependencyError(
                "dask.distributed", "converting on a cluster", "pip install 'fastrad[cluster]'"
            ) from None
        self._killed, self._address = KilledWorker, address
        self._question: Future | None = None
        self._asked = self._looks = 0.0

        async def greet() -> None:
            arguments = Security().get_connection_args("client")
            comm = await asyncio.wait_for(connect(address, timeout=_CONNECT_SECONDS, **arguments), _CONNECT_SECONDS)
            comm.abort()

        try:
            # a client waits without end where a stopped scheduler's machine takes the connection and nobody answers
            asyncio.run(greet())
            self._client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = str(error) or "it took the connection and stands still"
            raise InputError(f"--scheduler {address}: no Dask scheduler answers there ({reason})") from None
        self._loop = self._client.loop.asyncio_loop  # type: ignore[union-attr]
        threads = self._client.nthreads()
        if not threads:
            self._client.close()
            raise InputError(
                f"--scheduler {address}: the cluster has no workers; start some with `dask worker {address}`"
            )
        self.count = sum(threads.values())
        # every run of a chunk writes files, so none may be answered from an earlier result
        self._executor = self._client.get_executor(pure=False)

    def submit(self, work: Callable, *arguments: Any) -> Future:
        """Like `Executor.submit`."""
        return self._executor.submit(_work, work, *arguments)

    def lost(self, error: BaseException | None) -> bool:
        """Whether all that is in flight is lost with `error`; on a cluster it never is."""
        return False

    def error(self, future: Future) -> BaseException | None:
        """What a finished chunk failed with; raises `FastradError` where it was given up: its scheduler has gone."""
        if future.cancelled():
            raise self._gone("has gone")
        return future.exception()

    def died(self, error: BaseException) -> bool:
        """Whether `error` means that workers died of this chunk."""
        return isinstance(error, self._killed)

    def look(self) -> None:
        """Ask the scheduler for a sign of life, every few seconds; called once in each wait without a finished chunk.

        The looks are counted, not the time, so that a conversion that is suspended as a whole goes on.

        Raises
        ------
        FastradError
            If the scheduler has gone, or has not answered for long.
        """
        if self._client.status != "running":
            raise self._gone("has gone")
        if self._question is None or self._question.done():
            self._looks = 0
            if time.monotonic() - self._asked >= _ASKED_EVERY:
                self._asked = time.monotonic()
                self._question = asyncio.run_coroutine_threadsafe(self._client.scheduler.identity(), self._loop)  # type: ignore[union-attr]
            return
        self._looks += 1
        if self._looks > _SILENT_LOOKS:
            raise self._gone("does not answer any more")

    def _gone(self, what: str) -> FastradError:
        return FastradError(
            f"--scheduler {self._address}: the Dask scheduler {what}; start it and its workers again, then give the "
            "same command again to go on"
        )

    def close(self) -> None:
        """Give up what is in flight and leave the cluster."""
        from distributed import TimeoutError as TookTooLong

        logger = logging.getLogger("tornado.application")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # it would log what a scheduler that has gone was asked, with a traceback
        try:
            with suppress(OSError, TookTooLong, CancelledError):
                self._executor.shutdown(wait=False)  # cancels
                self._client.close(timeout=_LEAVE_SECONDS)
        finally:
            logger.setLevel(level)


def _work(work: Callable, *arguments: Any) -> Any:
    """On a worker, which may have joined the cluster at any time."""
    begin_worker()
    return work(*arguments)
