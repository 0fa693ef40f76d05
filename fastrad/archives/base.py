"""What layouts share: the row, the names of splits, boxes around nodules, and the checks on the way to a manifest.

In: rows or columns as the archive has them. Out: a `Manifest` whose unusable rows carry reasons and whose notes say
what a reader should know. Patients are named by row, never by identity.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastrad.archives.manifest import Manifest
from fastrad.archives.spelling import settle_spelling
from fastrad.errors import InputError, OptionError
from fastrad.imaging.walk import SYNTHETIC_MARKER, is_inside, readable

# What archives call their splits (upper or lower case), and ours.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_SPLIT_FOLDER = re.compile(
    rf"({'|'.join(SPLIT_NAMES)})(?:[ _-]?(?:set|data|dataset|split|images?|imgs?|cases))?", re.IGNORECASE
)
NO_PATIENTS = "the archive has no patient ids: a patient's images cannot be kept together"
MARGIN = 0.1
_EXAMPLES = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, right and bottom excluded


class Row(NamedTuple):
    """One image of an archive, or one nodule of it: the columns of `Manifest.table`."""

    path: str
    label: str = ""
    patient: str = ""
    split: str = ""
    frame: int = 0
    box: Box | None = None
    reason: str = ""


@dataclass(frozen=True)
class CropOptions:
    """Options of archives that outline nodules.

    Attributes
    ----------
    crop : str
        "nodule" stores the outlined nodule, with a margin.
    margin : float
        Around the nodule, as a part of its longer side; only with a crop, by default 0.1.
    """

    crop: str = field(default="", metadata={"choices": ("", "nodule")})
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.crop not in ("", "nodule"):
            raise OptionError(f"crop {self.crop!r} is unknown; choose nodule or leave it out")
        if self.margin is not None and not self.crop:
            raise OptionError(f"--margin {self.margin:g}: nothing is cropped; it goes with --crop nodule")
        if not 0 <= self.margin_taken <= 10:
            raise OptionError(f"margin {self.margin} is not between 0 and 10 (a part of the outline's longer side)")

    @property
    def margin_taken(self) -> float:
        """The margin, or its default: given without a crop it is refused, so that the two must be told apart."""
        return MARGIN if self.margin is None else self.margin


def split_of_folder(name: str) -> str:
    """Our name of the split that a folder is by its name ("Training", "test_set"); "" for none."""
    found = _SPLIT_FOLDER.fullmatch(name)
    return SPLIT_NAMES[found[1].lower()] if found else ""


def bounding_box(points: Sequence[tuple[float, float]], margin: float) -> Box:
    """The box around points (x, y), in whole pixels, widened on each side by `margin` times its longer side.

    It may reach over the image's right and bottom edges, where reading stops at the edge.
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    extra = margin * max(max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
    return (
        max(0, math.floor(min(xs) - extra)),
        max(0, math.floor(min(ys) - extra)),
        math.ceil(max(xs) + 1 + extra),
        math.ceil(max(ys) + 1 + extra),
    )


def manifest_of_rows(
    root: Path, layout: str, rows: Sequence[Row], notes: Sequence[str] = (), *, spelled: bool = False
) -> Manifest:
    """`manifest_of_columns` of rows; for archives of millions of images, columns are faster."""
    values = zip(*rows, strict=True) if rows else [()] * len(Row._fields)
    columns: dict[str, Any] = dict(zip(Row._fields, values, strict=True))
    return manifest_of_columns(root, layout, **columns, notes=notes, spelled=spelled)


def manifest_of_columns(
    root: Path,
    layout: str,
    *,
    path: Sequence[str],
    label: Sequence[str] | str = "",
    patient: Sequence[str] | str = "",
    split: Sequence[str] | str = "",
    frame: Sequence[int] | int = 0,
    box: Sequence[Box | None] | None = None,
    reason: Sequence[str] | str = "",
    notes: Sequence[str] = (),
    one_label: bool = False,
    spelled: bool = False,
) -> Manifest:
    """Check an archive's rows and make the manifest; a word stands for a whole column.

    Reasons are given to rows whose path is empty or leaves `root`, or that repeat an earlier row (same image, frame,
    box and label, in whatever split), or whose label holds a line break or the like; with `one_label` also to all rows
    of an image that is listed under several labels; with `spelled`, where a table names the files, to those of which
    another spelling is there (`settle_spelling`). Notes are made of images under several labels, of patients with
    several labels, and of labels that may mean the same. What the splits must fulfil comes after it, in
    `settle_splits`.

    Raises
    ------
    InputError
        If there are no rows.
    """
    if not len(path):
        raise InputError(f"{root}: no images found for layout {layout}")
    paths, reasons = check_paths(root, path, reason)
    if spelled:
        paths, reasons, more = settle_spelling(root, paths, reasons)
        notes = [*notes, *more]
    _refuse_control_characters(label, reasons)
    synthetic = (root / SYNTHETIC_MARKER).is_file()
    manifest = Manifest.from_columns(
        root, layout, path=paths, label=label, patient=patient, split=split, frame=frame, box=box, reason=reasons
    )
    table = manifest.table
    found = [*notes, *_mark_repeats(table, one_label), *_patients_with_several_labels(table)]
    way_out = " (--labels joins them)" if layout == "table" else ""
    found += _note_labels_alike(table["label"][table["reason"] == ""], way_out)
    return Manifest(root, layout, table, synthetic, tuple(found))


def settle_splits(manifest: Manifest) -> Manifest:
    """Check the splits that an archive comes with: a reason for rows whose label the train split lacks.

    Raises
    ------
    InputError
        If a patient lies in more than one split.
    """
    _place_rows_without_split(manifest)
    notes = _mark_labels_outside_train(manifest.table)
    _refuse_patients_in_two_splits(manifest.root, manifest.table)
    return replace(manifest, notes=(*manifest.notes, *notes))


def _place_rows_without_split(manifest: Manifest) -> None:
    """List unusable rows that lie in no split with the first split, so that a card names them."""
    table = manifest.table
    stray = (table["split"] == "") & (table["reason"] != "")
    splits = [split for split in manifest.split_names if split]
    if splits and stray.any():
        table.loc[stray, "split"] = splits[0]


def check_paths(root: Path, paths: Sequence[str], reason: Sequence[str] | str) -> tuple[list[str], list[str]]:
    """Paths in normal form, relative to `root`, and a reason for each one that is empty or leads outside `root`."""
    real_root = os.path.realpath(root)
    reasons = [reason] * len(paths) if isinstance(reason, str) else list(reason)
    if any("\\" in path for path in paths):
        paths = _without_backslashes(real_root, paths)
    normal = [posixpath.normpath(path) if "//" in path or "./" in path else path for path in paths]
    folders: dict[str, str] = {}
    inside: dict[str, str | None] = {}  # absolute folders of the table, as they are below ROOT
    for row, path in enumerate(normal):
        folder, _, name = path.rpartition("/")
        if path.startswith("/") and folder:
            if folder not in inside:
                inside[folder] = _below(folder, os.path.abspath(root), real_root)
            if inside[folder] is not None:
                folder = str(inside[folder])
                path = normal[row] = posixpath.join(folder, name)
        if reasons[row]:
            continue
        if folder not in folders:
            folders[folder] = _why_folder_is_refused(folder, real_root)
        if folders[folder] or name in ("", ".", "..") or path[0] == "/" or "\0" in path:
            reasons[row] = folders[folder] or _why_path_is_refused(path)
    return normal, reasons


def _without_backslashes(real_root: str, paths: Sequence[str]) -> list[str]:
    """Paths of a table that was written on Windows; but a backslash that is part of a file's name here stays."""
    names: dict[str, frozenset[str]] = {}
    settled = []
    for path in paths:
        if "\\" in path:
            folder, _, name = path.rpartition("/")
            if folder not in names:
                names[folder] = _names_in(os.path.join(real_root, folder))
            path = path if name in names[folder] else path.replace("\\", "/")
        settled.append(path)
    return settled


def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(map(readable, os.listdir(folder)))
    except (OSError, ValueError):  # no such folder, a NUL character
        return frozenset()


def _below(folder: str, *roots: str) -> str | None:
    """An absolute folder as a path relative to the root that it lies in; None where it lies in none."""
    for path in dict.fromkeys((folder, os.path.realpath(folder) if "\0" not in folder else folder)):
        for root in roots:
            if is_inside(path, root):
                return path[len(root) :].strip("/")
    return None


def _why_folder_is_refused(folder: str, real_root: str) -> str:
    if folder.startswith("/") or folder[1:3] in (":", ":/"):
        return "an absolute path; paths must be relative to ROOT"
    if folder == ".." or folder.startswith("../"):
        return "its path leads outside ROOT"
    if "\0" not in folder and not is_inside(os.path.realpath(os.path.join(real_root, folder)), real_root):
        return "lies in a linked folder outside ROOT"
    return ""


def _why_path_is_refused(path: str) -> str:
    if not path:
        return "no path is given"
    if path[0] == "/":
        return "an absolute path; paths must be relative to ROOT"
    if path == "..":
        return "its path leads outside ROOT"
    return "its path holds a NUL character" if "\0" in path else "names a folder, not a file"


def _mark_repeats(table: pd.DataFrame, one_label: bool) -> list[str]:
    """Give repeated rows a reason, and with `one_label` contradicting ones; return a note of those."""
    rows = np.flatnonzero((table["reason"] == "").to_numpy())
    image = pd.factorize(table["path"].to_numpy(dtype=object)[rows])[0].astype(np.int64)
    if table["frame"].any():
        image = pd.factorize(image * (int(table["frame"].max()) + 1) + table["frame"].to_numpy()[rows])[0]
    if table["box"].notna().any():
        image = pd.factorize(pd.Series(list(zip(image, table["box"].to_numpy()[rows], strict=True))))[0]
    label, labels = pd.factorize(table["label"].to_numpy(dtype=object)[rows])
    labelled_image = image * np.int64(max(len(labels), 1)) + label
    repeated = pd.Series(labelled_image).duplicated().to_numpy()
    if repeated.any():
        first: dict[int, int] = {}
        wanted = set(labelled_image[repeated].tolist())
        for row, key in zip(rows, labelled_image, strict=True):
            if key in wanted:
                first.setdefault(key, int(row))
        split, patient = table["split"].to_numpy(), table["patient"].to_numpy()
        for row, key in zip(rows[repeated], labelled_image[repeated], strict=True):
            original = first[key]
            where = f" of split {split[original]}" if split[original] != split[row] else ""
            whose = ", there of another patient" if patient[original] != patient[row] else ""
            table.loc[row, "reason"] = f"repeats row {original}{where}{whose}"
    named = ~repeated & (table["label"].to_numpy()[rows] != "")
    several = pd.Series(image[named]).duplicated().to_numpy()
    if not several.any():
        return []
    count = len(np.unique(image[named][several]))
    example = image[named][several][0]
    pair = rows[named][image[named] == example][:2]
    if one_label:
        _refuse_contradictions(table, rows[named], image[named], set(image[named][several].tolist()))
    kept = "none of them is taken" if one_label else "all are kept"
    return [f"{count} images are listed under several labels; {kept} (first: rows {pair[0]} and {pair[1]})"]


def _refuse_contradictions(table: pd.DataFrame, rows: np.ndarray, image: np.ndarray, several: set[int]) -> None:
    """A reason for each row of an image under several labels, which names another row of it."""
    labels = table["label"].to_numpy()
    rows_of: dict[int, list[int]] = {}
    for row, number in zip(rows.tolist(), image.tolist(), strict=True):
        if number in several:
            rows_of.setdefault(number, []).append(row)
    for of_image in rows_of.values():
        for place, row in enumerate(of_image):
            other = of_image[place - 1]
            table.loc[row, "reason"] = f"the same image is listed as {labels[other]!r} in row {other}"


def _refuse_control_characters(labels: Sequence[str] | str, reasons: list[str]) -> None:
    """A reason for rows whose label is no one line, which would break every summary and table of classes."""
    labels = [labels] * len(reasons) if isinstance(labels, str) else labels
    broken = {label for label in set(labels) if not label.isprintable() and _CONTROL.search(label)}
    for row in [row for row, label in enumerate(labels) if label in broken] if broken else []:
        reasons[row] = reasons[row] or "its label holds a line break or another control character; rename it"


def _note_labels_alike(labels: pd.Series, way_out: str) -> list[str]:
    """Labels that are kept apart and may mean the same: Benign and benign, 1 and 1.0."""
    words = " or ".join(", ".join(repr(label) for label, _ in same) for same in alike(labels))
    return [f"labels that may mean the same are kept apart{way_out}: {words}"] if words else []


def alike(values: pd.Series) -> list[list[tuple[str, int]]]:
    """Values that differ in case, blanks, zeros in front or .0 behind, each with its first row."""
    found: dict[str, list[tuple[str, int]]] = {}
    for row, value in values.drop_duplicates().items():
        if value:
            plain = re.sub(r"(?<=\d)\.0+$", "", " ".join(value.casefold().split()))
            found.setdefault(re.sub(r"(?<![\d.])0+(?=\d)", "", plain), []).append((value, int(row)))
    return [same for same in found.values() if len(same) > 1]


def _mark_labels_outside_train(table: pd.DataFrame) -> list[str]:
    usable = (table["reason"] == "") & (table["label"] != "")
    in_train = table["split"] == "train"
    if not (usable & in_train).any():
        return []
    known = set(table["label"][usable & in_train].unique())
    outside = usable & ~in_train & ~table["label"].isin(known)
    if not outside.any():
        return []
    labels = table["label"][outside]
    spelled = {" ".join(label.casefold().split()): label for label in sorted(known)}
    hints = {label: spelled.get(" ".join(label.casefold().split()), "") for label in labels.unique()}
    table.loc[outside, "reason"] = [
        f"label {label!r} does not occur in the train split" + (f", {hints[label]!r} does" if hints[label] else "")
        for label in labels
    ]
    first = labels.drop_duplicates().index.tolist()  # a label that is no class may be a name: rows say which it is
    return [f"{len(first)} labels that the train split lacks, on {len(labels)} rows ({first_of(first)})"]


def first_of(rows: Sequence[int]) -> str:
    """Some of the rows that a note is about."""
    return f"rows {', '.join(map(str, sorted(rows)[:_EXAMPLES]))}" + (", ..." if len(rows) > _EXAMPLES else "")


def _refuse_patients_in_two_splits(root: Path, table: pd.DataFrame) -> None:
    rows = table[(table["reason"] == "") & (table["label"] != "") & (table["patient"] != "")]
    if rows["split"].nunique() < 2:
        return
    pairs = rows[["patient", "split"]].drop_duplicates()
    repeated = pairs[pairs["patient"].duplicated(keep=False)]
    if repeated.empty:
        return
    first = repeated[repeated["patient"] == repeated["patient"].iloc[0]]
    where = " and ".join(f"row {row} ({split})" for row, split in first["split"].items())
    raise InputError(
        f"{root}: {repeated['patient'].nunique()} patients lie in more than one split, the first of them in {where}, "
        "counting rows from 0; give all images of a patient one split, or convert with --ignore-splits"
    )


def _patients_with_several_labels(table: pd.DataFrame) -> list[str]:
    rows = table[(table["reason"] == "") & (table["label"] != "") & (table["patient"] != "")]
    pairs = rows[["patient", "label"]].drop_duplicates()
    repeated = pairs[pairs["patient"].duplicated(keep=False)]
    if repeated.empty:
        return []
    patients = repeated["patient"].unique()
    shown = repeated[repeated["patient"].isin(patients[:_EXAMPLES])]
    named = [
        "rows " + " and ".join(f"{row} ({label})" for row, label in of_patient["label"].items())
        for _, of_patient in shown.groupby("patient", sort=False)
    ]
    more = f"; and {len(patients) - _EXAMPLES} more" if len(patients) > _EXAMPLES else ""
    return [f"{len(patients)} patients have images under different labels: {'; '.join(named)}{more}"]
