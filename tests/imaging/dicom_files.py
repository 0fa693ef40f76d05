"""Small DICOM files, written by pydicom: any syntax that an encoder at hand can write."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended

from fastrad.imaging import decode_gray

PATIENT = "Zebedee^Quixotic"


def gray_ramp(bits: int, signed: bool = False, side: int = 24) -> np.ndarray:
    """Smooth, with the least and the greatest value that `bits` bits can hold; the smallest type that holds them."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    y, x = np.mgrid[:side, :side]
    ramp = low + (high - low) * ((x + 2.0 * y) / (3.0 * (side - 1)))
    size = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return np.rint(ramp).astype(f"{'i' if signed else 'u'}{size // 8}")


def colours(side: int = 24) -> np.ndarray:
    """(side, side, 3) uint8: smooth, each channel another direction."""
    y, x = np.mgrid[:side, :side] / (side - 1)
    return np.rint(np.dstack([40 + 200 * x, 230 - 180 * y, 60 + 90 * x + 90 * y])).astype(np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def ybr(rgb: np.ndarray) -> np.ndarray:
    """Full-range YCbCr (PS3.3 C.7.6.3.1.2), rounded."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(rgb.astype(np.float64) @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def make(
    data: bytes | list[bytes] | None,
    rows: int,
    columns: int,
    syntax: str = uid.ExplicitVRLittleEndian,
    *,
    extended: bool = False,
    table: bool = True,
    **elements: object,
) -> bytes:
    """A file of `data`: uncompressed bytes, or encoded frames. `elements` are added or replaced; None removes one."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = PATIENT
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    if isinstance(data, list):
        if len(data) > 1:
            dataset.NumberOfFrames = len(data)
        if extended:
            dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
                data
            )
        else:
            dataset.PixelData = encapsulate(data, has_bot=table)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    elif data is not None:
        dataset.PixelData = data + b"\0" * (len(data) % 2)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if data is not None and not isinstance(data, list):
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 and syntax != uid.ImplicitVRLittleEndian else "OW"
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def of_bits(stored: np.ndarray, bits: int, allocated: int | None = None) -> dict[str, object]:
    """The elements that describe integers of `bits` bits."""
    return {
        "BitsAllocated": allocated or stored.dtype.itemsize * 8,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }


def jp2(codestream: bytes, rows: int, columns: int, components: int, space: int) -> bytes:
    """A codestream in a JP2 file (ISO 15444-1 annex I) that declares an enumerated colour space."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", rows, columns, components, 7, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))
    signature = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 " + bytes(4) + b"jp2 ")
    return signature + box(b"jp2h", header) + box(b"jp2c", codestream)


def without_markers(jpeg: bytes) -> bytes:
    """A JPEG without its application segments (JFIF, Adobe)."""
    position, kept = 2, jpeg[:2]
    while jpeg[position + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        if not 0xE0 <= jpeg[position + 1] <= 0xEF:
            kept += jpeg[position : position + length]
        position += length
    return kept + jpeg[position:]


def _signed_as_unsigned(stored: np.ndarray, bits: int) -> np.ndarray:
    unsigned = stored.view(stored.dtype.str.replace("i", "u"))
    return unsigned & unsigned.dtype.type((1 << bits) - 1)


def _lossless_jpeg(stored: np.ndarray, bits: int) -> bytes:
    return imagecodecs.jpeg8_encode(_signed_as_unsigned(stored, bits), lossless=True, bitspersample=bits, predictor=1)


def _jpeg_ls(stored: np.ndarray, bits: int) -> bytes:
    return imagecodecs.jpegls_encode(_signed_as_unsigned(stored, bits))


def _jpeg2000(stored: np.ndarray, bits: int) -> bytes:
    return imagecodecs.jpeg2k_encode(stored, codecformat="J2K", level=0, reversible=True, bitspersample=bits)


def _jp2(stored: np.ndarray, bits: int) -> bytes:
    return jp2(_jpeg2000(stored, bits), *stored.shape, 1, 17)


def _htj2k(stored: np.ndarray, bits: int) -> bytes:
    return imagecodecs.htj2k_encode(stored, reversible=True)


GRAY_ENCODERS: dict[str, tuple[str, Callable[[np.ndarray, int], bytes]]] = {
    "lossless JPEG": (uid.JPEGLosslessSV1, _lossless_jpeg),
    "JPEG-LS": (uid.JPEGLSLossless, _jpeg_ls),
    "JPEG 2000": (uid.JPEG2000Lossless, _jpeg2000),
    "JP2": (uid.JPEG2000, _jp2),
    "HTJ2K": (uid.HTJ2KLossless, _htj2k),
}


NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
}


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 to 255 for low to high, rounded to nearest."""
    return np.floor(np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255) + 0.5)


def read(data: bytes, **options: object) -> Callable[[], np.ndarray]:
    """Decodes when it is called; a warning of a library's is an error, for it would reach the user."""

    def silently() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return decode_gray(data, name="scan", **options)

    return silently


def native(stored: np.ndarray, syntax: str, **elements: object) -> bytes:
    """(H, W) or (frames, H, W), uncompressed or RLE."""
    if stored.ndim == 3:
        elements["NumberOfFrames"] = len(stored)
    rows, columns = stored.shape[-2:]
    if syntax == uid.RLELossless:
        plain = pydicom.dcmread(io.BytesIO(make(stored.tobytes(), rows, columns, **elements)))
        plain.compress(uid.RLELossless)
        written = io.BytesIO()
        plain.save_as(written)
        return written.getvalue()
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    content = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    return make(content, rows, columns, syntax, **elements)
