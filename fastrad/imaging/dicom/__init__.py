"""DICOM frames as gray pixels, and nothing else of the file.

In: an open DICOM file and a frame number. Out: gray values, or an `ImageError` that quotes nothing from the file but
sizes, its transfer syntax and what it says of its colours: no element that may name a patient is read, no text of
pydicom's is passed on. The steps are those of DICOM PS3.3 C.7.6.3 and C.11.

    header.py             the elements that matter, and where the pixels are
    frames.py             one frame as it is stored
    codestream.py         JPEG, JPEG-LS, JPEG 2000: what they say of themselves, and their samples
    functional_groups.py  enhanced multi-frame objects: the elements that hold for one frame
    grayscale.py          rescale, modality and VOI tables, windows, which end is white
    colour.py, tables.py  luma and RGB; palettes and look-up tables
    regions.py            where an ultrasound screen shows tissue; the shape of a pixel
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from fastrad.imaging.dicom.colour import luma, rgb
from fastrad.imaging.dicom.frames import Frame, read_frame
from fastrad.imaging.dicom.functional_groups import of_frame
from fastrad.imaging.dicom.grayscale import gray_values, modality
from fastrad.imaging.dicom.header import Header, contradictions_refused, read_header
from fastrad.imaging.dicom.regions import pixel_aspect, tissue_box
from fastrad.imaging.structure import ImageError
from fastrad.imaging.values import Values


def dicom_values(file: BinaryIO, *, name: str, frame: int = 0, regions: bool = True, own_window: bool = True) -> Values:
    """One frame's gray values, before they become 8 bits.

    Parameters
    ----------
    file : binary file
        Only the frame asked for is read into memory.
    name : str
        Stands for the file in errors.
    frame : int
        0 for the first.
    regions : bool
        Whether to cut out the smallest rectangle that holds every 2-D tissue region (see `regions.tissue_box`).
    own_window : bool
        Whether the file's own window or VOI table is to be applied: False where another window will be. It is the
        first window where there are several, and a VOI table goes before a window.

    Returns
    -------
    Values
        Rescaled values of a monochrome image, luma of a colour one; gray levels where the file's own window applies.

    Raises
    ------
    ImageError
        If it is no DICOM image, is damaged, too large, lacks the frame, or its kind of pixels isn't supported.
    """
    header = read_header(file, name)
    with contradictions_refused(name):
        stored = read_frame(header, frame)
        values = _to_gray(stored, frame, header, own_window)
        values = values._replace(source=stored.values if stored.kind == "gray" else values.pixels)
        if regions:
            left, top, right, bottom = tissue_box(header.elements)
            values = values._replace(pixels=values.pixels[top:bottom, left:right])
        return values._replace(aspect=pixel_aspect(of_frame(header, frame)))


def _to_gray(stored: Frame, frame: int, header: Header, own_window: bool) -> Values:
    if stored.kind == "gray":
        elements = of_frame(header, frame)
        _check_supplemental_palette(stored, header)
        return gray_values(stored, elements, header, own_window=own_window)
    gray = luma(stored, header)
    bits = 8 if stored.kind == "palette" else stored.bits
    return Values(gray, (0, (1 << bits) - 1), f"DICOM {modality(header.elements)}, colour of {bits} bits", bits)


def _check_supplemental_palette(stored: Frame, header: Header) -> None:
    """Refuse values that stand for colours in a gray image (PS3.3 C.7.6.19)."""
    elements = header.elements
    if elements.get("PixelPresentation") not in ("COLOR", "MIXED"):
        return
    descriptor = elements.get("RedPaletteColorLookupTableDescriptor")
    if descriptor is not None and int(stored.values.max()) >= int(descriptor[1]):
        raise ImageError(
            header.name, "DICOM paints colours over its gray values (supplemental palette): save it as RGB"
        )


def decode_colour(file: BinaryIO, *, name: str, frame: int = 0) -> np.ndarray | None:
    """One frame's tissue regions as (H, W, 3) uint8 RGB; None where the file stores no colour."""
    header = read_header(file, name)
    if header.photometric.startswith("MONOCHROME"):
        return None
    with contradictions_refused(name):
        left, top, right, bottom = tissue_box(header.elements)
        return rgb(read_frame(header, frame), header)[top:bottom, left:right]


def frame_count(file: BinaryIO, *, name: str) -> int:
    """How many frames a DICOM file says it has.

    Raises
    ------
    ImageError
        If it is no DICOM image.
    """
    return read_header(file, name).frames


def shows_whole_screen(file: BinaryIO, *, name: str) -> bool:
    """Whether a file doesn't say where its screen shows tissue: whatever else is on it, names too, stays in the image.

    Raises
    ------
    ImageError
        If it is no DICOM image.
    """
    header = read_header(file, name)
    with contradictions_refused(name):
        return tissue_box(header.elements) == (0, 0, header.columns, header.rows)
