"""Datasets of an HDF5 file that lie in the file itself: frames one by one, never the whole, and short columns.

In: a path. Out: (H, W) in the file's own type. HDF5 can place a dataset's bytes in any other file that the reader may
open: by external storage, by a link, or by a virtual dataset. All of them are refused before anything else is opened:
no bytes from outside become pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from fastrad.errors import InputError
from fastrad.imaging.structure import MAX_PIXELS, ImageError
from fastrad.system.reading import open_regular

DATASET = "image"
MAX_ROWS = 1_000_000  # of a column that is read as a whole
MAX_TEXT = 128  # characters of a text in it
_TEXTS_AT_ONCE = 256  # many rows may share one text, as long as the file
MAX_CHUNK_BYTES = 1 << 30  # a frame is read with the whole of the chunk that holds it
_MAX_HOPS = 16  # from one soft link to the next


@contextmanager
def opened_hdf5(path: str) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading.

    Raises
    ------
    ImageError
        If it is no regular file, or damaged; also where reading in the block finds that.
    """
    try:
        open_regular(path).close()  # HDF5's own library would wait for a pipe
    except FileNotFoundError:
        raise ImageError(path, "no such file") from None
    except InputError:
        raise ImageError(path, "not a regular file, or one that may not be read") from None
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError):
        raise ImageError(path, "HDF5 file is damaged or cut short") from None  # h5py raises whatever its library says


def own_dataset(file: h5py.File, name: str, path: str) -> h5py.Dataset:
    """A dataset whose bytes are in this file, wherever hard and soft links within the file lead.

    Raises
    ------
    ImageError
        If there is none, or it lies outside of the file.
    """
    place: h5py.Group = file
    words, hops = [word for word in name.split("/") if word], 0
    while words:
        word = words.pop(0)
        if word == ".":
            continue
        try:
            link = place.get(word, getlink=True)
        except TypeError:  # a kind of link that h5py does not know
            link = h5py.ExternalLink
        if isinstance(link, h5py.SoftLink):
            hops += 1
            if hops > _MAX_HOPS:
                raise ImageError(path, f"HDF5 file whose links to {name} go in a circle")
            place = file if link.path.startswith("/") else place
            words = [part for part in link.path.split("/") if part] + words
            continue
        if link is not None and not isinstance(link, h5py.HardLink):
            raise ImageError(path, f"HDF5 file whose {name} is a link to another file: copy the data into one file")
        found = place[word] if link is not None else None
        if isinstance(found, h5py.Group) and words:
            place = found
            continue
        if not isinstance(found, h5py.Dataset) or words:
            kind = "a group" if isinstance(found, h5py.Group) else "no dataset"
            raise ImageError(path, f"HDF5 file in which {name} is {kind}, where a dataset is needed")
        return _checked(found, name, path)
    raise ImageError(path, f"HDF5 file in which {name} is a group, where a dataset is needed")


def _checked(dataset: h5py.Dataset, name: str, path: str) -> h5py.Dataset:
    if dataset.external or dataset.is_virtual:
        how = "external storage" if dataset.external else "a virtual dataset"
        raise ImageError(path, f"HDF5 file whose {name} is {how}: its bytes lie in another file; copy them into one")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        raise ImageError(path, f"HDF5 file whose {name} has chunks of more than {MAX_CHUNK_BYTES:,} bytes")
    return dataset


def hdf5_frame_count(path: str) -> int:
    """How many frames the dataset `image` holds.

    Raises
    ------
    ImageError
        If the file is damaged, has no such dataset of at least three axes, or keeps it in another file.
    """
    with opened_hdf5(path) as file:
        return len(_frames_of(file, path))


def read_hdf5_frame(path: str, frame: int) -> np.ndarray:
    """One frame of the dataset `image`.

    Raises
    ------
    ImageError
        If the file is damaged, has no such dataset of numbers with at least three axes, keeps it in another file, or
        lacks the frame.
    """
    with opened_hdf5(path) as file:
        images = _frames_of(file, path)
        if not 0 <= frame < len(images):
            raise ImageError(path, f"has no frame {frame}: it holds {len(images)}, counted from 0")
        if not 0 < math.prod(images.shape[1:]) <= MAX_PIXELS:
            raise ImageError(path, f"a frame of {images.shape[1:]} values is empty, or more than {MAX_PIXELS:,}")
        pixels = np.squeeze(images[frame])
    if pixels.ndim != 2:
        raise ImageError(path, f"a frame of shape {pixels.shape} is not one gray image")
    return pixels


def read_hdf5_column(file: h5py.File, name: str, path: str) -> np.ndarray:
    """A whole column of numbers, or of texts (as objects of `str`), one axis.

    Raises
    ------
    ImageError
        As `own_dataset`, or if it has more than `MAX_ROWS` rows or texts of more than `MAX_TEXT` characters.
    """
    column = own_dataset(file, name, path)
    if column.ndim < 1 or column.size > MAX_ROWS:
        raise ImageError(path, f"HDF5 file whose {name} has {column.size:,} rows, more than {MAX_ROWS:,}")
    if column.size != len(column):
        raise ImageError(path, f"HDF5 file whose {name} is no column: its shape is {column.shape}")
    kind = h5py.check_string_dtype(column.dtype)
    if kind is None and column.dtype.kind not in "iuf":
        raise ImageError(path, f"HDF5 file whose {name} holds neither numbers nor texts")
    if kind is None:
        return np.asarray(column[...]).ravel()
    texts: list[str] = []
    for first in range(0, len(column), _TEXTS_AT_ONCE):
        texts += column.asstr()[first : first + _TEXTS_AT_ONCE].ravel().tolist()
        if any(len(text) > MAX_TEXT for text in texts[first:]):
            raise ImageError(path, f"HDF5 file whose {name} holds texts of more than {MAX_TEXT} characters")
    return np.array(texts, dtype=object)


def _frames_of(file: h5py.File, path: str) -> h5py.Dataset:
    images = own_dataset(file, DATASET, path)
    if images.ndim < 3 or images.dtype.kind not in "uifb":
        raise ImageError(path, f"HDF5 file without a dataset {DATASET} of numbers (frames, height, width)")
    return images
