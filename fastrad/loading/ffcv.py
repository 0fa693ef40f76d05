"""Engine `ffcv`: FFCV's file format, read by plain threads over compiled code that holds no GIL.

In: steps. Out: images. Each batch is cut into pieces; a thread reads, crops, resizes and flips a piece in one pass,
straight into the batch's own memory. FFCV itself is not imported: its page manager, its ring of shared
buffers and its pipeline are what loses, repeats or mixes up samples.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import torch

from fastrad.errors import DamagedSampleError
from fastrad.loading import jpeg, resample
from fastrad.loading.buffers import BufferPool, PinnedStaging
from fastrad.loading.engine import Delivery, Images, Samples, Step, as_images

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


class FfcvEngine:
    """Fills batches from a `.beton` file, raw or JPEG, ahead of the caller."""

    def __init__(self, samples: Samples, delivery: Delivery) -> None:
        self._samples, self._delivery = samples, delivery
        self._pool = BufferPool(keep=_AHEAD + 2)
        self._staging = PinnedStaging(delivery.device) if delivery.device.type == "cuda" else None

    def __getstate__(self) -> None:
        raise TypeError("an engine holds threads and memory: send the Loader instead")

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
        file, count = self._samples.file, len(step.positions)
        shape = (file.height, file.width) if step.parameters is None else (size, size)
        total = count * shape[0] * shape[1] * self._delivery.dtype.itemsize
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
        job.done.wait()
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
        chosen = torch.from_numpy(np.flatnonzero(job.kept)).to(images.device)
        return Images(as_images(images.permute(0, 2, 3, 1).squeeze(-1)[chosen]), job.kept)

    def _work(self, tasks: SimpleQueue, stop: threading.Event) -> None:
        decode = jpeg.decoder() if self._samples.file.encoding == "jpeg" else None
        while (task := tasks.get()) is not None:
            job, piece = task
            error: BaseException | None = None
            if not stop.is_set():
                try:
                    self._fill(job, piece, decode)
                except BaseException as caught:  # whatever it is, the caller gets it
                    error = caught
            job.finish_piece(error)

    def _fill(self, job: _Job, piece: slice, decode) -> None:
        """Read, crop, resize, flip and normalise the samples of one piece."""
        height, width = job.shape
        positions = job.step.positions[piece]
        itemsize = self._delivery.dtype.itemsize
        target = job.buffer[piece.start * height * width * itemsize : piece.stop * height * width * itemsize]
        pixels = target if itemsize == 1 else torch.empty(len(positions) * height * width, dtype=torch.uint8)
        damaged = (self._fill_raw if decode is None else self._fill_jpeg)(job, piece, positions, pixels.numpy(), decode)
        for index, error in damaged.items():
            if not self._delivery.skip_damaged:
                raise error
            job.kept[piece.start + index] = False
        if itemsize > 1:
            bits = torch.uint16 if itemsize == 2 else torch.uint32
            table, output = self._delivery.table.view(bits).numpy(), target.view(bits).numpy()
            resample.look_up(pixels.numpy(), table, output)

    def _fill_raw(self, job: _Job, piece: slice, positions: np.ndarray, pixels: np.ndarray, _: None) -> dict:
        samples, file = self._samples, self._samples.file
        damaged: dict[int, DamagedSampleError] = {}
        for index in np.flatnonzero(samples.unchecked(positions)):
            try:
                samples.read(int(positions[index]))
            except DamagedSampleError as error:
                damaged[int(index)] = error
        sources, missing = file.offsets[positions].astype(np.int64), np.empty(len(positions), dtype=np.int64)
        if job.step.parameters is None:
            resample.read(samples.descriptor, sources, file.height * file.width, pixels.ctypes.data, missing)
        else:
            boxes, flips = resample.boxes_and_flips(job.step.parameters[piece])
            frame = file.height, file.width
            resample.resample(
                samples.descriptor, sources, *frame, boxes, flips, job.shape[0], pixels.ctypes.data, missing
            )
        for index in np.flatnonzero(missing):
            try:
                samples.read(int(positions[index]))  # says what is wrong
                damaged[int(index)] = samples.damaged(int(positions[index]), "a read came short")
            except DamagedSampleError as error:
                damaged[int(index)] = error
        return damaged

    def _fill_jpeg(self, job: _Job, piece: slice, positions: np.ndarray, pixels: np.ndarray, decode) -> dict:
        samples, file = self._samples, self._samples.file
        area = file.height * file.width
        damaged: dict[int, DamagedSampleError] = {}
        copy_only = job.step.parameters is None
        decoded = pixels if copy_only else np.empty(len(positions) * area + resample.PADDING, dtype=np.uint8)
        for index, position in enumerate(positions):
            try:
                frame = decoded[index * area : (index + 1) * area].reshape(file.height, file.width)
                reason = decode(samples.read(int(position)), frame)
                if reason is not None:
                    raise samples.damaged(int(position), reason)
            except DamagedSampleError as error:
                damaged[index] = error
        if job.step.parameters is not None:
            boxes, flips = resample.boxes_and_flips(job.step.parameters[piece])
            sources = decoded.ctypes.data + np.arange(len(positions), dtype=np.int64) * area
            missing = np.empty(len(positions), dtype=np.int64)
            resample.resample(
                -1, sources, file.height, file.width, boxes, flips, job.shape[0], pixels.ctypes.data, missing
            )
        return damaged
