"""Frames of an HDF5 file whose dataset `image` is (frames, H, W): read one by one, never the whole.

In: a path and a frame number. Out: (H, W) in the file's own type.
"""

from __future__ import annotations

import math

import h5py
import numpy as np

from fastrad.imaging.structure import MAX_PIXELS, ImageError

DATASET = "image"


def hdf5_frame_count(path: str) -> int:
    """How many frames the dataset `image` holds.

    Raises
    ------
    ImageError
        If the file is damaged or has no such dataset of at least three axes.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return len(_frames_of(file, path))
    except OSError:
        raise ImageError(path, "HDF5 file is damaged or cut short") from None


def read_hdf5_frame(path: str, frame: int) -> np.ndarray:
    """One frame of the dataset `image`.

    Raises
    ------
    ImageError
        If the file is damaged, has no such dataset of at least three axes, or lacks the frame.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            images = _frames_of(file, path)
            if not 0 <= frame < len(images):
                raise ImageError(path, f"has no frame {frame}: it holds {len(images)}, counted from 0")
            if math.prod(images.shape[1:]) > MAX_PIXELS:
                raise ImageError(path, f"a frame of {images.shape[1:]} values is more than {MAX_PIXELS:,}")
            pixels = np.squeeze(images[frame])
    except OSError:
        raise ImageError(path, "HDF5 file is damaged or cut short") from None
    if pixels.ndim != 2:
        raise ImageError(path, f"a frame of shape {pixels.shape} is not one gray image")
    return pixels


def _frames_of(file: h5py.File, path: str) -> h5py.Dataset:
    images = file.get(DATASET)
    if not isinstance(images, h5py.Dataset) or images.ndim < 3:
        raise ImageError(path, f"HDF5 file without a dataset {DATASET} of shape (frames, height, width)")
    return images
