"""Runs the chunks of a conversion on a Dask cluster whose workers see the archive and the output under the same paths.

The cluster itself moves the chunks of a worker that dies to another one; only a chunk that kills several comes back as
an error.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fastrad.convert.chunk import begin_worker
from fastrad.errors import InputError, MissingDependencyError

_CONNECT_SECONDS = 20


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
            from distributed import Client, KilledWorker
        except ImportError:
            raise MissingDependencyError(
                "dask.distributed", "converting on a cluster", "pip install 'fastrad[cluster]'"
            ) from None
        self._killed = KilledWorker
        try:
            self._client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(f"--scheduler {address}: no Dask scheduler answers there ({error})") from None
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

    def died(self, error: BaseException) -> bool:
        """Whether `error` means that workers died of this chunk."""
        return isinstance(error, self._killed)

    def close(self) -> None:
        """Give up what is in flight and leave the cluster."""
        self._executor.shutdown(wait=False)  # cancels
        self._client.close()


def _work(work: Callable, *arguments: Any) -> Any:
    """On a worker, which may have joined the cluster at any time."""
    begin_worker()
    return work(*arguments)
