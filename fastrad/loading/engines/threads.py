"""Batches filled by plain threads ahead of the caller: what the engines that work on the CPU share.

In: steps, and a `Filler` that knows where pixels come from. Out: images, each batch in memory of its own. A batch is
cut into pieces, so that all threads work on the batch that is waited for; the pieces run in compiled code without the
GIL. The threads live as long as an iteration: none is left behind by a fork, an early `break` or an error.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

import numpy as np
import torch

from fastrad.errors import DamagedSampleError
from fastrad.loading.engines.base import Delivery, Images, Step, as_images
from fastrad.loading.engines.buffers import BufferPool, PinnedStaging
from fastrad.loading.kernels import resample
from fastrad.system.devices import send

_AHEAD = 3  # batches in the making behind the one that is waited for
_PIECES_PER_WORKER = 2  # so that a late thread leaves little to wait for
_SMALLEST_PIECE = 4


@dataclass
class _Job:
    """One batch in the making."""

    step: Step
    shape: tuple[int, int]
    buffer: torch.Tensor  # bytes of the whole batch
    kept: np.ndarray
    pieces: int
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def finish_piece(self, error: BaseException | None) -> None:
        with self.lock:
            self.error = self.error or error
            self.pieces -= 1
            if self.pieces == 0:
                self.done.set()


class Filler(Protocol):
    """Where the pixels of a `ThreadedEngine` come from; used by several threads at once."""

    def announce(self, positions: np.ndarray) -> None:
        """Say which samples will be asked for soon."""

    def fill(self, step: Step, pixels: np.ndarray, size: int) -> dict[int, DamagedSampleError]:
        """Write a step's images one after another into `pixels` (uint8), size x size, or the stored frames as they are.

        Returns which of them are damaged, by their index in the step.
        """


class ThreadedEngine:
    """Runs a filler on `delivery.workers` threads.

    Parameters
    ----------
    filler : Filler
        Writes pixels.
    frame : tuple of two int
        Height and width of the stored frames.
    delivery : Delivery
        How the images are handed over.
    """

    def __init__(self, filler: Filler, frame: tuple[int, int], delivery: Delivery) -> None:
        self._filler, self._frame, self._delivery = filler, frame, delivery
        # all that an epoch lends at once: in the making, ready, and two with the caller; a fresh one costs page faults
        self._pool = BufferPool(keep=_AHEAD + 5)
        self._staging = PinnedStaging(delivery.device) if delivery.device.type == "cuda" else None
        self.waited = 0.0

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step; closing the iterator stops its threads."""
        tasks: SimpleQueue[tuple[_Job, slice] | None] = SimpleQueue()
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._work, args=(tasks, stop), name=f"fastrad-loader-{index}", daemon=True)
            for index in range(self._delivery.workers)
        ]
        jobs: deque[_Job] = deque()
        try:
            for thread in threads:
                thread.start()
            exhausted = False
            sent: deque[tuple] = deque()
            while True:
                while not exhausted and len(jobs) <= _AHEAD:
                    step = next(steps, None)
                    if step is None:
                        exhausted = True
                    else:
                        jobs.append(self._submit(step, size, tasks))
                # the copy to the GPU of a batch that is ready starts before the one before it is asked for
                while jobs and len(sent) < 2 and (not sent or jobs[0].done.is_set()):
                    sent.append(self._send(jobs.popleft()))
                if not sent:
                    return
                yield self._receive(*sent.popleft())
        finally:
            stop.set()
            for _ in threads:
                tasks.put(None)
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _submit(self, step: Step, size: int, tasks: SimpleQueue) -> _Job:
        count = len(step.positions)
        shape = self._frame if step.parameters is None else (size, size)
        total = count * shape[0] * shape[1] * self._delivery.dtype.itemsize
        self._filler.announce(step.positions)
        buffer = self._staging.take(total) if self._staging else torch.from_numpy(self._pool.take(total))
        piece = max(_SMALLEST_PIECE, -(-count // (_PIECES_PER_WORKER * self._delivery.workers)))
        starts = range(0, count, piece)
        job = _Job(step, shape, buffer, np.ones(count, dtype=bool), len(starts))
        if not starts:
            job.done.set()
        for start in starts:
            tasks.put((job, slice(start, min(start + piece, count))))
        return job

    def _send(self, job: _Job) -> tuple:
        began = time.monotonic()
        job.done.wait()
        self.waited += time.monotonic() - began
        if job.error is not None:
            raise job.error
        if self._staging:
            return job, *self._staging.send(job.buffer)
        return job, job.buffer, None

    def _receive(self, job: _Job, buffer: torch.Tensor, event: torch.cuda.Event | None) -> Images:
        if self._staging and event is not None:
            buffer = self._staging.receive(buffer, event)
        images = as_images(buffer.view(self._delivery.dtype).view(-1, *job.shape))
        if job.kept.all():
            return Images(images, None)
        chosen = send(np.flatnonzero(job.kept), images.device)
        return Images(as_images(images.permute(0, 2, 3, 1).squeeze(-1)[chosen]), job.kept)

    def _work(self, tasks: SimpleQueue, stop: threading.Event) -> None:
        while (task := tasks.get()) is not None:
            job, piece = task
            error: BaseException | None = None
            if not stop.is_set():
                try:
                    self._fill(job, piece)
                except BaseException as caught:  # whatever it is, the caller gets it
                    error = caught
            job.finish_piece(error)
            os.sched_yield()  # where the workers fill all cores, the caller would wait for milliseconds to be scheduled

    def _fill(self, job: _Job, piece: slice) -> None:
        """Make the images of one piece, normalised where floats were asked for."""
        height, width = job.shape
        itemsize = self._delivery.dtype.itemsize
        count = piece.stop - piece.start
        target = job.buffer[piece.start * height * width * itemsize : piece.stop * height * width * itemsize]
        pixels = target if itemsize == 1 else torch.empty(count * height * width, dtype=torch.uint8)
        parameters = None if job.step.parameters is None else job.step.parameters[piece]
        damaged = self._filler.fill(Step(job.step.positions[piece], parameters), pixels.numpy(), width)
        for index, error in damaged.items():
            if not self._delivery.skip_damaged:
                raise error
            job.kept[piece.start + index] = False
        if itemsize > 1:
            bits = torch.uint16 if itemsize == 2 else torch.uint32
            resample.look_up(pixels.numpy(), self._delivery.table.view(bits).numpy(), target.view(bits).numpy())
