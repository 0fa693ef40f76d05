"""Engine `resident`: the whole selection as uint8 in memory, on the GPU where the batches go there.

Filled once, at the speed of the disk. On a GPU one kernel makes a batch from the bytes that lie there
(`kernels/fused`), or, where Triton does not work, a gather by index and torch's own operations; on the CPU the same
threads and the same pass as engine `direct` work from memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from fastrad.errors import DamagedSampleError, InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading.augment import augment_batch
from fastrad.loading.engines import direct
from fastrad.loading.engines.base import EVERYWHERE, Capabilities, Delivery, Images, Step, as_images
from fastrad.loading.engines.threads import ThreadedEngine
from fastrad.loading.kernels import resample
from fastrad.loading.policy import Parameters, whole_frame
from fastrad.loading.samples import Samples
from fastrad.system.devices import send
from fastrad.system.memory import available_memory
from fastrad.system.progress import track

Maker = Callable[[torch.Tensor, np.ndarray, Parameters, torch.Tensor, int], torch.Tensor]
_GEOMETRY = ("top", "left", "height", "width", "flip_horizontal", "flip_vertical")
_log = logging.getLogger("fastrad.loading")
_CHUNK_BYTES = 32 << 20  # read and sent at once


def needed_bytes(samples: int, height: int, width: int) -> int:
    """What the frames of so many samples take in memory."""
    return samples * height * width + resample.PADDING


def free_bytes(device: torch.device) -> int:
    """What the device has left: of GPU memory, or of host memory that can be had without swapping.

    What torch holds of a GPU's memory without using it counts as free: torch gives it back when it is asked for more.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    return available_memory()


class ResidentEngine:
    """Holds frames on the delivery's device.

    Parameters
    ----------
    samples : Samples
        The file.
    delivery : Delivery
        How the images are handed over; only its selection is held.

    Raises
    ------
    InputError
        If they do not fit.
    """

    capabilities = Capabilities(normalisation=EVERYWHERE)

    def __init__(self, samples: Samples, delivery: Delivery) -> None:
        self._samples, self._delivery = samples, delivery
        self._held = np.unique(delivery.selection)  # also the order of the file: filling reads from front to back
        self._frame = samples.frame
        needed, free = needed_bytes(len(self._held), *self._frame), free_bytes(delivery.device)
        if needed > free:
            raise InputError(
                f"{samples.path}: engine 'resident' needs {needed:,} bytes on {delivery.device}, {free:,} are free; "
                "use engine='direct', or fewer indices"
            )
        # taken at once: the next loader sees what is left, and not the same free bytes again
        self._memory = torch.empty(needed, dtype=torch.uint8, device=delivery.device)
        self._filled, self._filling = False, 0.0
        self._damaged: dict[int, DamagedSampleError] = {}
        self._threads = None if delivery.device.type == "cuda" else ThreadedEngine(self, self._frame, delivery)
        self._table = delivery.table.to(delivery.device)

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step; the first call fills the memory."""
        if not self._filled:
            began = time.monotonic()
            self._fill_memory()
            self._filled, self._filling = True, time.monotonic() - began
        return self._on_gpu(steps, size) if self._threads is None else self._threads.run(steps, size)

    @property
    def waited(self) -> float:
        """Seconds that the memory took to be filled, and on the CPU the waits for the threads."""
        return self._filling + (0.0 if self._threads is None else self._threads.waited)

    def announce(self, positions: np.ndarray) -> None:
        """Nothing to read ahead: the samples are in memory."""

    def fill(self, step: Step, pixels: np.ndarray, size: int) -> dict[int, DamagedSampleError]:
        """Write a step's images into `pixels`, on the CPU."""
        area = self._frame[0] * self._frame[1]
        sources = self._memory.data_ptr() + np.searchsorted(self._held, step.positions) * area
        if step.parameters is None:
            resample.copy(sources, area, pixels.ctypes.data)
        else:
            boxes, flips = resample.boxes_and_flips(step.parameters)
            missing = np.empty(len(sources), dtype=np.int64)
            resample.resample(-1, sources, *self._frame, boxes, flips, size, pixels.ctypes.data, missing)
        return self._damage_among(step.positions)

    def _damage_among(self, positions: np.ndarray) -> dict[int, DamagedSampleError]:
        if not self._damaged:
            return {}
        return {i: self._damaged[int(p)] for i, p in enumerate(positions) if int(p) in self._damaged}

    def _on_gpu(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        frames = self._memory[: len(self._held) * self._frame[0] * self._frame[1]].view(-1, *self._frame)
        make = _maker(frames.device)
        for step in steps:
            damaged = self._damage_among(step.positions)
            positions, parameters, kept = step.positions, step.parameters, None
            if damaged:
                kept = np.ones(len(positions), dtype=bool)
                kept[list(damaged)] = False
                positions, parameters = positions[kept], None if parameters is None else parameters[kept]
            places = np.searchsorted(self._held, positions)
            if parameters is None and self._delivery.dtype == torch.uint8:
                pixels = frames.index_select(0, send(places, frames.device))
            elif parameters is None:  # whole frames, of the size that is asked for
                pixels = make(frames, places, whole_frame(len(places), *self._frame), self._table, self._frame[0])
            else:
                pixels = make(frames, places, parameters, self._table, size)
            yield Images(as_images(pixels), kept)

    def _fill_memory(self) -> None:
        """Read, compare and decode every held sample."""
        area, memory = self._frame[0] * self._frame[1], self._memory
        chunk = max(1, _CHUNK_BYTES // area)
        source = direct.filler(self._samples)

        def load(start: int) -> tuple[int, dict[int, DamagedSampleError]]:
            positions = self._held[start : start + chunk]
            target = memory[start * area : (start + len(positions)) * area]
            host = target if target.device.type == "cpu" else _pinned(len(target))
            damaged = source.fill(Step(positions, None), host.numpy(), self._frame[1])
            if host is not target:
                target.copy_(host)
            return len(positions), {int(positions[index]): error for index, error in damaged.items()}

        with (
            track(f"loading {self._samples.path.name} into memory", len(self._held)) as progress,
            ThreadPoolExecutor(self._delivery.workers, "fastrad-resident") as pool,
        ):
            try:
                for future in as_completed([pool.submit(load, s) for s in range(0, len(self._held), chunk)]):
                    count, damaged = future.result()
                    if damaged and not self._delivery.skip_damaged:
                        raise damaged[min(damaged)]
                    self._damaged.update(damaged)
                    progress.advance(count)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _pinned(count: int) -> torch.Tensor:
    return torch.empty(count, dtype=torch.uint8, pin_memory=True)


@cache
def _maker(device: torch.device) -> Maker:
    """How batches are made on a GPU: by the kernel, or, with a word in the log, by torch's operations."""
    try:
        from fastrad.loading.kernels import fused

        reason = fused.why_not(device)
    except Exception as error:  # Triton is absent, or fails at its import in a way of its own
        reason = f"{type(error).__name__}: {error}"
    if not reason:
        return _by_kernel
    _log.warning("engine resident on %s: no Triton kernel (%s); torch's own operations take its place", device, reason)
    return _by_operations


def _by_kernel(
    frames: torch.Tensor, places: np.ndarray, parameters: Parameters, table: torch.Tensor, size: int
) -> torch.Tensor:
    from fastrad.loading.kernels import fused

    return fused.resample_frames(frames, send(fused.plan_of(places, parameters), frames.device), table, size)


def _by_operations(
    frames: torch.Tensor, places: np.ndarray, parameters: Parameters, table: torch.Tensor, size: int
) -> torch.Tensor:
    """The same with torch's operations: at most one gray level apart."""
    chosen = as_images(frames.index_select(0, send(places, frames.device)))
    geometry = replace(whole_frame(len(places), size, size), **{name: getattr(parameters, name) for name in _GEOMETRY})
    pixels = augment_batch(chosen, geometry, size, Normalisation.gray(0, 1), torch.uint8)[:, 0]
    if table.dtype == torch.uint8:
        return pixels
    return table.index_select(0, pixels.reshape(-1).int()).view(pixels.shape)
