"""Archives in the form of PASCAL VOC: JPEGImages/, Annotations/ID.xml, ImageSets/Main/{train,val,test}.txt.

In: the folder that holds them, and what the objects' names mean. Out: a row an image in the lists' order, train, val,
test, then those that no list names; with a crop, a row an object. Boxes count pixels from 1, both ends included.
"""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastrad.archives.base import Box, CropOptions, Row, bounding_box
from fastrad.archives.manifest import SPLITS
from fastrad.errors import InputError
from fastrad.imaging.walk import WalkOptions, walk_images
from fastrad.system.reading import read_whole

IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"
_MAX_BYTES, _MAX_LIST_BYTES = 1 << 24, 1 << 30
_FARTHEST = 1e6  # pixels; also tells NaN and infinity


@dataclass
class _Annotation:
    """What ID.xml says: the label and box of each object, or why it can't be used."""

    objects: list[tuple[str, Box]] = field(default_factory=list)
    reason: str = ""


def is_voc(root: Path) -> bool:
    """Whether a folder holds such an archive."""
    return (root / IMAGES).is_dir() and (root / ANNOTATIONS).is_dir()


def read_voc(
    root: Path,
    labels: Mapping[str, str],
    crop: CropOptions,
    walk: WalkOptions,
    exclude: Sequence[Path | str] = (),
) -> tuple[list[Row], list[str]]:
    """The rows of an archive, and notes.

    Parameters
    ----------
    labels : mapping
        From an object's name, in lower case, to its class.

    Raises
    ------
    InputError
        If there are no images, or a list can't be read.
    """
    found = walk_images(root / IMAGES, exclude, walk, prefix=f"{IMAGES}/")
    reasons = dict(found)
    on_disk = {posixpath.splitext(path)[0]: path for path in reasons}
    listed, notes = _lists(root), list(found.notes)
    named = {name for names in listed.values() for name in names}
    split_of = [(name, split) for split, names in listed.items() for name in names]
    others = [name for name in on_disk if name not in named]
    if listed and others:
        notes.append(f"{len(others)} images are in no list of {LISTS}/")
    if not listed:
        notes.append(f"no lists in {LISTS}/: there are no splits")
    rows: list[Row] = []
    unlabelled = 0
    for name, split in [*split_of, *((name, "") for name in others)]:
        path = on_disk.get(name, f"{name}.jpg")
        annotation = _Annotation()
        if name in on_disk:  # a name that a list makes up may lead anywhere
            annotation = _read_annotation(root / ANNOTATIONS / f"{name}.xml", labels, crop.margin_taken)
        reason = reasons.get(path, "") or annotation.reason
        if listed and not split:
            reason = reason or f"is in no list of {LISTS}/"
        unlabelled += not annotation.objects and not reason
        rows += _rows(Row(f"{IMAGES}/{path}", split=split, reason=reason), annotation, bool(crop.crop))
    if unlabelled:
        notes.append(f"{unlabelled} images have no annotated object: they are unlabelled")
    return rows, notes


def _lists(root: Path) -> dict[str, list[str]]:
    """The images of each split by name, without suffix; trainval.txt where there is no train.txt."""
    listed: dict[str, list[str]] = {}
    for split in SPLITS:
        for name in (split, "trainval") if split == "train" else (split,):
            path = root / LISTS / f"{name}.txt"
            if split in listed or not path.is_file():
                continue
            try:
                lines = read_whole(path, _MAX_LIST_BYTES, "a list of images").decode("utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{path}: cannot be read as a list of images ({error})") from None
            listed[split] = [words[0] for line in lines if (words := line.split())]
    return listed


def _read_annotation(path: Path, labels: Mapping[str, str], margin: float) -> _Annotation:
    try:
        found = ElementTree.fromstring(read_whole(path, _MAX_BYTES, "an annotation")).iter("object")
        objects = []
        for each in found:
            name = (each.findtext("name") or "").strip().casefold()
            if name not in labels:
                return _Annotation(reason=f"an object of its annotation is none of {', '.join(labels)}")
            left, top, right, bottom = (
                float(each.findtext(f"bndbox/{edge}") or "") for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            if not all(abs(edge) < _FARTHEST for edge in (left, top, right, bottom)) or right < left or bottom < top:
                return _Annotation(reason="a box of its annotation encloses nothing, or lies outside of any image")
            corners = [(left - 1, top - 1), (right - 1, bottom - 1)]
            objects.append((labels[name], bounding_box(corners, margin)))
    except FileNotFoundError:
        return _Annotation()
    except (ElementTree.ParseError, OSError, ValueError, LookupError):  # LookupError: an unknown encoding
        return _Annotation(reason="its annotation cannot be read as XML")
    return _Annotation(objects)


def _rows(row: Row, annotation: _Annotation, crop: bool) -> list[Row]:
    """The row with its label; with a crop a row an object."""
    if row.reason or not annotation.objects:
        return [row]
    if crop:
        return [row._replace(label=label, box=box) for label, box in annotation.objects]
    labels = {label for label, _ in annotation.objects}
    if len(labels) > 1:
        return [row._replace(reason=f"holds {' and '.join(sorted(labels))} nodules; crop=nodule parts them")]
    return [row._replace(label=labels.pop())]
