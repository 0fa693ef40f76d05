"""Frames of an HDF5 file whose dataset `image` is (frames, H, W): read one by one, never the whole.

In: a path and a frame number. Out: (H, W) in the file's own type. The file that was read last stays open in its
process, for a clip's frames come one after another.
"""

from __future__ import annotations

import functools

import h5py
import numpy as np

from fastrad.imaging.structure import MAX_PIXELS, ImageError

DATASET = "image"


def read_hdf5_frame(path: str, frame: int) -> np.ndarray:
    """One frame of the dataset `image`.

    Raises
    ------
    ImageError
        If the file is damaged, has no such dataset of at least two axes, or lacks the frame.
    """
    try:
        images = open_images(path)
        count = len(images)
        if not 0 <= frame < count:
            raise ImageError(path, f"has no frame {frame}: it holds {count}, counted from 0")
        if np.prod(images.shape[1:]) > MAX_PIXELS:
            raise ImageError(path, f"a frame of {images.shape[1:]} values is more than {MAX_PIXELS:,}")
        pixels = np.squeeze(images[frame])
    except OSError as error:
        raise ImageError(path, f"HDF5 file is damaged or cut short ({str(error).split('(')[0].strip()})") from None
    if pixels.ndim != 2:
        raise ImageError(path, f"a frame of shape {pixels.shape} is not one gray image")
    return pixels


@functools.lru_cache(maxsize=1)
def open_images(path: str) -> h5py.Dataset:
    """The dataset `image` of an HDF5 file, opened for reading.

    Raises
    ------
    ImageError
        If there is none.
    """
    images = h5py.File(path, "r").get(DATASET)
    if not isinstance(images, h5py.Dataset) or images.ndim < 3:
        raise ImageError(path, f"HDF5 file without a dataset {DATASET} of shape (frames, height, width)")
    return images
