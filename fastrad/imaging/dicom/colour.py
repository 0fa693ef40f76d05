"""Colours of a DICOM frame to gray, and to RGB where somebody asks for them.

In: a frame as stored and its header. Out: luma at the frame's own depth, or RGB of 8 bits. YBR stores its luma, which
is taken as it is: gray ultrasound in a colour file comes out exactly.
"""

from __future__ import annotations

import cv2
import numpy as np

from fastrad.imaging.dicom.frames import Frame
from fastrad.imaging.dicom.header import Header
from fastrad.imaging.dicom.tables import palette_luma, read_palette
from fastrad.imaging.structure import ImageError


def luma(frame: Frame, header: Header) -> np.ndarray:
    """(H, W) of the frame's own type; uint8 of a palette.

    Raises
    ------
    ImageError
        If what the frame's components are stays open, and it matters.
    """
    if frame.kind == "palette":
        palette = read_palette(header)
        levels = palette_luma(palette)
        return palette._replace(entries=levels).look_up(frame.values)
    values = _unsigned(frame, header)
    if frame.kind == "YBR":
        return np.ascontiguousarray(values[..., 0])
    of_rgb = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
    if frame.kind == "either":
        first = np.ascontiguousarray(values[..., 0])
        tolerance = 1 << max(frame.bits - 8, 0)
        if int(cv2.absdiff(first, of_rgb).max()) > tolerance and not _has_neutral_chroma(values, frame.bits):
            raise ImageError(header.name, _open_question(header))
        return first
    return of_rgb


def rgb(frame: Frame, header: Header) -> np.ndarray:
    """(H, W, 3) uint8; raises as `luma`. What is open, and of one luma, is gray."""
    if frame.kind == "palette":
        return read_palette(header).look_up(frame.values)
    values = _unsigned(frame, header)
    if frame.kind == "either":
        values = np.repeat(luma(frame, header)[..., None], 3, axis=2)
    values = np.ascontiguousarray((values >> max(frame.bits - 8, 0)).astype(np.uint8))
    if frame.kind == "YBR":
        return cv2.cvtColor(np.ascontiguousarray(values[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    return values


def _has_neutral_chroma(values: np.ndarray, bits: int) -> bool:
    """Whether two components are half of white everywhere: a gray picture in YCbCr, and no picture at all in RGB."""
    half, tolerance = 1 << (bits - 1), 2 << max(bits - 8, 0)
    return all(
        int(np.ptp(values[..., k])) <= 2 * tolerance and abs(int(values[0, 0, k]) - half) <= tolerance for k in (1, 2)
    )


def _open_question(header: Header) -> str:
    return (
        f"DICOM says {header.photometric}, its frames ({header.syntax.name}) say otherwise or nothing; as RGB and as "
        "YCbCr they give different grays: save it uncompressed as RGB with the program that made it"
    )


def _unsigned(frame: Frame, header: Header) -> np.ndarray:
    if frame.signed or frame.values.dtype not in (np.uint8, np.uint16):
        raise ImageError(header.name, f"DICOM colours of {frame.values.dtype} values are not supported")
    return frame.values
