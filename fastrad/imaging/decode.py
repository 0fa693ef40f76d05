"""One image file to gray pixels.

In: a path or bytes of PNG, JPEG, BMP, TIFF (any of gray, RGB, RGBA, palette, 1 to 16 bit) or DICOM. Out: (H, W)
uint8, or an `ImageError`. HDF5 holds frames as DICOM does. The rules:

- An image whose colours are all gray comes out exactly; other colours by luma, 0.299 R + 0.587 G + 0.114 B (ITU-R
  BT.601). A colour JPEG stores that luma already, and it is taken as stored.
- Alpha is composited on black.
- 16-bit values are mapped linearly from the full range, 0 to 65535 onto 0 to 255, or from `window`. Never from the
  image's own minimum and maximum: that would give one tissue another gray in every image.
- EXIF orientation is ignored: pixels stay as they were acquired, as boxes and outlines in archives assume.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from fastrad.imaging.structure import Header, ImageError, check_structure
from fastrad.imaging.window import Window, apply_window

Box = tuple[int, int, int, int]
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_gray(
    path: Path | str,
    *,
    frame: int = 0,
    box: Box | None = None,
    window: Window | None = None,
    within: Path | str | None = None,
) -> np.ndarray:
    """Read one image file, or one frame of it, as gray pixels.

    Parameters
    ----------
    path : Path
        A PNG, JPEG, BMP, TIFF or DICOM file (its content decides which, not its name), or an HDF5 file whose dataset
        `image` holds frames.
    frame : int
        Which frame of a DICOM or HDF5 file; 0 for everything else.
    box : (left, top, right, bottom), optional
        The region wanted, in pixels of the whole frame, right and bottom excluded. What lies outside the image is left
        out. Without it, a DICOM file that says where its screen shows tissue gives those regions, others the whole.
    window : (low, high), optional
        The values that become 0 and 255; values between are mapped linearly, rounded to nearest.
    within : Path, optional
        A folder: where `path` itself is a link, what it points at must lie in there.

    Returns
    -------
    numpy.ndarray
        (H, W) uint8, C-contiguous, owned by the caller.

    Raises
    ------
    ImageError
        If the file is missing, damaged, no image, too large, or lacks the frame or box asked for. It is an
        `InputError`; its `reason` leaves the path out.
    """
    name = str(path)
    if within is not None and os.path.islink(path):
        root = os.path.realpath(within)
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise ImageError(name, "a link that leads outside ROOT")
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(name, "not a regular file")
            return _read(file, name, frame, box, window)
    except FileNotFoundError:
        raise ImageError(name, "no such file") from None
    except OSError as error:
        raise ImageError(name, f"cannot be read ({error.strerror})") from None


def _open_without_waiting(path: str, flags: int) -> int:
    # A named pipe would otherwise keep a worker waiting for somebody to write into it.
    return os.open(path, flags | os.O_NONBLOCK)


def decode_gray(
    data: bytes, *, name: str = "image", frame: int = 0, box: Box | None = None, window: Window | None = None
) -> np.ndarray:
    """As `read_gray`, from the bytes of a file.

    Parameters
    ----------
    data : bytes
        The whole file; HDF5 is read from a path alone.
    name : str
        Stands for the file in errors.
    frame, box, window
        As of `read_gray`.

    Returns
    -------
    numpy.ndarray
        (H, W) uint8.

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    return _read(io.BytesIO(data), name, frame, box, window)


def _read(file: BinaryIO, name: str, frame: int, box: Box | None, window: Window | None) -> np.ndarray:
    head = file.read(132)
    if head[128:] == b"DICM":
        from fastrad.imaging.dicom import decode_dicom

        gray = decode_dicom(file, name=name, frame=frame, window=window, regions=box is None)
    elif head.startswith(HDF5_SIGNATURE):
        from fastrad.imaging.hdf5 import read_hdf5_frame

        gray = _to_uint8(read_hdf5_frame(name, frame), window, name)
    else:
        if frame != 0:
            raise ImageError(name, f"has no frame {frame}: it is a still image")
        gray = _to_uint8(_to_gray(decode_stored(head + file.read(), name)), window, name)
    if box is not None:
        gray = _crop(gray, box, name)
    return np.ascontiguousarray(gray)


def decode_stored(data: bytes, name: str, *, color: bool = False) -> np.ndarray:
    """The pixels of a still image as they are stored.

    Parameters
    ----------
    color : bool
        Whether to decode the colours of a JPEG; else its luma, which is what it stores, is taken.

    Returns
    -------
    numpy.ndarray
        (H, W), (H, W, 3) BGR or (H, W, 4) BGR and alpha; uint8, uint16, or any type of a gray TIFF.

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    header = check_structure(data, name)
    image = None
    if header.kind == "PNG":
        from fastrad.imaging.png import decode_png  # brings numba, which a command that reads no PNG need not wait for

        image = decode_png(data)
    if image is None:
        image = _decode_by_opencv(data, header, name, color)
    if image.ndim == 2 and header.gray_key is not None:
        image[image == header.gray_key] = 0
    return image


def _decode_by_opencv(data: bytes, header: Header, name: str, color: bool) -> np.ndarray:
    # IMREAD_UNCHANGED keeps alpha and 16 bit, and ignores orientation.
    flags = int(cv2.IMREAD_UNCHANGED)
    if header.kind == "JPEG" and not color:
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(name, f"{header.kind} cannot be decoded: its image data are damaged or of an unknown kind")
    if image.shape[:2] != (header.height, header.width):
        raise ImageError(name, f"{header.kind} decodes to another size than it declares")
    if image.ndim == 3 and (image.dtype not in (np.uint8, np.uint16) or image.shape[2] not in (3, 4)):
        raise ImageError(name, f"{image.shape[2]} channels of {image.dtype} are not supported")
    return image


def _to_gray(image: np.ndarray) -> np.ndarray:
    """Luma at the image's own depth, alpha composited on black."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    gray = cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY)
    opaque = 255 if image.dtype == np.uint8 else 65535
    composited = gray.astype(np.uint32) * image[..., 3]
    # Half of the divisor is added so that the division rounds; 65535 * 65535 + 32767 still fits 32 bits.
    return ((composited + opaque // 2) // opaque).astype(image.dtype)


def _to_uint8(gray: np.ndarray, window: Window | None, name: str) -> np.ndarray:
    """Map gray values onto 0 to 255: by `window`, else from the full range of uint8 or uint16."""
    if window is not None:
        return apply_window(gray, window, name)
    if gray.dtype == np.uint8:
        return gray
    if gray.dtype == np.uint16:
        # 65535 = 255 * 257, so this is value * 255 / 65535 rounded to nearest.
        return ((gray.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise ImageError(name, f"holds {gray.dtype} values, which have no range of their own; give a window (low, high)")


def _crop(gray: np.ndarray, box: Box, name: str) -> np.ndarray:
    left, top, right, bottom = box
    height, width = gray.shape
    cropped = gray[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if cropped.size == 0:
        raise ImageError(name, f"the box {tuple(box)} holds no pixel of the {width} x {height} image")
    return cropped
