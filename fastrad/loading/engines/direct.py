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
    """Decodes a piece's JPEG or PNG, then crops, resizes and flips them.

    Of a JPEG that can be taken apart by rows only a crop's rows are decoded, once the whole of it was.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._of_thread = threading.local()
        self._whole_is_sound = np.zeros(samples.count, dtype=bool)

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
        boxes, flips = resample.boxes_and_flips(step.parameters)
        damaged = self.decode(positions, decoded, boxes)
        sources = decoded.ctypes.data + np.arange(len(positions), dtype=np.int64) * area
        missing = np.empty(len(positions), dtype=np.int64)
        resample.resample(-1, sources, height, width, boxes, flips, size, pixels.ctypes.data, missing)
        return damaged

    def decode(
        self, positions: np.ndarray, frames: np.ndarray, boxes: np.ndarray | None = None
    ) -> dict[int, DamagedSampleError]:
        """Decode samples one after another into `frames`; returns which are damaged, by index.

        With `boxes` (top, left, height, width of each sample's crop) the rows of a frame that its crop does not need
        may be left as they are.
        """
        samples, (height, width) = self._samples, self._samples.frame
        if not hasattr(self._of_thread, "decode"):
            self._of_thread.decode = jpeg.decoder(samples.encoding)
            self._of_thread.part = np.empty(0, dtype=np.uint8)
        decode = self._of_thread.decode
        damaged: dict[int, DamagedSampleError] = {}
        area, wanted = height * width, self._wanted_rows(positions, boxes)
        for index, position in enumerate(positions.tolist()):
            frame = frames[index * area : (index + 1) * area].reshape(height, width)
            try:
                stored = samples.read(position)
                if wanted is not None and (rows := wanted[index]) is not None:
                    stored, frame = self._rows(stored, frame, *rows)
                reason = decode(stored, frame)
                if reason is not None:
                    raise samples.damaged(position, reason)
            except DamagedSampleError as error:
                damaged[index] = error
        sound = np.ones(len(positions), dtype=bool)
        sound[list(damaged)] = False
        self._whole_is_sound[positions[sound]] = True
        return damaged

    def _wanted_rows(self, positions: np.ndarray, boxes: np.ndarray | None) -> list[tuple[int, int] | None] | None:
        """The first and the last row of blocks that each crop needs; None where the frame is to be decoded whole."""
        if boxes is None or self._samples.encoding != "jpeg":
            return None
        first, last = boxes[:, 0] // jpeg.BLOCK, (boxes[:, 0] + boxes[:, 2] - 1) // jpeg.BLOCK
        some = self._whole_is_sound[positions] & ((last - first + 1) * jpeg.BLOCK < self._samples.frame[0])
        rows = zip(first.tolist(), last.tolist(), some.tolist(), strict=True)
        return [(begin, end) if part else None for begin, end, part in rows]

    def _rows(self, stored: np.ndarray, frame: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """A JPEG of these rows of blocks and where they go; the whole one where it has no such parts."""
        if self._of_thread.part.size < stored.size:
            self._of_thread.part = np.empty(stored.size, dtype=np.uint8)
        part = self._of_thread.part
        height, width = frame.shape
        length = jpeg.rows_alone(stored, first, last, height, width, part)
        if length == 0:
            return stored, frame
        return part[:length], frame[first * jpeg.BLOCK : (last + 1) * jpeg.BLOCK]


def filler(samples: Samples) -> RawFiller | EncodedFiller:
    """The filler for a file's encoding."""
    return (
        RawFiller(samples)
        if isinstance(samples, BetonSamples) and samples.encoding == "raw"
        else EncodedFiller(samples)
    )
