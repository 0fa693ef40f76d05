"""A validation split that is drawn by patient."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrad.archives import read_source
from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError, OptionError


def read(root: Path, rows: list[tuple], header: str = "path,label,patient", **options: object) -> Manifest:
    lines = [",".join(map(str, row)) for row in rows]
    (root / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    return read_source("table", root, **options)


# 40 patients with two images each, a quarter of them malignant
ROWS = [(f"{p}_{k}.png", "malignant" if p % 4 == 0 else "benign", f"P{p}") for p in range(40) for k in range(2)]


def test_patients_are_drawn_whole_and_in_each_label(tmp_path: Path) -> None:
    table = read(tmp_path, ROWS, val_fraction=0.2).table
    assert table.groupby("patient")["split"].nunique().max() == 1
    patients = table.drop_duplicates("patient")
    assert patients.value_counts(["label", "split"]).to_dict() == {
        ("benign", "train"): 24,
        ("benign", "val"): 6,
        ("malignant", "train"): 8,
        ("malignant", "val"): 2,
    }


def test_who_is_drawn_depends_on_the_patients_alone(tmp_path: Path) -> None:
    def drawn(rows: list[tuple]) -> set[str]:
        table = read(tmp_path, rows, val_fraction=0.2).table
        return set(table["patient"][table["split"] == "val"])

    assert drawn(ROWS) == drawn(ROWS[::-1]) == drawn([(f"x{path}", label, patient) for path, label, patient in ROWS])
    assert read(tmp_path, ROWS, val_fraction=0.2).sha256() == read(tmp_path, ROWS, val_fraction=0.2).sha256()


def test_the_test_split_stays(tmp_path: Path) -> None:
    rows = [(*row, "test" if row[2] in ("P0", "P1") else "train") for row in ROWS]
    table = read(tmp_path, rows, "path,label,patient,split", val_fraction=0.5).table
    assert set(table["patient"][table["split"] == "test"]) == {"P0", "P1"}
    assert (table["split"] == "val").sum() == 36  # of 29 benign patients 14, of 9 malignant ones 4, rounded to even


def test_images_without_patients_are_drawn_singly_and_that_is_said(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(10):
            (tmp_path / label / f"{number}.png").touch()
    manifest = read_source("folder", tmp_path, val_fraction=0.3)
    assert (manifest.table["split"] == "val").sum() == 6
    assert any("images of one patient may lie in train and in val" in note for note in manifest.notes)


def test_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        read(tmp_path, ROWS, val_fraction=1.5)
    with pytest.raises(OptionError, match="which --ignore-splits would ignore"):
        read(tmp_path, ROWS, val_fraction=0.2, ignore_splits=True)
    with pytest.raises(InputError, match="leaves a split empty"):
        read(tmp_path, ROWS[:4], val_fraction=0.1)
    rows = [(*row, "val" if row[2] == "P0" else "train") for row in ROWS]
    with pytest.raises(OptionError, match="has a validation split"):
        read(tmp_path, rows, "path,label,patient,split", val_fraction=0.2)
