"""`--splits` and `--attributes` take the separators and encodings that `labels.csv` takes."""

from __future__ import annotations

import numpy as np
import pytest

from fastrad.dataset import write_beton
from fastrad.study.protocol.attributes import read_attributes
from fastrad.study.protocol.patients import read_patients
from fastrad.study.protocol.splits import read_splits

NAMES = [f"müller{number}" for number in range(24)]
FORMS = [(",", "utf-8"), (";", "utf-8"), ("\t", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), (";", "latin-1")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "all.beton"
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    write_beton(path, images, np.arange(24) % 2, range(24), classes=["benign", "malignant"], patient_names=NAMES)
    return read_patients(path)


@pytest.mark.parametrize(("separator", "encoding"), FORMS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_splits_and_attributes_are_read_in_every_form(dataset, tmp_path, separator, encoding, ending):
    lines = [["site", "patient", "set", "fold"]]
    for number, name in enumerate(NAMES):
        held_out = number < 8
        lines.append(
            ["Köln", f" {name} ", "test" if held_out else "development", "" if held_out else str(number % 4 // 2)]
        )
    content = ending.join(separator.join(line) for line in lines) + ending
    (tmp_path / "table.csv").write_bytes(content.encode(encoding))

    splits = read_splits(tmp_path / "table.csv", dataset)
    fold = dict(zip(splits.patients, splits.fold.tolist(), strict=True))
    assert fold == {name: -1 if number < 8 else number % 4 // 2 for number, name in enumerate(NAMES)}
    assert splits.folds == 2

    attributes = read_attributes(tmp_path / "table.csv", ["site"], dataset)
    assert attributes["site"].tolist() == ["Köln"] * 24
    assert attributes.index.tolist() == list(dataset.patients)


def test_a_column_that_is_asked_for_twice_is_one(dataset, tmp_path):
    (tmp_path / "table.csv").write_text("patient;site\n" + "".join(f"{name};north\n" for name in NAMES))
    assert read_attributes(tmp_path / "table.csv", ["site", "site"], dataset).columns.tolist() == ["site"]
