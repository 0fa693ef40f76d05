"""What "the same image" means, in the audit, the study's groups of patients and external sets: the same decoded pixels.

Not the same stored bytes: a PNG and a raw copy of one picture are the same image. A JPEG is what it decodes to, so it
is not the same image as the picture that it was made of; nor is a near copy.
"""

from __future__ import annotations

import hashlib

import numpy as np

from fastrad.dataset.base import Dataset


def pixel_digest(image: np.ndarray) -> bytes:
    """BLAKE2b-128 of an image's height, width and pixels.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) uint8.
    """
    shape = np.array(image.shape, dtype="<u4").tobytes()
    return hashlib.blake2b(shape + np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def pixel_digests(dataset: Dataset) -> list[bytes]:
    """The digest of each stored image, in the order of the file.

    Raises
    ------
    DamagedSampleError
        If an image cannot be decoded.
    """
    return [pixel_digest(dataset.decode(index)) for index in range(len(dataset))]
