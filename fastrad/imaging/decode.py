"""One image file to gray pixels: PNG, JPEG, BMP, TIFF, or a frame of DICOM, GIF or HDF5.

- An image whose colours are all gray comes out exactly; other colours by luma, 0.299 R + 0.587 G + 0.114 B (ITU-R
  BT.601). A colour JPEG stores that luma already, and it is taken as stored.
- Alpha is composited on black, where the file declares a channel as alpha and it is not zero everywhere.
- Values of more than 8 bits are mapped linearly from the range of their stored bits onto 0 to 255, or from `window`.
  A 16-bit PNG whose sBIT declares fewer bits holds values of those bits; one with a larger value needs a window.
- Pixels that the file declares not to be square are made square, the coarser axis enlarged.
- EXIF orientation is ignored: pixels stay as they were acquired, as boxes and outlines in archives assume.
- What a JPEG decoder warns about (missing or corrupt data) is damage.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from fastrad.imaging.geometry import make_square
from fastrad.imaging.gif import GIF_SIGNATURES
from fastrad.imaging.structure import PNG_SIGNATURE, Header, ImageError, check_structure, is_dicom
from fastrad.imaging.values import Values, of_bits, on_black
from fastrad.imaging.window import Window
from fastrad.system.reading import without_waiting

Box = tuple[int, int, int, int]
MAX_STILL_BYTES = 1 << 30
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def read_gray(
    path: Path | str,
    *,
    frame: int = 0,
    box: Box | None = None,
    window: Window | None = None,
    within: Path | str | None = None,
    pixel_aspect: str = "header",
) -> np.ndarray:
    """Read one image file, or one frame of it, as gray pixels.

    Parameters
    ----------
    path : Path
        A PNG, JPEG, BMP, TIFF, GIF or DICOM file (its content decides which, not its name), or an HDF5 file whose
        dataset `image` holds frames.
    frame : int
        Which frame of a DICOM, GIF or HDF5 file; 0 for everything else.
    box : (left, top, right, bottom), optional
        The region wanted, in pixels of the whole frame, right and bottom excluded. What lies outside the image is left
        out. Without it, a DICOM file that says where its screen shows tissue gives those regions, others the whole.
    window : (low, high), optional
        The values that become 0 and 255; values between are mapped linearly, rounded to nearest.
    within : Path, optional
        A folder: where `path` itself is a link, what it points at must lie in there.
    pixel_aspect : {"header", "ignore"}
        Whether pixels that are not square by what the file says are made square (`geometry.make_square`).

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
    values = read_values(path, frame=frame, box=box, window=window, within=within)
    return _finished(values, window, str(path), pixel_aspect)


def decode_gray(
    data: bytes,
    *,
    name: str = "image",
    frame: int = 0,
    box: Box | None = None,
    window: Window | None = None,
    pixel_aspect: str = "header",
) -> np.ndarray:
    """As `read_gray`, from the bytes of a file.

    Parameters
    ----------
    data : bytes
        The whole file; HDF5 is read from a path alone.
    name : str
        Stands for the file in errors.
    frame, box, window, pixel_aspect
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
    return _finished(decode_values(data, name=name, frame=frame, box=box, window=window), window, name, pixel_aspect)


def _finished(values: Values, window: Window | None, name: str, pixel_aspect: str) -> np.ndarray:
    gray = values.to_uint8(window, name)
    return np.ascontiguousarray(gray if pixel_aspect == "ignore" else make_square(gray, values.aspect, name))


def read_values(
    path: Path | str,
    *,
    frame: int = 0,
    box: Box | None = None,
    window: Window | None = None,
    within: Path | str | None = None,
) -> Values:
    """As `read_gray`, before the values become 8 bits: what a whole archive's window is chosen from.

    Parameters
    ----------
    path, frame, box, window, within
        As of `read_gray`.

    Returns
    -------
    Values

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    name = str(path)
    if within is not None and os.path.islink(path):
        root = os.path.realpath(within)
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise ImageError(name, "a link that leads outside ROOT")
    try:
        with open(path, "rb", opener=without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(name, "not a regular file")
            return _read(file, name, frame, box, window)
    except FileNotFoundError:
        raise ImageError(name, "no such file") from None
    except OSError as error:
        raise ImageError(name, f"cannot be read ({error.strerror})") from None


def decode_values(
    data: bytes, *, name: str = "image", frame: int = 0, box: Box | None = None, window: Window | None = None
) -> Values:
    """As `read_values`, from the bytes of a file.

    Parameters
    ----------
    data, name, frame, box, window
        As of `decode_gray`.

    Returns
    -------
    Values

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    return _read(io.BytesIO(data), name, frame, box, window)


def _read(file: BinaryIO, name: str, frame: int, box: Box | None, window: Window | None) -> Values:
    head = file.read(132)
    if is_dicom(head):
        from fastrad.imaging.dicom import dicom_values

        values = dicom_values(file, name=name, frame=frame, regions=box is None, own_window=window is None)
    elif head.startswith(HDF5_SIGNATURE):
        from fastrad.imaging.hdf5 import read_hdf5_frame

        values = hdf5_values(read_hdf5_frame(name, frame))
    elif head.startswith(GIF_SIGNATURES):
        from fastrad.imaging.gif import read_gif

        values = read_gif(head + _rest(file, name), name, frame)
    else:
        if frame != 0:
            raise ImageError(name, f"has no frame {frame}: it is a still image")
        values = still_values(head + _rest(file, name), name)
    if box is None:
        return values
    source = values.pixels if values.source is None else values.source
    return values._replace(pixels=_crop(values.pixels, box, name), source=source)


def _rest(file: BinaryIO, name: str) -> bytes:
    """The rest of a file that is read as a whole."""
    if not isinstance(file, io.BytesIO) and os.fstat(file.fileno()).st_size > MAX_STILL_BYTES:
        raise ImageError(name, f"a still image of more than {MAX_STILL_BYTES:,} bytes")
    return file.read()


def still_values(data: bytes, name: str) -> Values:
    """The gray values of a still image.

    Parameters
    ----------
    data : bytes
        A PNG, JPEG, BMP or TIFF file.
    name : str
        Stands for the file in errors.

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    if data.startswith(TIFF_SIGNATURES):
        from fastrad.imaging.tiff import read_tiff  # brings tifffile, which a command that reads none need not wait for

        return read_tiff(data, name)
    header = check_structure(data, name)
    if header.kind == "JPEG":
        return of_bits(_decode_jpeg(data, header, name, "GRAY")[..., 0], 8, "JPEG")
    image = _decode_png_or_bmp(data, header, name)
    gray = _to_gray(image, header)
    if gray.dtype == np.uint8:
        return of_bits(gray, 8, header.kind)
    bits = header.significant_bits or 16
    if bits < 16 and int(gray.max()) >= 1 << bits:
        # scaled to 16 bits, as the specification asks, or wrong; a darker file of the same archive would not tell
        return Values(gray, None, f"PNG with values above its sBIT of {bits} (scaled to 16 bits?)", 16)
    return of_bits(gray, bits, header.kind)


def still_colour(data: bytes, name: str) -> np.ndarray | None:
    """The colours of a still image, (H, W, 3) uint8 in any order; None where it is gray or has other depths.

    Raises
    ------
    ImageError
        As `read_gray`.
    """
    if data.startswith(TIFF_SIGNATURES):
        from fastrad.imaging.tiff import read_tiff_colour

        image = read_tiff_colour(data, name)
    else:
        header = check_structure(data, name)
        if header.kind == "JPEG":
            return _decode_jpeg(data, header, name, "BGR")
        image = _decode_png_or_bmp(data, header, name)
    return image[..., :3] if image is not None and image.ndim == 3 and image.dtype == np.uint8 else None


def kind_of_8_bits(head: bytes) -> str | None:
    """The kind (`Values.kind`) of a file that can hold 8 bits at most, by its first 32 bytes; None for any other."""
    if head.startswith(PNG_SIGNATURE) and head[12:16] == b"IHDR" and head[24:25] <= b"\x08":
        return "PNG, 8 bits"
    return "JPEG, 8 bits" if head.startswith(b"\xff\xd8") else None


def hdf5_values(frame: np.ndarray) -> Values:
    """The values of an HDF5 frame: the full range of uint8 or uint16; other types have none."""
    if frame.dtype in (np.uint8, np.uint16):
        return of_bits(frame, frame.dtype.itemsize * 8, "HDF5")
    return Values(frame, None, f"HDF5, {frame.dtype}", frame.dtype.itemsize * 8)


def _decode_jpeg(data: bytes, header: Header, name: str, colours: str) -> np.ndarray:
    import simplejpeg  # not where files that are converted already are read

    try:
        image = simplejpeg.decode_jpeg(data, colours)  # libjpeg-turbo's warnings are errors to it
    except ValueError as error:
        if "subsampling" in str(error):
            raise ImageError(name, "JPEG with unusual chroma subsampling is not supported; save it as PNG") from None
        raise ImageError(name, f"JPEG is damaged or of an unknown kind: {error}") from None
    if image.shape[:2] != (header.height, header.width):
        raise ImageError(name, "JPEG decodes to another size than it declares")
    return image


def _decode_png_or_bmp(data: bytes, header: Header, name: str) -> np.ndarray:
    """The pixels as they are stored: (H, W), (H, W, 3) BGR or (H, W, 4) BGR and alpha; uint8 or uint16."""
    image = None
    if header.kind == "PNG":
        from fastrad.imaging.png import decode_png  # brings numba, which a command that reads no PNG need not wait for

        image = decode_png(data)
    if image is None:
        try:
            # keeps alpha and 16 bit, and ignores orientation
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            image = None
    if image is None:
        raise ImageError(name, f"{header.kind} cannot be decoded: its image data are damaged or of an unknown kind")
    if image.shape[:2] != (header.height, header.width):
        raise ImageError(name, f"{header.kind} decodes to another size than it declares")
    if header.short_palette and _largest_index(data, header, name) >= header.short_palette:
        raise ImageError(name, f"{header.kind} is damaged: its pixels name colours that its palette lacks")
    if header.green_bits:  # OpenCV shifts 5 bits to 8: white would be 248
        pixels = np.asarray(image, dtype=np.uint8)
        image = pixels | (pixels >> np.array([5, header.green_bits, 5], dtype=np.uint8))
    if image.dtype not in (np.uint8, np.uint16) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise ImageError(name, f"{image.shape[2:]} channels of {image.dtype} are not supported")
    return image


def _largest_index(data: bytes, header: Header, name: str) -> int:
    """The largest palette index of a file's pixels, by Pillow: OpenCV hands out colours alone."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=[header.kind]) as image:
            return int(np.asarray(image).max())
    except Exception:  # Pillow raises many kinds
        raise ImageError(name, f"{header.kind} cannot be decoded: its palette or image data are damaged") from None


def _to_gray(image: np.ndarray, header: Header) -> np.ndarray:
    """Luma at the image's own depth, alpha composited on black."""
    if image.ndim == 2:
        if header.gray_key is not None:
            image[image == header.gray_key] = 0
        return image
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    gray = cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY)
    if not header.has_alpha or not image[..., 3].any():
        return gray
    return on_black(gray, image[..., 3], np.iinfo(image.dtype).max)


def _crop(gray: np.ndarray, box: Box, name: str) -> np.ndarray:
    left, top, right, bottom = box
    height, width = gray.shape
    cropped = gray[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if cropped.size == 0:
        raise ImageError(name, f"the box {tuple(box)} holds no pixel of the {width} x {height} image")
    return cropped
