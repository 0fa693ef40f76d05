"""Whether an ultrasound image is colour Doppler: flow is painted over the gray image in saturated colours.

In: an image file. Out: the share of its pixels that are coloured areas. Text and markers are thin and fall out by a
morphological opening; of DICOM only the tissue regions are looked at, which leaves the screen's coloured frame out.
Measured on twelve real files: 4.9 % and more in the three coloured ones, at most 0.3 % in the others.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fastrad.imaging.decode import still_colour
from fastrad.imaging.dicom import decode_colour
from fastrad.imaging.structure import ImageError, is_dicom
from fastrad.system.reading import open_regular

COLOUR_DOPPLER_SHARE = 0.01
_SATURATED = 64  # largest minus smallest of R, G, B
_OPENING = np.ones((3, 3), np.uint8)


def is_colour_doppler(path: Path, *, frame: int = 0) -> bool:
    """Whether at least `COLOUR_DOPPLER_SHARE` of an image is saturated colour.

    Raises
    ------
    ImageError
        If the file can't be read as an image.
    """
    return colour_share(path, frame=frame) >= COLOUR_DOPPLER_SHARE


def colour_share(path: Path, *, frame: int = 0) -> float:
    """Share, 0 to 1, of an image's pixels (of a DICOM frame's tissue regions) that lie in areas of saturated colour.

    Raises
    ------
    ImageError
        If the file can't be read as an image.
    """
    try:
        with open_regular(path) as file:
            if is_dicom(file.read(132)):
                pixels = decode_colour(file, name=str(path), frame=frame)
            else:
                file.seek(0)
                pixels = still_colour(file.read(), str(path))
    except OSError as error:
        raise ImageError(str(path), f"cannot be read ({error.strerror})") from None
    if pixels is None:
        return 0.0
    first, second, third = cv2.split(pixels)
    brightest, darkest = cv2.max(cv2.max(first, second), third), cv2.min(cv2.min(first, second), third)
    saturated = (cv2.subtract(brightest, darkest) > _SATURATED).astype(np.uint8)
    return cv2.countNonZero(cv2.morphologyEx(saturated, cv2.MORPH_OPEN, _OPENING)) / saturated.size
