"""The grayscale transformations of DICOM (PS3.3 C.11): modality values, the file's own window or table, which end is
white.

In: the stored values of a monochrome frame and the elements that hold for it. Out: `Values`, which go to 8 bits by the
window asked for, else the file's own, else what is known of the range: Hounsfield units for CT, the stored bits for the
rest. Nothing is taken from the image's own minimum and maximum.
"""

from __future__ import annotations

import math

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from fastrad.imaging.dicom.frames import Frame
from fastrad.imaging.dicom.header import Header
from fastrad.imaging.dicom.tables import check_depth, read_table
from fastrad.imaging.structure import ImageError
from fastrad.imaging.values import Values
from fastrad.imaging.window import Window

HOUNSFIELD = (-1024.0, 3071.0)  # what the 12 bits of a CT scanner hold
_MODALITIES = frozenset(
    ("CR", "CT", "DX", "IO", "MG", "MR", "NM", "OP", "OT", "PT", "PX", "RF", "RG", "SC", "SM", "US", "XA", "XC")
)
_GIVE_WINDOW = "give --window LOW,HIGH"


def modality(elements: Dataset) -> str:
    """The file's modality where it is one that the standard defines for images; else "other"."""
    value = str(elements.get("Modality") or "")
    return value if value in _MODALITIES else "other"


def gray_values(frame: Frame, elements: Dataset, header: Header, *, own_window: bool) -> Values:
    """A monochrome frame's values.

    Parameters
    ----------
    own_window : bool
        Whether the file's own window or VOI table is to be applied; without, modality values and their whole range.

    Raises
    ------
    ImageError
        If elements contradict each other or cannot be applied.
    """
    name = header.name
    values, span, hounsfield = _modality_values(frame, elements, header)
    inverted = _is_inverted(elements, name)
    kind = f"DICOM {modality(elements)}, {'HU' if hounsfield else f'{frame.bits} bits'}"
    if own_window and elements.get("VOILUTSequence"):
        table = read_table(
            elements.VOILUTSequence[0], header, signed=bool(span and span[0] < 0) or values.dtype.kind == "f"
        )
        check_depth(table, name, "VOI LUT")
        looked_up = Values(table.look_up(values), (0, (1 << table.bits) - 1), f"{kind}, VOI LUT", table.bits, inverted)
        return _final(looked_up, name)
    if own_window and has_window(elements):
        return _final(_windowed(values, elements, kind, inverted, name), name)
    return Values(values, span, kind, frame.bits, inverted)


def _final(values: Values, name: str) -> Values:
    """As gray levels, which no other window changes."""
    return Values(values.to_uint8(None, name), (0, 255), values.kind, 8, windowed=True)


def has_window(elements: Dataset) -> bool:
    """Whether a frame's elements hold a window."""
    width, centre = elements.get("WindowWidth"), elements.get("WindowCenter")
    return width not in (None, "") and centre not in (None, "") and _length(width) > 0 and _length(centre) > 0


def _length(value: object) -> int:
    return len(value) if isinstance(value, MultiValue) else 1


def _modality_values(frame: Frame, elements: Dataset, header: Header) -> tuple[np.ndarray, Window | None, bool]:
    """Values after the modality LUT or rescaling, their range, and whether they are Hounsfield units."""
    name, stored = header.name, frame.values
    if elements.get("ModalityLUTSequence"):
        table = read_table(elements.ModalityLUTSequence[0], header, signed=frame.signed)
        white = (1 << table.bits) - 1
        return table.look_up(stored), (0, white) if int(table.entries.max()) <= white else None, False
    slope, intercept = _number(elements, "RescaleSlope", name), _number(elements, "RescaleIntercept", name)
    if (slope is None and intercept not in (None, 0.0)) or (intercept is None and slope not in (None, 1.0)):
        raise ImageError(name, "DICOM has only one of RescaleSlope and RescaleIntercept: add the other")
    rescaled = slope is not None or intercept is not None
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if slope == 0:
        raise ImageError(name, "DICOM's RescaleSlope is 0, which makes all pixels one value: correct it")
    span: Window | None = None
    if stored.dtype.kind != "f":
        half = 1 << (frame.bits - 1)
        low, high = (-half, half - 1) if frame.signed else (0, 2 * half - 1)
        ends = low * slope + intercept, high * slope + intercept
        span = min(ends), max(ends)
    values = stored if (slope, intercept) == (1.0, 0.0) else stored.astype(np.float64) * slope + intercept
    unit = str(elements.get("RescaleType") or "HU")
    hounsfield = rescaled and unit == "HU" and modality(elements) == "CT"
    return values, HOUNSFIELD if hounsfield else span, hounsfield


def _number(elements: Dataset, keyword: str, name: str) -> float | None:
    value = elements.get(keyword)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ImageError(name, f"DICOM's {keyword} is not one finite number: correct it")
    return number


def _windowed(values: np.ndarray, elements: Dataset, kind: str, inverted: bool, name: str) -> Values:
    """The file's first window by PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    centre, width = _first(elements.WindowCenter, name), _first(elements.WindowWidth, name)
    function = str(elements.get("VOILUTFunction") or "LINEAR")
    kind = f"{kind}, own window"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageError(name, f"DICOM with an unusual VOILUTFunction is not supported: {_GIVE_WINDOW}")
    if width <= 0 or (function == "LINEAR" and width < 1):
        raise ImageError(name, f"DICOM's window is {width:g} wide, which the standard excludes: {_GIVE_WINDOW}")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            gray = 255.0 / (1.0 + np.exp(-4.0 * (values.astype(np.float64) - centre) / width))
        return Values(np.rint(np.nan_to_num(gray)).astype(np.uint8), (0, 255), kind, 8, inverted)
    if function == "LINEAR_EXACT":
        return Values(values, (centre - width / 2, centre + width / 2), kind, 8, inverted)
    if width == 1:  # a threshold
        return Values(np.where(values <= centre - 0.5, 0, 255).astype(np.uint8), (0, 255), kind, 8, inverted)
    return Values(values, (centre - width / 2, centre + width / 2 - 1), kind, 8, inverted)


def _first(value: object, name: str) -> float:
    try:
        number = float(value[0] if isinstance(value, MultiValue) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ImageError(name, f"DICOM's window is no number: {_GIVE_WINDOW}")
    return number


def _is_inverted(elements: Dataset, name: str) -> bool:
    inverted = elements.PhotometricInterpretation == "MONOCHROME1"
    shape = str(elements.get("PresentationLUTShape") or "")
    if shape not in ("", "IDENTITY", "INVERSE"):
        raise ImageError(
            name, "DICOM with an unusual PresentationLUTShape is not supported: correct it, or take it out"
        )
    if shape and shape != ("INVERSE" if inverted else "IDENTITY"):
        raise ImageError(
            name,
            f"DICOM says {elements.PhotometricInterpretation}, and PresentationLUTShape the opposite: "
            "which end is white cannot be known; correct one of the two",
        )
    return inverted
