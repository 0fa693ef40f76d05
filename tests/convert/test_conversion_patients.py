"""Only patients of whom an image is stored are counted: a paper quotes the number."""

from __future__ import annotations

from fastrad.convert import ConvertOptions, convert
from fastrad.storage import BetonFile


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
