"""What is stored of an image: how, the bytes, and what is known beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastrad.dataset.beton.writer import encode_jpeg, encode_png


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
        Store the bytes of a source PNG as they are, where its pixels are what would be stored and it holds nothing but
        pixels. It is decoded all the same: that proves it sound and gives mean and standard deviation; what is saved
        is the encoding.
    pixel_aspect : str
        "header" makes pixels square that the file says are not; "ignore" takes them as they are.
    window_from : str
        What `window` was found by: "auto", or the name of a preset.
    """

    size: int = 224
    fit: str = "pad"
    encode: str = "raw"
    quality: int = 90
    window: tuple[float, float] | None = None
    pass_png: bool = False
    pixel_aspect: str = "header"
    window_from: str = ""

    def encoded(self, image: np.ndarray) -> np.ndarray:
        """The bytes to store of a fitted image, uint8, one axis."""
        if self.encode == "raw":
            return image.reshape(-1)
        return encode_jpeg(image, self.quality) if self.encode == "jpeg" else encode_png(image)


class Encoded(NamedTuple):
    """One image as it is stored.

    Attributes
    ----------
    data : numpy.ndarray
        uint8, one axis.
    kind : str
        "raw", "jpeg" or "png".
    side : int
        Of the stored square, pixels.
    content : (top, left, height, width)
        Where it holds image, not padding.
    made_square : bool
        The source's pixels were not square.
    source : numpy.ndarray or None
        (H, W) of any type: the frame before window, crop and resize; None where that is not at hand.
    """

    data: np.ndarray
    kind: str
    side: int
    content: tuple[int, int, int, int]
    made_square: bool = False
    source: np.ndarray | None = None


class Sample(NamedTuple):
    """What is stored beside an image: manifest row, class index and name, patient index and name."""

    row: int
    label: int
    label_name: str
    patient: int
    patient_name: str | None
