"""The images of a shard, read from the archive, fitted, and encoded as they are stored. numpy and cv2 only.

In: paths with frames and boxes, and how images are stored. Out: (size, size) uint8 with the rectangle that holds image,
and the bytes to store; or the reason why not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np

from fastrad.errors import InputError
from fastrad.imaging import ImageError, fit, read_gray
from fastrad.storage.writer import encode_jpeg

cv2.setNumThreads(1)  # the processes are the parallelism

Box = tuple[int, int, int, int]


class UnusableImageError(Exception):
    """An image cannot be converted; `str(error)` is the reason, without the path."""


@dataclass(frozen=True)
class ImageOptions:
    """How an image is stored.

    Attributes
    ----------
    size : int
        Side of the stored square, pixels.
    fit : str
        "pad", "squash" or "crop".
    encode : str
        "raw" or "jpeg".
    quality : int
        Of the JPEG, 1 to 100.
    window : (float, float) or None
        Stored values that become black and white.
    """

    size: int = 224
    fit: str = "pad"
    encode: str = "raw"
    quality: int = 90
    window: tuple[float, float] | None = None

    def encoded(self, image: np.ndarray) -> np.ndarray:
        """The bytes to store of a fitted image, uint8, one axis."""
        return image.reshape(-1) if self.encode == "raw" else encode_jpeg(image, self.quality)


@dataclass(frozen=True)
class SourceImages:
    """A stretch of a manifest, as a worker needs it.

    Attributes
    ----------
    root : str
        Folder that `paths` are relative to.
    paths : list of str
    frames : list of int
    boxes : list of (left, top, right, bottom) or None
    options : ImageOptions
    """

    root: str
    paths: list[str]
    frames: list[int]
    boxes: list[Box | None]
    options: ImageOptions

    def path(self, index: int) -> str:
        """Where image `index` is."""
        return os.path.join(self.root, self.paths[index])

    def stamp(self, index: int) -> tuple[int, int]:
        """Size and time of the last change (ns) of image `index`'s file; (-1, -1) where it is missing."""
        try:
            status = os.stat(self.path(index))
        except OSError:
            return -1, -1
        return status.st_size, status.st_mtime_ns

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image `index`, fitted, (size, size) uint8; and the view of it that holds image, not padding.

        Raises
        ------
        UnusableImageError
            If this image is missing, damaged or odd.
        InputError
            If the whole root is gone.
        """
        options = self.options
        try:
            gray = read_gray(
                self.path(index),
                frame=self.frames[index],
                box=self.boxes[index],
                window=options.window,
                within=self.root,
            )
            image, (top, left, height, width) = fit(gray, options.size, options.fit)
        except ImageError as error:
            if not os.path.isdir(self.root):  # a file server that went away, not a damaged file
                raise InputError(
                    f"{self.root}: the source folder is gone; mount it and give the same command again"
                ) from None
            raise UnusableImageError(error.reason) from None
        except Exception as error:  # one odd file must not end a run of hours
            raise UnusableImageError(f"cannot be converted ({type(error).__name__}: {error})") from error
        return image, image[top : top + height, left : left + width]


def differing_images(images: SourceImages, dataset: str, metadata: np.ndarray) -> list[tuple[int, str]]:
    """Convert images again and compare them with what `dataset` stores: (row, reason) of each that differs.

    `metadata` are the records of the images, in their order.
    """
    data = np.memmap(dataset, dtype=np.uint8, mode="r")
    found = []
    for index, record in enumerate(metadata):
        start = int(record["f0"]["data_ptr"])
        stored = data[start : start + int(record["f0"]["size"])]
        try:
            image, _ = images.load(index)
        except UnusableImageError as error:
            found.append((int(record["f3"]), f"its source cannot be read any more ({error})"))
            continue
        if not _same(stored, image, images.options):
            found.append((int(record["f3"]), "its pixels differ from the source's"))
    return found


def _same(stored: np.ndarray, image: np.ndarray, options: ImageOptions) -> bool:
    encoded = options.encoded(image)
    if np.array_equal(stored, encoded):
        return True
    if options.encode == "raw":
        return False
    # another version of the encoder may give other bytes for the same picture
    before = cv2.imdecode(np.array(stored), cv2.IMREAD_GRAYSCALE)
    now = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    if before is None or now is None or before.shape != now.shape:
        return False
    return bool(cv2.norm(before, now, cv2.NORM_INF) <= 2)
