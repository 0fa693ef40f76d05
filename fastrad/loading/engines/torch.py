"""Engine `torch`: the plain reference, one sample after another, with torch's own operations and no thread.

It says what the pixels of a batch should be; the other engines are compared with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import torch
from torch.nn import functional

from fastrad.errors import DamagedSampleError
from fastrad.loading.engines.base import Capabilities, Delivery, Images, Step, as_images
from fastrad.loading.policy import Parameters
from fastrad.loading.samples import Samples


@cache
def _use_one_thread_after_a_fork() -> None:
    # the threads of torch's OpenMP do not survive a fork: an operation that asks for them would wait for ever
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class TorchEngine:
    """Reads, crops, resizes and flips by `torch.nn.functional.interpolate`."""

    capabilities = Capabilities()

    def __init__(self, samples: Samples, delivery: Delivery) -> None:
        _use_one_thread_after_a_fork()
        self._samples, self._delivery = samples, delivery
        self.waited = 0.0

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step."""
        for step in steps:
            began = time.monotonic()
            images, kept = [], np.ones(len(step.positions), dtype=bool)
            for index, position in enumerate(step.positions):
                try:
                    frame = self._decode(int(position))
                except DamagedSampleError:
                    if not self._delivery.skip_damaged:
                        raise
                    kept[index] = False
                    continue
                images.append(frame if step.parameters is None else _resample(frame, step.parameters, index, size))
            shape = self._samples.frame if step.parameters is None else (size, size)
            # rounding the batch at once: a parallel operation a sample would wait for torch's threads each time
            pixels = (torch.stack(images) if images else torch.empty((0, *shape))).round().clamp(0, 255).to(torch.uint8)
            if self._delivery.dtype != torch.uint8:
                pixels = self._delivery.table[pixels.long()]
            self.waited += time.monotonic() - began
            yield Images(as_images(pixels.to(self._delivery.device)), kept)

    def _decode(self, position: int) -> torch.Tensor:
        """One stored frame as float32 gray levels, shape (height, width)."""
        stored = self._samples.read(position)
        if self._samples.encoding == "raw":
            return torch.from_numpy(stored.reshape(self._samples.frame).astype(np.float32))
        image = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != self._samples.frame:
            raise self._samples.damaged(position, "it cannot be decoded to the size of the file")
        return torch.from_numpy(image.astype(np.float32))


def _resample(frame: torch.Tensor, parameters: Parameters, index: int, size: int) -> torch.Tensor:
    top, left = int(parameters.top[index]), int(parameters.left[index])
    crop = frame[top : top + int(parameters.height[index]), left : left + int(parameters.width[index])]
    if crop.shape != (size, size):
        crop = functional.interpolate(crop[None, None], (size, size), mode="bilinear", align_corners=False)[0, 0]
    axes = [axis for axis, flags in ((1, parameters.flip_horizontal), (0, parameters.flip_vertical)) if flags[index]]
    return crop.flip(axes)
