"""An archive as the source of a conversion: the usable rows of a manifest, a split at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.convert.drop import fingerprint_of_drop, rows_to_drop
from fastrad.convert.images import SourceImages
from fastrad.convert.sample import ImageOptions
from fastrad.dataset.pseudonym import without_values
from fastrad.errors import InputError

_MIXED_UP = 3  # so few patients or classes may be as many by chance


@dataclass(frozen=True)
class ArchiveSplit:
    """One split of a manifest.

    Attributes
    ----------
    manifest : Manifest
    manifest_sha256 : str
    split : str
        "" where the source has none.
    rows, labels, patients : numpy.ndarray
        int64; the manifest rows to store, their class indices, and indices into `patient_names` (-1 unknown).
    classes, patient_names : tuple of str
    patient_ids : str
        "pseudonym", "kept" or "none".
    name_patient : callable or None
        From a patient id to its pseudonym; None stores the ids.
    options : mapping
        What the source was read with; no absolute paths.
    dropped : mapping
        Usable rows that are left out on purpose, with why.
    """

    manifest: Manifest
    manifest_sha256: str
    split: str
    rows: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    classes: tuple[str, ...]
    patient_names: tuple[str, ...]
    patient_ids: str
    name_patient: Callable[[str], str] | None
    options: Mapping[str, Any]
    dropped: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the files: "train", "val", "test" or "all"."""
        return self.split or "all"

    @property
    def place(self) -> str:
        """Where the archive is."""
        return str(self.manifest.root)

    @property
    def layout(self) -> str:
        """The source's layout."""
        return self.manifest.layout

    @property
    def synthetic(self) -> bool:
        """Whether the images are generated."""
        return self.manifest.synthetic

    @property
    def notes(self) -> list[str]:
        """The source's remarks."""
        counts = Counter(reason.partition(" of row ")[0] for reason in self.dropped.values())
        return [*self.manifest.notes, *(f"{count} rows are {why}" for why, count in sorted(counts.items()))]

    @property
    def statistics(self) -> None:
        """What knows of the pixels before they are read; here nothing does."""
        return None

    def parameters(self) -> dict[str, Any]:
        """What the card says of the source among its parameters."""
        return {"dropped": fingerprint_of_drop(self.dropped)} if self.dropped else {}

    def images(self, positions: np.ndarray | slice, options: ImageOptions) -> SourceImages:
        """The images at some positions in `rows`, for a worker."""
        table, rows, patients = self.manifest.table, self.rows[positions], self.patients[positions]
        return SourceImages(
            root=self.place,
            paths=table["path"].iloc[rows].tolist(),
            frames=table["frame"].iloc[rows].tolist(),
            boxes=table["box"].iloc[rows].tolist(),
            options=options,
            rows=rows,
            labels=self.labels[positions],
            patients=patients,
            classes=self.classes,
            patient_names=[self.patient_names[k] if k >= 0 else None for k in patients.tolist()],
        )

    def absent(self) -> list[int]:
        """Rows to store whose file is not there."""
        there: dict[str, bool] = {}  # a clip is a row a frame
        paths = self.manifest.table["path"].iloc[self.rows].tolist()
        for path in paths:
            if path not in there:
                there[path] = os.path.isfile(os.path.join(self.place, path))
        return [row for row, path in zip(self.rows.tolist(), paths, strict=True) if not there[path]]

    def quarantine(self, found: list[tuple[int, str]]) -> list[dict[str, Any]]:
        """What the source or the conversion (`found`: row, reason) could not use, in row order: no path, no value."""
        return [{"row": row, "reason": without_values(reason)} for row, _, reason in self.quarantined_paths(found)]

    def quarantined_paths(self, found: list[tuple[int, str]]) -> list[tuple[int, str, str]]:
        """As `quarantine`, for the user alone: row, path and the whole reason."""
        table = self.manifest.table
        refused = np.flatnonzero((table["reason"] != "").to_numpy() & (table["split"] == self.split).to_numpy())
        reasons = dict(zip(refused.tolist(), table["reason"].iloc[refused].tolist(), strict=True))
        reasons.update(found)
        ours = table["split"] == self.split
        reasons.update((row, reason) for row, reason in self.dropped.items() if ours.iloc[row])
        return [(row, table["path"].iloc[row], reasons[row]) for row in sorted(reasons)]

    def shown_paths(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The paths of some rows, or "" for each where patients are pseudonyms, whom a path may name."""
        if self.patient_ids == "pseudonym":
            return [""] * len(rows)
        return self.manifest.table["path"].iloc[rows].tolist()

    def unlabelled(self) -> dict[str, Any]:
        """The card's `unlabelled`."""
        table = self.manifest.table
        rows = np.flatnonzero(self.manifest.unlabelled & (table["split"] == self.split).to_numpy())
        patients = set(table["patient"].iloc[rows]) - {""}
        return {"count": len(rows), "patients": len(patients), "rows": rows.tolist()}


def split_archive(
    manifest: Manifest,
    options: Mapping[str, Any],
    name_patient: Callable[[str], str] | None,
    drop: Path | None = None,
) -> list[ArchiveSplit]:
    """Every split that occurs in the manifest, also where it has no usable row.

    Parameters
    ----------
    options : mapping
        What the source was read with, for the card.
    name_patient : callable or None
        From a patient id to its pseudonym; None stores the ids.
    drop : Path, optional
        An `audit.json` that says which rows to leave out.

    Raises
    ------
    InputError
        If nothing is usable, a path leaves the root, or two patients get one pseudonym.
    """
    table, usable = manifest.table, manifest.usable
    if not usable.any():
        raise InputError(f"{manifest.root}: {_why_nothing(manifest)}")
    _refuse_outside_paths(manifest, usable)
    _refuse_rows_without_split(manifest, usable)
    classes = manifest.classes
    if not options.get("labels"):  # else the user has named the classes
        _refuse_names_as_classes(manifest, usable, classes)
    codes = {label: index for index, label in enumerate(classes)}
    labels = table["label"].map(codes).fillna(-1).to_numpy(dtype=np.int64)
    if (labels[usable] < 0).any():
        row = int(np.flatnonzero(usable & (labels < 0))[0])
        raise InputError(f"{manifest.root}: row {row} has a label that no row of the train split has")
    sha256 = manifest.sha256()
    dropped = rows_to_drop(drop, sha256) if drop is not None else {}
    if dropped:
        dropped = {row: reason for row, reason in dropped.items() if row < len(usable) and usable[row]}
        usable = usable & ~np.isin(np.arange(len(usable)), list(dropped))
    splits = []
    for split in manifest.split_names:
        if split == "" and len(manifest.split_names) > 1:
            continue
        rows = np.flatnonzero(usable & (table["split"] == split).to_numpy())
        patients, names = _patients(manifest, rows, name_patient)
        kind = "none" if not names else "kept" if name_patient is None else "pseudonym"
        splits.append(
            ArchiveSplit(
                manifest=manifest,
                manifest_sha256=sha256,
                split=split,
                rows=rows,
                labels=labels[rows],
                patients=patients,
                classes=classes,
                patient_names=names,
                patient_ids=kind,
                name_patient=name_patient,
                options=options,
                dropped=dropped,
            )
        )
    return splits


def _why_nothing(manifest: Manifest) -> str:
    if len(manifest) == 0:
        return "the archive has no images"
    reasons = manifest.table["reason"][manifest.table["reason"] != ""]
    if len(reasons):
        return f"none of {len(manifest)} rows is usable; the first reason is: {without_values(reasons.iloc[0])}"
    return f"none of {len(manifest)} images has a label"


def _refuse_outside_paths(manifest: Manifest, usable: np.ndarray) -> None:
    path = manifest.table["path"]
    outside = usable & (path.str.startswith("/") | path.str.contains(r"(?:^|/)\.\.(?:/|$)", regex=True)).to_numpy()
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(f"{manifest.root}: row {row} leaves this folder; only files inside it are read")


def _refuse_names_as_classes(manifest: Manifest, usable: np.ndarray, classes: tuple[str, ...]) -> None:
    """Class names stand in card, report and weights: a column of ids or names that was taken for one must not."""
    table = manifest.table[usable]
    known = table["patient"][table["patient"] != ""]
    way_out = "name the column that holds it (--columns label=COLUMN), or say which values mean which class (--labels)"
    same = table["label"].str.casefold() == table["patient"].str.casefold()
    if len(classes) >= _MIXED_UP and 2 * same.sum() >= len(table):
        raise InputError(
            f"{manifest.root}: the label is the patient's id in {same.sum()} of {len(table)} rows; {way_out}"
        )
    of_whom = "patients" if len(known) else "images"
    count = known.nunique() if len(known) else len(table)
    if len(classes) >= count > _MIXED_UP:
        raise InputError(
            f"{manifest.root}: there are {len(classes)} classes for {count} {of_whom}, so the label may be an id or a "
            f"name; {way_out}"
        )


def _refuse_rows_without_split(manifest: Manifest, usable: np.ndarray) -> None:
    if "" in manifest.split_names and len(manifest.split_names) > 1:
        stray = usable & (manifest.table["split"] == "").to_numpy()
        if stray.any():
            raise InputError(
                f"{manifest.root}: {stray.sum()} rows have no split while others do (first row "
                f"{np.flatnonzero(stray)[0]}); give each train, val or test, or none"
            )


def _patients(
    manifest: Manifest, rows: np.ndarray, name_patient: Callable[[str], str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices in order of first appearance (-1 unknown), and the name of each patient."""
    import pandas as pd

    ids = manifest.table["patient"].iloc[rows]
    codes, known = pd.factorize(ids.where(ids != "", None))
    names = [str(patient) if name_patient is None else name_patient(str(patient)) for patient in known]
    if len(set(names)) != len(names):
        raise InputError(f"{manifest.root}: two patients get the same pseudonym; use another --pseudonym-key")
    return codes.astype(np.int64), tuple(names)
