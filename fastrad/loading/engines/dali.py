"""Engine `dali`: NVIDIA DALI decodes, crops, resizes, flips and normalises; on the GPU where the batches go there.

Its images are taken over without a copy, on torch's stream. DALI gets the stored bytes in our order and our crop boxes
and flips as arguments, so that its batches are the other engines' batches; a thread of ours reads and checks them ahead
of it. The same graph runs on the CPU.
"""

# mypy: disable-error-code="attr-defined,assignment"
# (DALI makes its type names when it is loaded)

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from queue import Empty, Queue
from typing import Any, NamedTuple

import numpy as np
import torch

from fastrad.errors import DamagedSampleError, MissingDependencyError
from fastrad.loading.engines.base import EVERYWHERE, Capabilities, Delivery, Images, Step
from fastrad.loading.kernels import jpeg
from fastrad.loading.samples import Samples

_AHEAD = 2  # batches that DALI works on while one is waited for
# pipelines that a fork took over: their threads stayed in the parent, and destroying one would wait for them; nor may
# one be collected that nobody holds any more (a pipeline and its engine hold each other)
_pipelines: weakref.WeakSet[Any] = weakref.WeakSet()
_of_the_parent: list[Any] = []


@cache
def _keep_pipelines_over_a_fork() -> None:
    os.register_at_fork(after_in_child=lambda: _of_the_parent.extend(_pipelines))


class _Fed(NamedTuple):
    """One step's samples as they were handed to DALI."""

    positions: np.ndarray
    kept: np.ndarray


class DaliEngine:
    """Runs one DALI pipeline, built again where the output size changes.

    Parameters
    ----------
    samples : Samples
        The file; it is read in this process and its checksums are compared here.
    delivery : Delivery
        How the images are handed over.

    Raises
    ------
    MissingDependencyError
        If DALI is not installed.
    """

    capabilities = Capabilities(normalisation=EVERYWHERE)

    def __init__(self, samples: Samples, delivery: Delivery) -> None:
        try:
            import nvidia.dali  # noqa: F401
        except ImportError:
            raise MissingDependencyError(
                "NVIDIA DALI", "engine 'dali'", "pip install 'fastrad[dali]' (or nvidia-dali-cuda130 for CUDA 13)"
            ) from None
        _keep_pipelines_over_a_fork()
        self._samples, self._delivery = samples, delivery
        self._pipeline: Any = None
        self._made_for: tuple[int | None, int] | None = None
        self._feed: Iterator[tuple] = iter(())
        self.waited = 0.0

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step.

        An image that DALI cannot decode raises, also where damaged samples are to be skipped: DALI then gives up the
        whole batch. Checksums, which come first, leave nothing for this to happen to.
        """
        fed: deque[_Fed] = deque()
        errors: list[BaseException] = []
        copies = None
        finished = False
        pipeline = None
        reader = None
        try:
            while True:
                if pipeline is None:  # the first step says whether frames are copied or cropped
                    first = next(steps, None)
                    if first is None:
                        finished = True
                        return
                    copies = first.parameters is None
                    reader = _Reader(self._batches_to_feed(_chain(first, steps), fed, errors), errors)
                    self._feed = reader.batches()
                    pipeline = self._ready(None if copies else size)
                began = time.monotonic()
                try:
                    output, *shapes = pipeline.run(*self._stream())
                    if any((np.asarray(each.as_tensor())[:, :2] != self._samples.frame).any() for each in shapes):
                        raise RuntimeError("an image is not of the file's size")
                except StopIteration:
                    break
                except RuntimeError as error:
                    raise self._culprit(fed.copy(), error) from error
                self.waited += time.monotonic() - began
                while not fed[0].kept.any():
                    yield self._empty(fed.popleft(), copies, size)
                images = torch.from_dlpack(output.as_tensor()).permute(0, 3, 1, 2)
                yield Images(images.to(self._delivery.dtype), fed.popleft().kept)
            while fed:
                yield self._empty(fed.popleft(), copies, size)
            finished = True
            if errors:
                raise errors[0]
        finally:
            if reader is not None:
                reader.stop()
            if finished and pipeline is not None:
                pipeline.reset()
            elif not finished:
                self._pipeline = None  # it still holds batches of this epoch

    def _stream(self) -> tuple[Any, ...]:
        """What `Pipeline.run` is given: torch's stream, so that neither it nor the host waits for the images."""
        device = self._delivery.device
        return (torch.cuda.current_stream(device),) if device.type == "cuda" else ()

    def _ready(self, size: int | None) -> Any:
        """The pipeline for an output size (None: the stored frames as they are), of this process."""
        if self._pipeline is None or self._made_for != (size, os.getpid()):
            self._pipeline, self._made_for = self._build(size), (size, os.getpid())
        return self._pipeline

    def _build(self, size: int | None) -> Any:
        from nvidia.dali import Pipeline, fn, types

        delivery, encoding = self._delivery, self._samples.encoding
        on_gpu = delivery.device.type == "cuda"
        device_id = None
        if on_gpu:
            device_id = torch.cuda.current_device() if delivery.device.index is None else delivery.device.index
        pipeline = Pipeline(
            delivery.batch_size, delivery.workers, device_id, prefetch_queue_depth=_AHEAD, exec_dynamic=True
        )
        with pipeline:
            layouts = ["HWC" if encoding == "raw" else ""] + [""] * (0 if size is None else 4)
            stored, *geometry = fn.external_source(
                lambda: next(self._feed)[: len(layouts)], num_outputs=len(layouts), layout=layouts
            )
            decoded = []
            if encoding != "raw":
                images = fn.decoders.image(stored, device="mixed" if on_gpu else "cpu", output_type=types.GRAY)
                decoded = [images.shape()]  # a file that lies about its size would be cropped somewhere else
            else:
                images = stored.gpu() if on_gpu else stored
            if size is not None:
                anchor, shape, horizontal, vertical = geometry
                images = fn.slice(images, anchor, shape, axes=[0, 1], normalized_anchor=False, normalized_shape=False)
                images = fn.resize(images, size=[size, size], interp_type=types.INTERP_LINEAR, antialias=False)
                if delivery.dtype == torch.uint8:
                    images = fn.flip(images, horizontal=horizontal, vertical=vertical)
                else:
                    images = fn.flip(images, horizontal=0, vertical=vertical)
            if delivery.dtype != torch.uint8:
                mean, std = self._mean_and_std()
                half = delivery.dtype == torch.float16
                images = fn.crop_mirror_normalize(
                    images,
                    mirror=0 if size is None else horizontal,
                    mean=[255 * mean],
                    std=[255 * std],
                    dtype=types.FLOAT16 if half else types.FLOAT,
                    output_layout="HWC",
                )
            pipeline.set_outputs(images, *decoded)
        pipeline.build()
        _pipelines.add(pipeline)
        return pipeline

    def _mean_and_std(self) -> tuple[float, float]:
        card = self._samples.card
        return card.mean, card.std or 1.0

    def _batches_to_feed(
        self, steps: Iterator[Step], fed: deque[_Fed], errors: list[BaseException]
    ) -> Iterator[tuple[Any, ...]]:
        """What DALI asks for, batch after batch; an error ends the feed and is raised once the good batches are out."""
        for step in steps:
            stored, kept = [], np.ones(len(step.positions), dtype=bool)
            try:
                for index, position in enumerate(step.positions):
                    try:
                        stored.append(self._samples.read(int(position)))
                    except DamagedSampleError:
                        if not self._delivery.skip_damaged:
                            raise
                        kept[index] = False
            except BaseException as error:
                errors.append(error)
                return
            fed.append(_Fed(step.positions, kept))
            if not stored:
                continue
            if self._samples.encoding == "raw":
                stored = [image.reshape(*self._samples.frame, 1) for image in stored]
            p = None if step.parameters is None else step.parameters[kept]
            count = len(stored)
            anchor = np.zeros((count, 2)) if p is None else np.stack([p.top, p.left], axis=1)
            shape = np.ones((count, 2)) if p is None else np.stack([p.height, p.width], axis=1)
            flips = [np.zeros(count)] * 2 if p is None else [p.flip_horizontal, p.flip_vertical]
            yield stored, *(np.asarray(values, dtype=np.int32) for values in (anchor, shape, *flips))

    def _culprit(self, fed: deque[_Fed], error: RuntimeError) -> BaseException:
        """The sample that DALI could not decode; the error itself where every sample decodes."""
        if self._samples.encoding != "raw":
            decode = jpeg.decoder(self._samples.encoding)
            frame = np.empty(self._samples.frame, dtype=np.uint8)
            for batch in fed:
                for position in batch.positions[batch.kept]:
                    reason = decode(self._samples.read(int(position)), frame)
                    if reason is not None:
                        return self._samples.damaged(int(position), reason)
        return error

    def _empty(self, step: _Fed, copies: bool | None, size: int) -> Images:
        height, width = self._samples.frame if copies else (size, size)
        images = torch.empty((0, height, width, 1), dtype=self._delivery.dtype, device=self._delivery.device)
        return Images(images.permute(0, 3, 1, 2), step.kept)


class _Reader:
    """Runs through an iterator on a thread of its own, a few batches ahead of whoever takes them.

    What the iterator raises is added to `errors`.
    """

    def __init__(self, batches: Iterator[tuple[Any, ...]], errors: list[BaseException]) -> None:
        self._errors = errors
        self._queue: Queue[tuple[Any, ...] | None] = Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(batches,), name="fastrad-dali-reader", daemon=True)
        self._thread.start()

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """One batch after another, to the end."""
        while (batch := self._queue.get()) is not None:
            yield batch

    def stop(self) -> None:
        """End the thread, wherever it is."""
        self._stopped.set()
        while self._thread.is_alive():
            with suppress(Empty):
                self._queue.get_nowait()
            self._thread.join(0.005)

    def _read(self, batches: Iterator[tuple[Any, ...]]) -> None:
        try:
            for batch in batches:
                self._queue.put(batch)
                if self._stopped.is_set():
                    break
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._queue.put(None)


def _chain(first: Step, rest: Iterator[Step]) -> Iterator[Step]:
    yield first
    yield from rest
