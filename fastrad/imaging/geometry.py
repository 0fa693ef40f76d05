"""Pixels made square, and an image of any size into a square.

Shrinking averages areas, enlarging is bilinear; along an axis that already has the right length nothing is resampled.
"""

from __future__ import annotations

import cv2
import numpy as np

from fastrad.errors import InputError
from fastrad.imaging.structure import MAX_PIXELS, ImageError

FIT_MODES = ("pad", "squash", "crop")

PIXEL_ASPECTS = ("header", "ignore")
_MOST = 20  # beyond that a spacing is a mistake
_SQUARE = 0.01  # a pixel's sides that differ by less are what rounding made of a square

Content = tuple[int, int, int, int]


def make_square(image: np.ndarray, aspect: float, name: str = "image") -> np.ndarray:
    """An image with square pixels: the axis with the coarser pixels is enlarged linearly, none is shrunk.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) uint8.
    aspect : float
        Height of a pixel over its width; not a number where the file gives several.
    name : str
        Stands for the file in errors.

    Returns
    -------
    numpy.ndarray
        (H * aspect, W) where a pixel is higher than wide, else (H, W / aspect); `image` itself where they are square
        within 1 %.

    Raises
    ------
    ImageError
        If the file gives its pixels several shapes, or one 20 times as long as the other way, or the image would be
        larger than `MAX_PIXELS`.
    """
    if np.isnan(aspect):
        raise ImageError(name, "gives its pixels several shapes: correct its spacing, or use --pixel-aspect ignore")
    if abs(aspect - 1) < _SQUARE or not 0 < aspect < np.inf:
        return image
    height, width = image.shape
    if max(aspect, 1 / aspect) > _MOST or height * width * max(aspect, 1 / aspect) > MAX_PIXELS:
        raise ImageError(name, f"its pixels are {aspect:.3g} times as high as wide: use --pixel-aspect ignore")
    size = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def fit(image: np.ndarray, size: int, mode: str = "pad") -> tuple[np.ndarray, Content]:
    """Fit an image into a square.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) uint8.
    size : int
        The side of the square, in pixels.
    mode : {"pad", "squash", "crop"}
        "pad" keeps the aspect ratio and fills up with black: the longer side becomes `size`, the shorter one is
        rounded to nearest (halves up, at least 1), and the image is centred, an odd pixel of padding going to the
        bottom or right. "squash" stretches each axis on its own. "crop" takes the centred square as large as the
        shorter side (an odd pixel is cut off at the bottom or right).

    Returns
    -------
    stored : numpy.ndarray
        (size, size) uint8, C-contiguous. It is `image` itself where nothing is to be done.
    content : (top, left, height, width)
        Where the image lies in `stored`.

    Raises
    ------
    InputError
        If the mode is unknown, the size is below 1 or the image is not a non-empty (H, W) uint8 array.
    """
    if mode not in FIT_MODES:
        raise InputError(f"fit {mode!r} is unknown; choose one of {', '.join(FIT_MODES)}")
    if size < 1:
        raise InputError(f"size {size} is below 1 pixel")
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"an image must be a non-empty (H, W) uint8 array, not {image.shape} {image.dtype}")
    height, width = image.shape
    if mode == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top : top + side, left : left + side]
    if mode != "pad" or height == width:
        return _resample(image, size, size), (0, 0, size, size)
    longer = max(height, width)
    new_height, new_width = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    stored = np.zeros((size, size), np.uint8)
    stored[top : top + new_height, left : left + new_width] = _resample(image, new_height, new_width)
    return stored, (top, left, new_height, new_width)


def _resample(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize to (height, width): first the axes that shrink, by area; then those that grow, bilinear."""
    shrunk = min(height, image.shape[0]), min(width, image.shape[1])
    if shrunk != image.shape:
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image)
