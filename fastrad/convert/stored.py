"""Stored images against what their source gives when it is converted again: the work of verify's worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from fastrad.convert.images import SourceImages, UnusableImageError
from fastrad.convert.sample import Encoded
from fastrad.dataset.tar.shards import TarSamples


@dataclass(frozen=True)
class BetonImages:
    """Where images lie in a beton: `offsets` and `sizes` in bytes, int64."""

    path: str
    offsets: np.ndarray
    sizes: np.ndarray

    def select(self, positions: np.ndarray) -> BetonImages:
        """Some of the images."""
        return BetonImages(self.path, self.offsets[positions], self.sizes[positions])

    def image_bytes(self, index: int) -> np.ndarray:
        """The stored bytes of one image."""
        return np.fromfile(self.path, np.uint8, int(self.sizes[index]), offset=int(self.offsets[index]))


class Difference(NamedTuple):
    """A row whose image is not what its source gives, or, where not `compared`, whose source cannot be read."""

    row: int
    reason: str
    compared: bool = True


def differing_images(images: SourceImages, stored: BetonImages | TarSamples, kind: str) -> list[Difference]:
    """Convert images again and compare them with the stored ones, of encoding `kind`."""
    found = []
    for index, row in enumerate(images.rows.tolist()):
        try:
            encoded = images.load(index)[1]
        except UnusableImageError as error:
            found.append(Difference(row, f"its source cannot be read any more ({error})", compared=False))
            continue
        if not _same(stored.image_bytes(index), kind, encoded):
            found.append(Difference(row, "its pixels differ from the source's"))
    return found


def _same(stored: np.ndarray, kind: str, encoded: Encoded) -> bool:
    if np.array_equal(stored, encoded.data):
        return True
    if encoded.kind == "raw":
        return False
    # another version of the encoder may give other bytes for the same picture
    now = cv2.imdecode(encoded.data, cv2.IMREAD_GRAYSCALE)
    side = encoded.side, encoded.side
    before = stored.reshape(side) if kind == "raw" else cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
    if before is None or now is None or before.shape != now.shape:
        return False
    return bool(cv2.norm(before, now, cv2.NORM_INF) <= (2 if encoded.kind == "jpeg" else 0))
