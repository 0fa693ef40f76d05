"""Engine `direct`: samples read where they lie, cropped, resized and flipped in one pass.

From FFCV's file format or from WebDataset shards. FFCV itself is not imported: its page manager, its ring of shared
buffers and its pipeline are what loses, repeats or mixes up samples; the format is what stays.
"""

from __future__ import annotations

import threading

import numpy as np

from fastrad.errors import DamagedSampleError
from fastrad.loading.engines.base import Capabilities, Delivery, Step
from fastrad.loading.engines.threads import ThreadedEngine
from fastrad.loading.kernels import jpeg, resample
from fastrad.loading.samples import BetonSamples, Samples


class DirectEngine(ThreadedEngine):
    """Reads through descriptors; a GPU gets the bytes, which are fewer than floats, and normalises them."""

    capabilities = Capabilities()

    def __init__(self, samples: Samples, delivery: Delivery) -> None:
        super().__init__(filler(samples), samples.frame, delivery)


class RawFiller:
    """Reads a raw file's samples through its descriptor, straight into the batch."""

    def __init__(self, samples: BetonSamples) -> None:
        self._samples = samples

    def announce(self, positions: np.ndarray) -> None:
        """Read ahead where the file is larger than the page cache."""
        self._samples.announce(positions)

    def fill(self, step: Step, pixels: np.ndarray, size: int) -> dict[int, DamagedSampleError]:
        """Write a step's images into `pixels`."""
        samples, file, positions = self._samples, self._samples.file, step.positions
        damaged: dict[int, DamagedSampleError] = {}
        for index in np.flatnonzero(samples.unchecked(positions)):
            try:
                samples.read(int(positions[index]))
            except DamagedSampleError as error:
                damaged[int(index)] = error
        sources, missing = file.offsets[positions].astype(np.int64), np.empty(len(positions), dtype=np.int64)
        if step.parameters is None:
            resample.read(samples.descriptor, sources, file.height * file.width, pixels.ctypes.data, missing)
        else:
            boxes, flips = resample.boxes_and_flips(step.parameters)
            frame = file.height, file.width
            resample.resample(samples.descriptor, sources, *frame, boxes, flips, size, pixels.ctypes.data, missing)
        for index in np.flatnonzero(missing):
            try:
                samples.read(int(positions[index]))  # says what is wrong
                damaged[int(index)] = samples.damaged(int(positions[index]), "a read came short")
            except DamagedSampleError as error:
                damaged[int(index)] = error
        return damaged


class EncodedFiller:
    """Decodes a piece's JPEG or PNG, then crops, resizes and flips them."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._of_thread = threading.local()

    def announce(self, positions: np.ndarray) -> None:
        """Read ahead where the file is larger than the page cache."""
        self._samples.announce(positions)

    def fill(self, step: Step, pixels: np.ndarray, size: int) -> dict[int, DamagedSampleError]:
        """Write a step's images into `pixels`."""
        (height, width), positions = self._samples.frame, step.positions
        area = height * width
        if step.parameters is None:
            return self.decode(positions, pixels)
        decoded = np.empty(len(positions) * area + resample.PADDING, dtype=np.uint8)
        damaged = self.decode(positions, decoded)
        boxes, flips = resample.boxes_and_flips(step.parameters)
        sources = decoded.ctypes.data + np.arange(len(positions), dtype=np.int64) * area
        missing = np.empty(len(positions), dtype=np.int64)
        resample.resample(-1, sources, height, width, boxes, flips, size, pixels.ctypes.data, missing)
        return damaged

    def decode(self, positions: np.ndarray, frames: np.ndarray) -> dict[int, DamagedSampleError]:
        """Decode samples one after another into `frames`; returns which are damaged, by index."""
        samples, (height, width) = self._samples, self._samples.frame
        if not hasattr(self._of_thread, "decode"):
            self._of_thread.decode = jpeg.decoder(samples.encoding)
        damaged: dict[int, DamagedSampleError] = {}
        area = height * width
        for index, position in enumerate(positions):
            frame = frames[index * area : (index + 1) * area].reshape(height, width)
            try:
                reason = self._of_thread.decode(samples.read(int(position)), frame)
                if reason is not None:
                    raise samples.damaged(int(position), reason)
            except DamagedSampleError as error:
                damaged[index] = error
        return damaged


def filler(samples: Samples) -> RawFiller | EncodedFiller:
    """The filler for a file's encoding."""
    return (
        RawFiller(samples)
        if isinstance(samples, BetonSamples) and samples.encoding == "raw"
        else EncodedFiller(samples)
    )
