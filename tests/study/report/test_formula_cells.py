"""The study's tables: no cell is a formula for a spreadsheet, and they say to us what they said before."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fastrad.dataset import write_beton
from fastrad.study.predictions import read_predictions
from fastrad.study.protocol.attributes import read_attributes
from fastrad.study.protocol.patients import read_patients
from fastrad.study.protocol.splits import make_splits, read_splits
from fastrad.study.report.folder import read_folder
from fastrad.study.report.values import to_csv
from fastrad.system.csv_file import csv_text, plain_content

NAMES = [f"{sign}{number}" for number in range(8) for sign in ("-", "+", "=", "@", "'=q", "p")]


def executed(path) -> list[str]:
    """The cells that a spreadsheet takes for a formula, numbers aside."""
    with open(path, newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row if cell[:1] in tuple("=+-@\t\r")]
    return [cell for cell in cells if not _is_score(cell)]


def _is_score(cell: str) -> bool:
    try:
        return "." in cell and bool(np.isfinite(float(cell)))
    except ValueError:
        return False


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "all.beton"
    images = np.random.default_rng(0).integers(0, 256, (len(NAMES), 8, 8), dtype=np.uint8)
    labels = np.arange(len(NAMES)) // 6 % 2
    write_beton(path, images, labels, range(len(NAMES)), classes=["benign", "malignant"], patient_names=NAMES)
    return read_patients(path)


def test_splits_come_back_and_no_patient_is_a_formula(dataset, tmp_path):
    splits = make_splits(dataset, folds=2)
    path = tmp_path / "splits.csv"
    path.write_bytes(splits.file_content())
    assert not executed(path)
    again = read_splits(path, dataset)
    assert again.fold.tolist() == splits.fold.tolist()
    assert again.sha256 == splits.sha256 == hashlib.sha256(plain_content(path.read_bytes())).hexdigest()


def test_splits_of_an_earlier_version_are_read_as_before(dataset, tmp_path):
    splits = make_splits(dataset, folds=2)
    (tmp_path / "splits.csv").write_text(splits.to_csv())
    assert read_splits(tmp_path / "splits.csv", dataset).fold.tolist() == splits.fold.tolist()


def test_attributes_come_back_and_no_value_is_a_formula(dataset, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("patient,self\n" + "".join(f"{name},@site\n" for name in NAMES))
    attributes = read_attributes(path, ["self"], dataset)
    assert attributes["self"].tolist() == ["@site"] * len(NAMES)
    path.write_text(csv_text(attributes, index="patient"))
    assert not executed(path)
    assert read_attributes(path, ["self"], dataset).index.tolist() == list(dataset.patients)


def test_text_beside_gaps_is_no_formula_either(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        csv_text(pd.DataFrame({"reason": ["=HYPERLINK(1)", None, np.nan], "score": [-1.5, 0, 1]}), index=False)
    )
    assert not executed(path)
    assert "-1.5" in path.read_text(), "numbers stay numbers"


def test_a_study_is_read_from_harmless_tables_as_from_former_ones(tmp_path, kept):
    """Every patient gets an id that a spreadsheet would execute, in files of either version."""
    former, today = (tmp_path / name for name in ("former", "today"))
    for folder in (former, today):
        shutil.copytree(kept, folder)
    patients = read_predictions(kept / "predictions.csv").drop_duplicates("patient")
    held_out = np.where(patients["set"] == "test", "test", "development")
    fold = np.where(patients["set"] == "test", "", patients["fold"].astype(str))
    patients[["patient", "label"]].assign(set=held_out, fold=fold).to_csv(former / "splits.csv", index=False)
    for path in [*former.glob("[!t]*.csv"), *former.glob("external/*.csv")]:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "score" in table:
            table["score"] = table["score"].astype(float)
        table["patient"] = "=" + table["patient"]
        path.write_text(table.to_csv(index=False))
        (today / path.relative_to(former)).write_text(csv_text(table, index=False))
        assert executed(path)
        assert not executed(today / path.relative_to(former))
    splits = former / "splits.csv"
    record = json.loads((former / "study.json").read_text())
    record["protocol"]["splits_sha256"] = hashlib.sha256(splits.read_bytes()).hexdigest()
    for folder in (former, today):
        (folder / "study.json").write_text(json.dumps(record))
    one, other = read_folder(former), read_folder(today)
    pd.testing.assert_frame_equal(one.predictions, other.predictions)
    pd.testing.assert_frame_equal(one.attributes, other.attributes)
    assert one.predictions["patient"].str.startswith("=").all()
    with splits.open("a") as file:
        file.write("=x,1,test,\n")
    shutil.copy(splits, today / "splits.csv")
    with pytest.raises(Exception, match="was altered after it was written"):
        read_folder(today)


def test_predictions_come_back(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("arm,seed,fold,set,patient,row,label,score\n'=x,0,0,test,'-7,1,0,-1.5\n-y,0,0,test,''=z,2,1,0.5\n")
    table = read_predictions(path)
    assert table["arm"].tolist() == ["=x", "-y"]
    assert table["patient"].tolist() == ["-7", "'=z"]


def test_no_arm_of_the_table_is_a_formula(tmp_path):
    rates = {name: {"estimate": 0.5, "low": 0.1, "high": 0.9} for name in ("sensitivity", "specificity", "ppv", "npv")}
    parts = {"patients": 1, "images": 1, "malignant": 1}
    values = {"arms": [{"label": "=1+1", **rates}], "development": parts, "test": parts, "synthetic": True}
    (tmp_path / "table.csv").write_text(to_csv(values))
    assert not executed(tmp_path / "table.csv")
