"""ThyroidXL: {train,test}/images/*.png and {train,test}_annotations.json, in the root or inside the split's folder.

In: the folder that holds them. Out: the images in the order of the annotations, then those on disk that they do not
name, unlabelled. Categories are 0 benign and 1 malignant; patients are `patient_id` padded with zeros to 8 digits, as
in the file names. An image with nodules of both kinds has no one label; with `crop="nodule"` each nodule is a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from fastrad.archives.base import CropOptions, Row, bounding_box, manifest_of_rows
from fastrad.archives.manifest import Manifest
from fastrad.errors import FormatError, InputError
from fastrad.imaging.walk import walk_images
from fastrad.system.json_file import Word, read_json

SPLITS = ("train", "test")
LABELS = {0: "benign", 1: "malignant"}
_DIGITS = 8


_MAX_BYTES = 1 << 30
_WAY_OUT = (
    "not the annotations of ThyroidXL (images with id, file_name and patient_id; annotations with image_id, "
    "category_id and bbox)"
)
_Pixels = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]


class _Image(msgspec.Struct):
    id: int | Word
    file_name: Word
    patient_id: int | Word


class _Nodule(msgspec.Struct):
    image_id: int | Word
    category_id: int
    bbox: tuple[_Pixels, _Pixels, _Pixels, _Pixels] | None = None


class _Annotations(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Nodule]


@dataclass(frozen=True)
class Options(CropOptions):
    """With a crop, each annotated nodule is a row with its bounding box."""


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read ThyroidXL.

    Raises
    ------
    InputError
        If the folder is not in this layout or an annotation file is not what it should be.
    """
    splits = [split for split in SPLITS if (root / split / "images").is_dir()]
    if not splits:
        raise InputError(f"{root}: holds neither train/images/ nor test/images/")
    rows: list[Row] = []
    notes: list[str] = []
    for split in splits:
        found = walk_images(root / split / "images", exclude)
        known, unknown = _read_split(root, split, dict(found), options)
        rows += known + unknown
        if unknown:
            notes.append(f"{len(unknown)} images of {split} have no annotation: they are unlabelled")
    return manifest_of_rows(root, "thyroidxl", rows, notes)


def _read_split(root: Path, split: str, on_disk: dict[str, str], options: Options) -> tuple[list[Row], list[Row]]:
    """The rows of the annotated images, and those of the others."""
    path = _annotations_path(root, split)
    try:
        content = read_json(path, _Annotations, _MAX_BYTES, "annotations", _WAY_OUT)
    except FormatError as error:  # of the archive's, not of ours
        raise InputError(str(error)) from None
    nodules: dict[str, list[_Nodule]] = {}
    for nodule in content.annotations:
        nodules.setdefault(str(nodule.image_id), []).append(nodule)
    rows, seen = [], set()
    for image in content.images:
        name = _name_on_disk(image.file_name, on_disk)
        seen.add(name)
        row = Row(
            f"{split}/images/{name}",
            patient=str(image.patient_id).zfill(_DIGITS),
            split=split,
            reason=on_disk.get(name, ""),
        )
        rows += _label(row, nodules.get(str(image.id), []), options)
    others = [
        Row(f"{split}/images/{name}", patient=name.partition("_")[0].zfill(_DIGITS), split=split, reason=reason)
        for name, reason in on_disk.items()
        if name not in seen
    ]
    return rows, others


def _annotations_path(root: Path, split: str) -> Path:
    name = f"{split}_annotations.json"
    for path in (root / name, root / split / name):
        if path.is_file():
            return path
    raise InputError(f"{root}: no {name}, neither here nor in {split}/")


def _name_on_disk(name: str, on_disk: dict[str, str]) -> str:
    """The file that an annotation's `file_name` means: as it stands, with .png, or with its number padded."""
    name = name if name in on_disk else name.replace("\\", "/").rpartition("/")[2]
    number, underscore, rest = name.partition("_")
    padded = number.zfill(_DIGITS) + underscore + rest
    for candidate in (name, f"{name}.png", padded, f"{padded}.png"):
        if candidate in on_disk:
            return candidate
    return name


def _label(row: Row, nodules: list[_Nodule], options: Options) -> list[Row]:
    """The row with its label; with a crop a row a nodule."""
    labels = [LABELS.get(nodule.category_id, "") for nodule in nodules]
    if row.reason:
        return [row]
    if "" in labels:
        categories = ", ".join(sorted({str(nodule.category_id) for nodule in nodules}))
        return [row._replace(reason=f"categories {categories}: not all are 0 (benign) or 1 (malignant)")]
    if not options.crop:
        if len(set(labels)) > 1:
            return [row._replace(reason="holds benign and malignant nodules; crop=nodule parts them")]
        return [row._replace(label=labels[0] if labels else "")]
    cropped = []
    for nodule, label in zip(nodules, labels, strict=True):
        if nodule.bbox is None:
            cropped.append(row._replace(reason="its annotation has no bounding box"))
            continue
        left, top, width, height = nodule.bbox
        corners = [(left, top), (left + max(width - 1, 0), top + max(height - 1, 0))]
        cropped.append(row._replace(label=label, box=bounding_box(corners, options.margin_taken)))
    return cropped or [row]
