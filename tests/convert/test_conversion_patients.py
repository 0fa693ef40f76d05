"""Only patients of whom an image is stored are counted: a paper quotes the number."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fastrad.archives import read_source
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import BetonFile
from fastrad.dataset.pseudonym import hide_patient


def test_a_patient_whose_images_are_all_quarantined_is_not_listed(archive, tmp_path):
    manifest = archive(8)
    for number in (2, 3, 4):  # both images of p0001, one of p0002
        (manifest.root / manifest.table["path"][number]).unlink()
    convert(manifest, tmp_path / "out", ConvertOptions(workers=1, keep_patient_ids=True))
    file = BetonFile(tmp_path / "out" / "all.beton")
    assert file.card.patients == ["p0000", "p0002", "p0003"]
    assert [file.card.patients[index] for index in file.patients] == ["p0000", "p0000", "p0002", "p0003", "p0003"]


def test_unknown_patients_stay_unknown_beside_known_ones(archive, tmp_path):
    manifest = archive(6)
    manifest.table.loc[[0, 1], "patient"] = ""
    (manifest.root / manifest.table["path"][2]).unlink()
    (manifest.root / manifest.table["path"][3]).unlink()
    convert(manifest, tmp_path / "out", ConvertOptions(workers=1, keep_patient_ids=True))
    file = BetonFile(tmp_path / "out" / "all.beton")
    assert file.card.patients == ["p0002"]
    assert file.patients.tolist() == [-1, -1, 0, 0]


def test_ids_are_hidden_in_paths_whatever_their_case_zeros_and_row(tmp_path):
    """Quarantined rows keep their paths in the card."""
    rows = "001234_1.png,b,1234\nDOE_JANE.png,m,doe_jane\nscan-MRN55b.png,b,MRN55\nMRN55/x.png,m,other77\n"
    rows += "of-mrn-0017.png,b,\nok.png,b,MRN-0017\n"
    (tmp_path / "labels.csv").write_text("path,label,patient\n" + rows)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "ok.png")
    manifest = read_source("table", tmp_path)
    (file,) = convert(manifest, tmp_path / "out", ConvertOptions(size=8, workers=1)).files
    paths = [entry["path"] for entry in file.card.quarantined]
    assert len(paths) == 5
    text = " ".join(paths).lower()
    assert not any(name in text for name in ("1234", "doe", "mrn55", "0017"))


def test_a_longer_number_or_word_is_another_id():
    assert hide_patient("MRN170.png", "MRN17", "x") == "MRN170.png"
    assert hide_patient("janet.png", "jane", "x") == "janet.png"
