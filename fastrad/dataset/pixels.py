"""What "the same image" means, by its decoded pixels and, where they are not at hand, by its fingerprint.

The same image has the same decoded pixels, not the same stored bytes: a PNG and a raw copy of one picture are the same
image. A JPEG is what it decodes to, so it is not the same image as the picture that it was made of. To ask whether a
network has seen an image takes more, as the picture may have another size, window or encoding by then: a fingerprint
is a digest of all values, a hash of 64 bits that stays alike, and a code of 1,024 bits that confirms it.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from fastrad.dataset.base import Dataset

# Of a frame: the digest; and of the whole frame and of what is left without its dark border hash and code, of which
# `sketches` says how many there are. All is 0 for a frame that shows next to nothing: it is no image of anybody.
FINGERPRINT = np.dtype(
    [("digest", "<u8"), ("hash", "<u8", (2,)), ("code", "<u8", (2, 16)), ("sketches", "u1")],
)
_OUTLIERS = 6  # standard deviations from the mean beyond which a value says nothing of the frame's range


def pixel_digest(image: np.ndarray) -> bytes:
    """BLAKE2b-128 of an image's height, width and pixels.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) uint8.
    """
    shape = np.array(image.shape, dtype="<u4").tobytes()
    return hashlib.blake2b(shape + np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


class FingerprintMaker:
    """Takes frames one after another; `table` has their fingerprints.

    Parameters
    ----------
    count : int
        Of frames at most.
    """

    def __init__(self, count: int) -> None:
        from fastrad.dataset.sketches import sketch  # brings numba, which a command that compares nothing can spare

        self._sketch = sketch
        self._table = np.zeros(count, FINGERPRINT)
        self._digests, self._numbers = self._table["digest"], self._table["sketches"]
        self._hashes, self._codes = np.zeros((count, 2), np.uint64), np.zeros((count, 2, 16), np.uint64)
        self._held = np.zeros(1024, np.int32)
        self._used = 0

    def add(self, frame: np.ndarray) -> None:
        """Take a decoded frame, (H, W) of any type: before window, crop and resize, where that is at hand."""
        if not frame.flags.c_contiguous:
            frame = np.ascontiguousarray(frame)
        is_8_bits = frame.dtype == np.uint8
        image = frame if is_8_bits else _in_8_bits(frame)
        if image.shape[1] > len(self._held):
            self._held = np.zeros(image.shape[1], np.int32)
        at = self._used
        data = frame.reshape(-1) if is_8_bits else frame.reshape(-1).view(np.uint8)
        digest, number = self._sketch(data, image, self._held, self._hashes[at], self._codes[at])
        if number:
            self._digests[at], self._numbers[at] = digest, number
        self._used += 1

    @property
    def table(self) -> np.ndarray:
        """(frames,) `FINGERPRINT`, in order."""
        self._table["hash"], self._table["code"] = self._hashes, self._codes
        return self._table[: self._used]


def _in_8_bits(frame: np.ndarray) -> np.ndarray:
    """Another type's values, of which all but outliers become 0 to 255."""
    values = frame.astype(np.float64)
    if frame.dtype.kind == "f":
        finite = np.isfinite(values)
        values[~finite] = values[finite].min() if finite.any() else 0
    low, high, _, _ = cv2.minMaxLoc(values)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(values))
    low, high = max(low, mean - _OUTLIERS * deviation), min(high, mean + _OUTLIERS * deviation)
    if high <= low:
        return np.zeros(frame.shape, np.uint8)
    return np.clip((values - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def stored_digests(dataset: Dataset) -> tuple[list[bytes], np.ndarray]:
    """`pixel_digest` and `FINGERPRINT` of each stored image, in the order of the file.

    Raises
    ------
    DamagedSampleError
        If an image cannot be decoded.
    """
    maker, digests = FingerprintMaker(len(dataset)), []
    for index in range(len(dataset)):
        image = dataset.decode(index)
        digests.append(pixel_digest(image))
        maker.add(image)
    return digests, maker.table
