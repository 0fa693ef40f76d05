"""Runs the chunks of a conversion on worker processes, and outlives the workers.

A worker that dies costs its chunk a retry, alone; dies a worker again, the image that it was at is quarantined.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any

from fastrad.convert.chunk import begin_worker, convert_chunk
from fastrad.convert.cluster import ClusterWorkers
from fastrad.convert.journal import Chunk
from fastrad.errors import FastradError
from fastrad.system.processes import WorkerPool, uninterrupted

_POLL_SECONDS = 0.5
_MAX_DEATHS = 20
POISON_REASON = "a worker died twice at this file (out of memory, or its decoder crashed)"
_PRELOAD = ["fastrad.system.fork_server", "fastrad.convert.chunk", "fastrad.imaging.png", "fastrad.dataset.sketches"]
_SIGNAL_SECONDS = 0.3  # what ends the fork server ends this process too, a moment later


def start_early() -> None:
    """Begin to start what worker processes are forked from, so that it is there when the work is planned."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    with uninterrupted():
        forkserver.ensure_running()


class LocalWorkers:
    """Worker processes on this machine, started anew after one of them died.

    Parameters
    ----------
    count : int
        Number of processes.
    """

    sync = False  # this process can wait for its disk while the workers go on

    def __init__(self, count: int) -> None:
        self.count = count
        start_early()
        self._others = set(multiprocessing.active_children())
        self._pool: WorkerPool | None = None

    def submit(self, work: Callable, *arguments: Any) -> Future:
        """Like `Executor.submit`."""
        if self._pool is None:
            self._pool = WorkerPool(self.count, "forkserver", begin_worker)
        try:
            return self._pool.submit(work, *arguments)
        except (EOFError, ConnectionError) as error:  # what workers are forked from was ended
            time.sleep(_SIGNAL_SECONDS)
            raise BrokenProcessPool("no worker could be started") from error

    def lost(self, error: BaseException | None) -> bool:
        """Whether all that is in flight is lost with `error`."""
        return isinstance(error, BrokenProcessPool)

    def error(self, future: Future) -> BaseException | None:
        """What a finished chunk failed with."""
        return future.exception()

    def look(self) -> None:
        """Nothing to look after: a worker that is gone fails its chunks."""

    def died(self, error: BaseException) -> bool:
        """Whether `error` means that a worker died; then a new set of them is started on the next `submit`."""
        if not self.lost(error):
            return False
        self.close()
        return True

    def close(self) -> None:
        """End the workers, in the middle of their work if need be."""
        if self._pool is None:
            return
        for process in set(multiprocessing.active_children()) - self._others:
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


class ChunkRunner:
    """Runs chunks and keeps count.

    Parameters
    ----------
    workers : LocalWorkers or ClusterWorkers
    advance : callable
        Called with the number of images done since the last call, and the number of images quarantined in all.
    """

    def __init__(self, workers: LocalWorkers | ClusterWorkers, advance: Callable[[int, int], None]) -> None:
        self._workers = workers
        self._advance = advance
        self._shown = self._done = self._quarantined = 0
        self._deaths = 0
        self._commits: list[Future] = []

    def count_finished(self, chunk: Chunk) -> None:
        """Count a chunk that an earlier run finished."""
        self._finish(chunk)
        self._show([])

    def convert(self, chunks: Iterable[Chunk]) -> None:
        """Convert every chunk that is given.

        Raises
        ------
        FastradError
            If workers keep dying.
        OSError
            If the output cannot be written, for example because the disk is full.
        """
        with ThreadPoolExecutor(1) as self._committer:
            try:
                self._convert_all(iter(chunks))
            except KeyboardInterrupt:
                self._committer.shutdown(wait=False, cancel_futures=True)
                raise
            for commit in self._commits:
                commit.result()

    def _convert_all(self, waiting: Iterator[Chunk]) -> None:
        while True:
            orphans = self._convert_until_death(waiting)
            if orphans is None:
                return
            # A chunk without a mark was not begun: it goes back in line. Each of the others is tried alone, so that
            # a second death says which one it was.
            suspects = [chunk for chunk in orphans if chunk.journal.mark(chunk.number) is not None]
            innocent = [chunk for chunk in orphans if chunk.journal.mark(chunk.number) is None]
            for chunk in suspects:
                self._convert_alone(chunk)
            waiting = _chain(innocent, waiting)

    def _convert_until_death(self, waiting: Iterator[Chunk]) -> list[Chunk] | None:
        orphans: list[Chunk] = []
        for chunk, future in self._run(waiting):
            error = self._workers.error(future)
            if error is None or chunk.journal.record(chunk.number) is not None:
                self._finish(chunk)  # before the commit, which renames what is read here
                self._commits.append(self._committer.submit(chunk.journal.commit, chunk.number))
            elif self._workers.died(error):
                orphans.append(chunk)
            else:
                raise error
        if orphans:
            self._count_death()
            return orphans
        return None

    def _convert_alone(self, chunk: Chunk) -> None:
        journal, index = chunk
        before = journal.mark(index)
        while self._convert_until_death(iter([chunk])) is not None:
            mark = journal.mark(index)
            if mark is not None and mark == before and mark[0] < journal.plan.output.chunk_size(index):
                journal.poison.setdefault(index, {})[mark[0]] = POISON_REASON
            before = mark

    def _count_death(self) -> None:
        self._deaths += 1
        if self._deaths > _MAX_DEATHS:
            raise FastradError(
                f"workers died {self._deaths} times; look for a lack of memory (`dmesg`), use fewer --workers, "
                "and give the same command again to go on"
            )

    def _run(self, waiting: Iterator[Chunk]) -> Iterator[tuple[Chunk, Future]]:
        """Submit chunks, a few ahead of the workers; yield each with its future when it is done.

        After a death everything in flight is yielded, with the error, and nothing new is begun.
        """
        flying: dict[Future, Chunk] = {}
        broken = False
        while True:
            while not broken and len(flying) < 2 * self._workers.count:
                chunk = next(waiting, None)
                if chunk is None:
                    break
                future, broken = self._submit(chunk)
                flying[future] = chunk
            if not flying:
                return
            done, _ = wait(flying, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._show(flying.values())
            if not done:
                self._workers.look()
            for future in done:
                broken = broken or self._workers.lost(self._workers.error(future))
                yield flying.pop(future), future

    def _submit(self, chunk: Chunk) -> tuple[Future, bool]:
        try:
            return self._workers.submit(convert_chunk, chunk.journal.task(chunk.number, self._workers.sync)), False
        except BrokenProcessPool as error:  # a worker died since the last look
            failed: Future = Future()
            failed.set_exception(error)
            return failed, True

    def _finish(self, chunk: Chunk) -> None:
        record = chunk.journal.finished_record(chunk.number)
        self._done += record.stored + len(record.quarantined)
        self._quarantined += len(record.quarantined)

    def _show(self, flying: Iterable[Chunk]) -> None:
        marks = [mark for journal, index in flying if (mark := journal.mark(index)) is not None]
        reached = self._done + sum(position for position, _ in marks)
        if reached > self._shown:
            self._advance(reached - self._shown, self._quarantined + sum(count for _, count in marks))
            self._shown = reached


def _chain(first: list[Chunk], rest: Iterator[Chunk]) -> Iterator[Chunk]:
    yield from first
    yield from rest
