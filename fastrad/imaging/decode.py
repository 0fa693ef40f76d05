"""One image file to gray pixels.

In: a path or bytes of PNG, JPEG, BMP, TIFF (any of gray, RGB, RGBA, palette, 1 to 16 bit) or DICOM. Out: (H, W)
uint8, or an `ImageError`. The rules:

- An image whose colours are all gray comes out exactly; other colours by luma, 0.299 R + 0.587 G + 0.114 B (ITU-R
  BT.601). A colour JPEG stores that luma already, and it is taken as stored.
- Alpha is composited on black.
- 16-bit values are mapped linearly from the full range, 0 to 65535 onto 0 to 255, or from `window`. Never from the
  image's own minimum and maximum: that would give one tissue another gray in every image.
- EXIF orientation is ignored: pixels stay as they were acquired, as boxes and outlines in archives assume.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fastrad.imaging.structure import Header, ImageError, check_structure

Box = tuple[int, int, int, int]
Window = tuple[float, float]

# cv2 writes lines of its own about damaged files, without their names; ours say more.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_gray(path: Path | str, *, frame: int = 0, box: Box | None = None, window: Window | None = None) -> np.ndarray:
    """Read one image file, or one frame of it, as gray pixels.

    Parameters
    ----------
    path : Path
        A PNG, JPEG, BMP, TIFF or DICOM file; its content decides which, not its name.
    frame : int
        Which frame of a multi-frame DICOM file; 0 for everything else.
    box : (left, top, right, bottom), optional
        The region wanted, in pixels, right and bottom excluded. What lies outside the image is left out.
    window : (low, high), optional
        The stored values that become 0 and 255; values between are mapped linearly, rounded to nearest.

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
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise ImageError(str(path), "no such file") from None
    except OSError as error:
        raise ImageError(str(path), f"cannot be read ({error.strerror})") from None
    return decode_gray(data, name=str(path), frame=frame, box=box, window=window)


def decode_gray(
    data: bytes, *, name: str = "image", frame: int = 0, box: Box | None = None, window: Window | None = None
) -> np.ndarray:
    """As `read_gray`, from the bytes of a file; `name` stands for it in errors."""
    if data[128:132] == b"DICM" or name.lower().endswith((".dcm", ".dicom")):
        from fastrad.imaging.dicom import decode_dicom

        gray = decode_dicom(data, name=name, frame=frame, window=window)
    else:
        header = check_structure(data, name)
        if frame != 0:
            raise ImageError(name, f"has no frame {frame}: a {header.kind} file is a still image")
        gray = _to_uint8(_decode_still(data, header, name), window, name)
    if box is not None:
        gray = _crop(gray, box, name)
    return np.ascontiguousarray(gray)


def _decode_still(data: bytes, header: Header, name: str) -> np.ndarray:
    """Gray pixels at the file's own depth."""
    # IMREAD_UNCHANGED keeps alpha and 16 bit (and ignores orientation); libjpeg itself gives the luma of a JPEG.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION if header.kind == "JPEG" else int(cv2.IMREAD_UNCHANGED)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(name, f"{header.kind} cannot be decoded: its image data are damaged or of an unknown kind")
    if image.shape[:2] != (header.height, header.width):
        raise ImageError(name, f"{header.kind} decodes to another size than it declares")
    if image.ndim == 2:
        if header.gray_key is not None:
            image[image == header.gray_key] = 0
        return image
    if image.dtype not in (np.uint8, np.uint16) or image.shape[2] not in (3, 4):
        raise ImageError(
            name, f"{header.kind} holds {image.shape[2]} channels of {image.dtype}, which is not supported"
        )
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


def apply_window(values: np.ndarray, window: Window, name: str) -> np.ndarray:
    """Map `low` to 0 and `high` to 255, linearly, clipped, rounded to nearest (halves up).

    Raises
    ------
    ImageError
        If `high` does not exceed `low`.
    """
    low, high = window
    if not high > low:
        raise ImageError(name, f"the window ({low:g}, {high:g}) is empty: its second value must exceed the first")
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low)) + 0.5
    return np.clip(scaled, 0.0, 255.0).astype(np.uint8)


def _crop(gray: np.ndarray, box: Box, name: str) -> np.ndarray:
    left, top, right, bottom = box
    height, width = gray.shape
    cropped = gray[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if cropped.size == 0:
        raise ImageError(name, f"the box {tuple(box)} holds no pixel of the {width} x {height} image")
    return cropped
