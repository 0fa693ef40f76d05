"""DDTI, the Digital Database of Thyroid Images: N.xml (a case) and N_k.jpg (its images) in one folder.

In: that folder. Out: images in the order of case and image number; label benign (TI-RADS 2, 3) or malignant (4a, 4b,
4c, 5), none where the case has no TI-RADS; patient is the case. With `crop="nodule"` each row's box is the bounding box
of the image's outlines, which cover every nodule that the case's one TI-RADS may be about.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fastrad.archives.base import Box, CropOptions, Row, bounding_box, manifest_of_rows
from fastrad.archives.forged_labels import refuse_forged_categories
from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError
from fastrad.imaging.walk import WalkOptions, walk_images
from fastrad.system.reading import read_whole

LABELS = {
    "": "",
    "2": "benign",
    "3": "benign",
    "4a": "malignant",
    "4b": "malignant",
    "4c": "malignant",
    "5": "malignant",
}
_IMAGE = re.compile(r"(\d+)_(\d+)\.jpe?g", re.IGNORECASE)
_MAX_BYTES = 1 << 24
_FARTHEST = 1e6  # pixels; also tells NaN and infinity
_BURNED_IN = (
    'in DDTI as published "TIRADS n" is burned into 73 labelled images, 29 of 61 benign and 44 of 288 malignant ones: '
    "a network can read the label; store the nodules alone (--crop nodule), and look with `fastrad audit`"
)
_STILL_BURNED_IN = (
    'in DDTI as published the outline of one image (row 403) takes in its burned-in "TIRADS 4C", which a network can '
    "read; `fastrad audit` finds such text"
)
_TIRADS = (
    "labels are readers' TI-RADS categories, not pathology: 2 and 3 are called benign, 4a to 5 malignant, which means "
    "suspicious"
)
_CLOSED = "freehand"  # the other region type, "arrow", points at something and encloses nothing


class _Point(msgspec.Struct):
    x: float
    y: float


class _Region(msgspec.Struct):
    regionType: str
    points: list[_Point] = []


@dataclass
class _Case:
    """What N.xml says: a reason if it can't be used, its label, and of each image the box or why there is none."""

    label: str = ""
    reason: str = ""
    boxes: dict[str, Box] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Options(CropOptions, WalkOptions):
    """With a crop, each row's box comes from the outlines; rows without a usable one then get a reason."""


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read DDTI.

    Raises
    ------
    InputError
        If the folder holds no DDTI case.
    """
    refuse_forged_categories(root)
    files = {int(path.stem): path for path in root.glob("*.xml") if path.stem.isdecimal()}
    if not files:
        raise InputError(f"{root}: holds no DDTI case (1.xml, 2.xml, ... beside 1_1.jpg, ...)")
    cases = {number: _read_case(path, options.margin_taken) for number, path in sorted(files.items())}
    found = walk_images(root, exclude, options)
    rows: list[tuple[tuple[float, str], Row]] = []
    for path, reason in found:
        name = _IMAGE.fullmatch(path)
        case = cases.get(int(name[1])) if name else None
        if name is None or case is None:
            rows.append(((math.inf, path), Row(path, reason=reason or "belongs to no case")))
            continue
        reason = reason or case.reason
        box = None
        if options.crop and not reason:
            box = case.boxes.get(name[2])
            if box is None:
                reason = case.faults.get(name[2], "its case file has no outline for it")
        row = Row(path, label=case.label, patient=name[1], box=box, reason=reason)
        rows.append(((int(name[1]), name[2].zfill(9)), row))
    in_order = [row for _, row in sorted(rows, key=lambda row: row[0])]
    notes = _notes(cases, [row.path for row in in_order], found.notes)
    return manifest_of_rows(root, "ddti", in_order, [*notes, _STILL_BURNED_IN if options.crop else _BURNED_IN])


def _notes(cases: dict[int, _Case], paths: Sequence[str], walk_notes: Sequence[str]) -> list[str]:
    """Remarks for the reader; images by their rows, because the names of files are those of patients."""
    # The walk counts the case files among what are no images; that is no news here.
    notes = [_TIRADS, *(note for note in walk_notes if "no images by their names" not in note)]
    for what in ("empty", "broken"):
        rows = []
        for row, path in enumerate(paths):
            name = _IMAGE.fullmatch(path)
            case = cases.get(int(name[1])) if name else None
            if name and case and what in case.faults.get(name[2], ""):
                rows.append(str(row))
        if rows:
            notes.append(f"{len(rows)} {what} outlines: rows {', '.join(rows)}")
    unlabelled = sum(not case.label and not case.reason for case in cases.values())
    if unlabelled:
        notes.append(f"{unlabelled} of {len(cases)} cases have no TI-RADS: their images are unlabelled")
    return notes


def _read_case(path: Path, margin: float) -> _Case:
    # Reasons are constant and without digits: a patient is a number here, and a pseudonym that is put for it in a
    # text that everybody knows would tell whose it is.
    try:
        case = ElementTree.fromstring(read_whole(path, _MAX_BYTES, "a case file"))
    except (ElementTree.ParseError, OSError, ValueError, LookupError):  # LookupError: an unknown encoding
        return _Case(reason="its case file cannot be read as XML")
    category = (case.findtext("tirads") or "").strip().lower()
    if category not in LABELS:
        return _Case(reason="the TI-RADS of its case is none of those that DDTI gives")
    read = _Case(label=LABELS[category])
    for mark in case.iter("mark"):
        image = (mark.findtext("image") or "").strip()
        outline = (mark.findtext("svg") or "").strip()
        if not outline:
            read.faults[image] = "its outline is empty"
            continue
        try:
            regions = msgspec.json.decode(outline, type=list[_Region])
        except (ValueError, RecursionError):
            read.faults[image] = "its outline is broken (its list of points is cut short)"
            continue
        closed = [region.points for region in regions if region.regionType == _CLOSED and len(region.points) >= 3]
        points = [(point.x, point.y) for outlined in closed for point in outlined]
        if not all(abs(number) < _FARTHEST for point in points for number in point):
            read.faults[image] = "its outline is broken (a point lies outside of any image)"
        elif points:
            read.boxes[image] = bounding_box(points, margin)
        else:
            read.faults[image] = "its outline encloses nothing"
    return read
