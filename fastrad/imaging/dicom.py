"""DICOM frames as gray pixels, and nothing else of the file.

In: an open DICOM file and a frame number. Out: (H, W) uint8, or an `ImageError` that quotes nothing from the file but
sizes and its transfer syntax: no element that may name a patient is read, no text of pydicom's is passed on. The steps
are those of DICOM PS3.3 C.7.6.3 and C.11: decode (through GDCM where compressed), palette or rescale, VOI window or
LUT, MONOCHROME1 turned over, and the screen's 2-D tissue regions cut out (PS3.3 C.8.5.5).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import cv2
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array

from fastrad.imaging import compressed
from fastrad.imaging.structure import MAX_PIXELS, ImageError
from fastrad.imaging.window import Window, apply_window

_TWO_DIMENSIONAL, _TISSUE, _COLOUR_FLOW = 1, 1, 2
_COLOURS = ("Red", "Green", "Blue")
_TAGS = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "BitsStored",
    "BitsAllocated",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "SequenceOfUltrasoundRegions",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
]


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of a DICOM file."""
    return head[128:132] == b"DICM"


def decode_dicom(
    file: BinaryIO, *, name: str, frame: int = 0, window: Window | None = None, regions: bool = True
) -> np.ndarray:
    """One frame as gray pixels.

    Parameters
    ----------
    file : binary file
        Only the frame asked for is read into memory.
    name : str
        Stands for the file in errors.
    frame : int
        0 for the first.
    window : (low, high), optional
        In rescaled values, or luma of a colour image; replaces the file's own window. Without either, the whole range
        that the file's number of bits can hold.
    regions : bool
        Whether to cut out the smallest rectangle that holds every 2-D tissue region (see `tissue_box`).

    Returns
    -------
    numpy.ndarray
        (H, W) uint8.

    Raises
    ------
    ImageError
        If it is no DICOM image, is damaged, too large, lacks the frame, or its kind of pixels isn't supported.
    """
    header = _read_header(file, name)
    stores_luma = str(header.get("PhotometricInterpretation", "")).startswith("YBR_FULL")
    pixels = _decode(file, header, name, frame, raw=stores_luma)
    with _contradictions_refused(name):
        if pixels.ndim == 3:
            gray = np.ascontiguousarray(pixels[..., 0]) if stores_luma else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            gray = gray if window is None else apply_window(gray, window, name)
        else:
            gray = _gray_levels(pixels, header, window, name)
        if regions:
            left, top, right, bottom = tissue_box(header)
            gray = gray[top:bottom, left:right]
    return gray


def decode_colour(file: BinaryIO, *, name: str, frame: int = 0) -> np.ndarray | None:
    """One frame's tissue regions as (H, W, 3) uint8 RGB; None where the file stores no colour."""
    header = _read_header(file, name)
    if str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        return None
    pixels = _decode(file, header, name, frame)
    with _contradictions_refused(name):
        left, top, right, bottom = tissue_box(header)
        if pixels.ndim != 3:
            raise ImageError(name, "DICOM declares colour and holds none")
        return pixels[top:bottom, left:right]


def frame_count(file: BinaryIO, *, name: str) -> int:
    """How many frames a DICOM file says it has.

    Raises
    ------
    ImageError
        If it is no DICOM image.
    """
    return _frames(_read_header(file, name))


def shows_whole_screen(file: BinaryIO, *, name: str) -> bool:
    """Whether a file doesn't say where its screen shows tissue: whatever else is on it, names too, stays in the image.

    Raises
    ------
    ImageError
        If it is no DICOM image.
    """
    header = _read_header(file, name)
    with _contradictions_refused(name):
        return tissue_box(header) == (0, 0, int(header.Columns), int(header.Rows))


def tissue_box(header: Dataset) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the smallest rectangle that holds every 2-D tissue or colour flow region.

    A region that reaches out of the frame at one side only is cut there: the frame was cropped after the file was made.
    The whole frame is taken where there is no such region, where one lies outside, or where one reaches out in both
    axes: the frame was scaled down since, so that the numbers are another frame's.
    """
    height, width = int(header.Rows), int(header.Columns)
    whole = (0, 0, width, height)
    boxes = []
    for region in header.get("SequenceOfUltrasoundRegions") or []:
        if region.get("RegionSpatialFormat") != _TWO_DIMENSIONAL:
            continue
        if region.get("RegionDataType") not in (_TISSUE, _COLOUR_FLOW):
            continue
        names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
        corners = [region.get(f"RegionLocation{corner}") for corner in names]
        if any(corner is None for corner in corners):
            return whole
        left, top, right, bottom = (int(corner) for corner in corners)
        if not (0 <= left < min(right, width) and 0 <= top < min(bottom, height)):
            return whole
        if right > width and bottom > height:
            return whole
        boxes.append((left, top, min(right + 1, width), min(bottom + 1, height)))
    if not boxes:
        return whole
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _read_header(file: BinaryIO, name: str) -> Dataset:
    file.seek(0)
    try:
        with _values_not_quoted():
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            for _ in header.iterall():
                pass  # elements are parsed when they are asked for: now, where a fault can be told from one of ours
        rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
        _frames(header)
    except Exception:  # pydicom raises many kinds, and their texts may quote the file
        raise ImageError(name, "not a DICOM file, or damaged inside its header") from None
    if rows < 1 or columns < 1:
        raise ImageError(name, "DICOM file without an image")
    if rows * columns > MAX_PIXELS:
        raise ImageError(name, f"DICOM declares {columns} x {rows} pixels, more than {MAX_PIXELS:,}")
    return header


def _frames(header: Dataset) -> int:
    return int(header.get("NumberOfFrames") or 1)


_reading = threading.Lock()
_readers, _mode_before = 0, pydicom.config.WARN


@contextmanager
def _values_not_quoted() -> Iterator[None]:
    """While any thread reads, pydicom does not validate: its warnings quote odd values, a patient's name perhaps.

    The setting is one for the whole process: the first reader changes it, the last one puts it back.
    """
    global _readers, _mode_before
    settings = pydicom.config.settings
    with _reading:
        if _readers == 0:
            _mode_before = settings.reading_validation_mode
            settings.reading_validation_mode = pydicom.config.IGNORE
        _readers += 1
    try:
        yield
    finally:
        with _reading:
            _readers -= 1
            if _readers == 0:
                settings.reading_validation_mode = _mode_before


@contextmanager
def _contradictions_refused(name: str) -> Iterator[None]:
    """What numpy or pydicom raise over elements that no scanner writes becomes an `ImageError`, without their text."""
    try:
        yield
    except ImageError:
        raise
    except Exception:
        raise ImageError(name, "DICOM elements contradict each other or its pixels") from None


def _decode(file: BinaryIO, header: Dataset, name: str, frame: int, *, raw: bool = False) -> np.ndarray:
    """Stored values (H, W), or RGB (H, W, 3) uint8; with `raw`, YBR is left as it is."""
    frames = _frames(header)
    if not 0 <= frame < frames:
        raise ImageError(name, f"has no frame {frame}: it holds {frames}, counted from 0")
    try:
        guarded = header.file_meta.TransferSyntaxUID in compressed.DECODER_DEPENDENCIES
        with _values_not_quoted():
            pixels = pixel_array(file, index=frame, raw=raw, decoding_plugin=compressed.PLUGIN if guarded else "")
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
            if pixels.dtype == np.uint16:
                # Scanners store 8-bit palettes as value * 256 or value * 257; the high byte is right for both.
                pixels = (pixels >> 8).astype(np.uint8)
    except Exception:
        syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
        kind = getattr(syntax, "name", "unknown")
        raise ImageError(name, f"DICOM pixel data are damaged or not supported (transfer syntax {kind})") from None
    with _contradictions_refused(name):
        if pixels.ndim == 3 and pixels.dtype != np.uint8:
            pixels = (pixels >> max(int(header.BitsStored) - 8, 0)).astype(np.uint8)
        if pixels.shape[:2] != (header.Rows, header.Columns) or pixels.ndim > 3:
            raise ImageError(name, "DICOM decodes to another size than it declares")
    return np.ascontiguousarray(pixels)


def _gray_levels(stored: np.ndarray, header: Dataset, window: Window | None, name: str) -> np.ndarray:
    """Stored values of a MONOCHROME image to uint8."""
    try:
        values = apply_modality_lut(stored, header)
        if window is not None:
            gray = apply_window(values, window, name)
        elif header.get("VOILUTSequence"):
            bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
            gray = apply_window(apply_voi(values, header), (0, (1 << bits) - 1), name)
        elif header.get("WindowWidth") and header.get("WindowCenter") is not None:
            gray = _apply_voi_window(values, header, name)
        else:
            gray = apply_window(values, _full_range(header), name)
    except ImageError:
        raise
    except Exception:
        raise ImageError(name, "DICOM rescale or window elements cannot be applied") from None
    return 255 - gray if header.PhotometricInterpretation == "MONOCHROME1" else gray


def _apply_voi_window(values: np.ndarray, header: Dataset, name: str) -> np.ndarray:
    """The file's first window by PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    centre, width = (_first(header.get(key)) for key in ("WindowCenter", "WindowWidth"))
    function = header.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return np.rint(255.0 / (1.0 + np.exp(-4.0 * (values - centre) / width))).astype(np.uint8)
    if function == "LINEAR_EXACT":
        return apply_window(values, (centre - width / 2, centre + width / 2), name)
    if width <= 1:  # a threshold
        return np.where(values <= centre - 0.5, 0, 255).astype(np.uint8)
    return apply_window(values, (centre - width / 2, centre + width / 2 - 1), name)


def _first(value: object) -> float:
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)  # type: ignore[arg-type]


def _full_range(header: Dataset) -> Window:
    """The least and the greatest value after the modality LUT or rescaling, of what the stored bits can hold."""
    if header.get("ModalityLUTSequence"):
        return 0, (1 << int(header.ModalityLUTSequence[0].LUTDescriptor[2])) - 1
    bits = int(header.BitsStored)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if header.PixelRepresentation else (0, (1 << bits) - 1)
    slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
    ends = low * slope + intercept, high * slope + intercept
    return min(ends), max(ends)
