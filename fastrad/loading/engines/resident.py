"""Engine `resident`: the whole selection as uint8 in memory, on the GPU where the batches go there.

Filled once, at the speed of the disk. On a GPU a batch is a gather by index, and cropping and augmentation follow
there; on the CPU the same threads and the same pass as engine `direct` work from memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import torch

from fastrad.errors import DamagedSampleError, InputError
from fastrad.loading.engines import direct
from fastrad.loading.engines.base import ON_CPU, Capabilities, Delivery, Images, Step, as_images
from fastrad.loading.engines.threads import ThreadedEngine
from fastrad.loading.kernels import resample
from fastrad.loading.samples import Samples
from fastrad.system.devices import send
from fastrad.system.memory import available_memory
from fastrad.system.progress import track

_CHUNK_BYTES = 32 << 20  # read and sent at once


def needed_bytes(samples: int, height: int, width: int) -> int:
    """What the frames of so many samples take in memory."""
    return samples * height * width + resample.PADDING


def free_bytes(device: torch.device) -> int:
    """What the device has left: of GPU memory, or of host memory that can be had without swapping."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
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

    capabilities = Capabilities(geometry=ON_CPU)

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
        self._filled = False
        self._damaged: dict[int, DamagedSampleError] = {}
        self._threads = None if delivery.device.type == "cuda" else ThreadedEngine(self, self._frame, delivery)

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step; the first call fills the memory."""
        if not self._filled:
            self._fill_memory()
            self._filled = True
        return self._gather(steps) if self._threads is None else self._threads.run(steps, size)

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

    def _gather(self, steps: Iterator[Step]) -> Iterator[Images]:
        frames = self._memory[: len(self._held) * self._frame[0] * self._frame[1]].view(-1, *self._frame)
        for step in steps:
            damaged = self._damage_among(step.positions)
            kept = np.ones(len(step.positions), dtype=bool)
            kept[list(damaged)] = False
            chosen = frames.index_select(0, send(np.searchsorted(self._held, step.positions[kept]), frames.device))
            yield Images(as_images(chosen), kept)

    def _fill_memory(self) -> None:
        """Read, compare and decode every held sample."""
        area, memory = self._frame[0] * self._frame[1], self._memory
        chunk = max(1, _CHUNK_BYTES // area)
        source = direct.filler(self._samples)

        def load(start: int) -> tuple[int, dict[int, DamagedSampleError]]:
            positions = self._held[start : start + chunk]
            target = memory[start * area : (start + len(positions)) * area]
            host = target if target.device.type == "cpu" else torch.empty(len(target), dtype=torch.uint8).pin_memory()
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
