"""The images of a shard, read from the archive, fitted, and encoded as they are stored. numpy and cv2 only.

In: paths with frames and boxes, and how images are stored. Out: (size, size) uint8 with the rectangle that holds image,
and the bytes to store; or the reason why not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np

from fastrad.conversion.sinks import Encoded
from fastrad.errors import InputError
from fastrad.imaging import ImageError, fit, read_gray
from fastrad.storage.writer import encode_jpeg, encode_png

cv2.setNumThreads(1)  # the processes are the parallelism

Box = tuple[int, int, int, int]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# chunks that cannot name a patient: text, EXIF and private ones can
_PIXEL_CHUNKS = {b"IHDR", b"IDAT", b"IEND", b"gAMA", b"pHYs", b"sRGB", b"cHRM"}


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
        "raw", "jpeg" or "png".
    quality : int
        Of the JPEG, 1 to 100.
    window : (float, float) or None
        Stored values that become black and white.
    pass_png : bool
        Store a source PNG as it is, where its pixels are already what would be stored and it holds nothing but
        pixels.
    """

    size: int = 224
    fit: str = "pad"
    encode: str = "raw"
    quality: int = 90
    window: tuple[float, float] | None = None
    pass_png: bool = False

    def encoded(self, image: np.ndarray) -> np.ndarray:
        """The bytes to store of a fitted image, uint8, one axis."""
        if self.encode == "raw":
            return image.reshape(-1)
        return encode_jpeg(image, self.quality) if self.encode == "jpeg" else encode_png(image)


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
        return f"{self.root}/{self.paths[index]}"

    def stamp(self, index: int) -> tuple[int, int]:
        """Size and time of the last change (ns) of image `index`'s file; (-1, -1) where it is missing."""
        try:
            status = os.stat(self.path(index))
        except OSError:
            return -1, -1
        return status.st_size, status.st_mtime_ns

    def load(self, index: int) -> tuple[np.ndarray, Encoded]:
        """Image `index`: fitted, (size, size) uint8, and encoded.

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
            image, content = fit(gray, options.size, options.fit)
            data = self._own_png(index) if options.pass_png and image is gray else None
            if data is None:
                data = options.encoded(image)
        except ImageError as error:
            if not os.path.isdir(self.root):  # a file server that went away, not a damaged file
                raise InputError(
                    f"{self.root}: the source folder is gone; mount it and give the same command again"
                ) from None
            raise UnusableImageError(error.reason) from None
        except Exception as error:  # one odd file must not end a run of hours
            raise UnusableImageError(f"cannot be converted ({type(error).__name__}: {error})") from error
        return image, Encoded(data, options.encode, options.size, content)

    def _own_png(self, index: int) -> np.ndarray | None:
        """The file itself, where it is an 8-bit gray PNG that holds nothing but pixels; else None."""
        if self.boxes[index] is not None or self.options.window is not None:
            return None
        with open(self.path(index), "rb") as file:
            data = file.read()
        if not data.startswith(_PNG_SIGNATURE) or data[24:26] != b"\x08\x00":  # depth 8, gray
            return None
        kinds, position = set(), len(_PNG_SIGNATURE)
        while position + 8 <= len(data):
            kinds.add(data[position + 4 : position + 8])
            position += 12 + int.from_bytes(data[position : position + 4], "big")
        return np.frombuffer(data, np.uint8) if kinds <= _PIXEL_CHUNKS else None


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
            _, encoded = images.load(index)
        except UnusableImageError as error:
            found.append((int(record["f3"]), f"its source cannot be read any more ({error})"))
            continue
        if not _same(stored, encoded):
            found.append((int(record["f3"]), "its pixels differ from the source's"))
    return found


def _same(stored: np.ndarray, encoded: Encoded) -> bool:
    if np.array_equal(stored, encoded.data):
        return True
    if encoded.kind == "raw":
        return False
    # another version of the encoder may give other bytes for the same picture
    before = cv2.imdecode(np.array(stored), cv2.IMREAD_GRAYSCALE)
    now = cv2.imdecode(encoded.data, cv2.IMREAD_GRAYSCALE)
    if before is None or now is None or before.shape != now.shape:
        return False
    return bool(cv2.norm(before, now, cv2.NORM_INF) <= (2 if encoded.kind == "jpeg" else 0))
