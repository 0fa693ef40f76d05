"""Where an ultrasound screen shows tissue (PS3.3 C.8.5.5), and the shape of a pixel."""

from __future__ import annotations

import math

from pydicom.dataset import Dataset

_TWO_DIMENSIONAL, _TISSUE, _COLOUR_FLOW, _CENTIMETRES = 1, 1, 2, 3
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SAME = 0.01  # shapes that differ by less are one: sources round


def tissue_regions(elements: Dataset) -> list[Dataset]:
    """The 2-D tissue and colour flow regions that a file lists."""
    return [
        region
        for region in elements.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
        and region.get("RegionDataType") in (_TISSUE, _COLOUR_FLOW)
    ]


def tissue_box(elements: Dataset) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the smallest rectangle that holds every 2-D tissue or colour flow region.

    A region that reaches out of the frame at one side only is cut there: the frame was cropped after the file was made.
    The whole frame is taken where there is no such region, where one lies outside, or where one reaches out in both
    axes: the frame was scaled down since, so that the numbers are another frame's.
    """
    height, width = int(elements.Rows), int(elements.Columns)
    whole = (0, 0, width, height)
    boxes = []
    for region in tissue_regions(elements):
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


def pixel_aspect(elements: Dataset) -> float:
    """A pixel's height over its width; 1.0 where the elements of a frame say that it is square, or nothing.

    Taken from PixelSpacing, ImagerPixelSpacing or NominalScannedPixelSpacing (rows before columns, millimetres),
    PhysicalDeltaY over PhysicalDeltaX of the tissue regions in centimetres, and PixelAspectRatio (vertical before
    horizontal). An element without two positive numbers says nothing. Not a number where two differ by more than 1 %.
    """
    said: dict[str, float] = {}
    for keyword in (*_SPACINGS, "PixelAspectRatio"):
        ratio = _ratio(elements.get(keyword))
        if ratio is not None:
            said[keyword] = ratio
    for region in tissue_regions(elements):
        units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
        ratio = _ratio([region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX")])
        if units == (_CENTIMETRES, _CENTIMETRES) and ratio is not None:
            said[f"region {len(said)}"] = ratio
    if not said:
        return 1.0
    least, most = min(said.values()), max(said.values())
    if most > least * (1 + _SAME):
        return math.nan
    ratio = next(iter(said.values()))
    return 1.0 if abs(ratio - 1) <= _SAME else ratio


def _ratio(values: object) -> float | None:
    try:
        first, second = (abs(float(value)) for value in values)  # type: ignore[attr-defined]
        ratio = first / second
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return ratio if math.isfinite(ratio) and ratio > 0 else None
