"""Only patients of whom an image is stored are counted, as a paper quotes the number; and none of them is named."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.archives import read_source
from fastrad.archives.manifest import Manifest
from fastrad.cli import main
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import BetonFile, Card
from fastrad.errors import InputError


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


NAMES = ("mustermann", "erika", "0042137", "42137", "19580412", "1958-04-12", "mrn-0017", "mrn%2d", "geheim")


def _archive_of_names(root: Path) -> None:
    """Rows that cannot be stored, each of which would name its patient."""
    rows = [
        ("scans/mustermann_erika.png", "b", "17"),  # missing
        ("scans/mrn - 0042137.png", "b", "0042137"),
        ("scans/mrn%2d0042137.png", "m", "0042137"),
        ("geb_1958-04-12.png", "m", "19580412"),
        ("../mustermann.png", "b", "5"),
        ("ok0.png", "Mustermann, Erika", "6"),  # a label that is excluded
        ("ok1.png", "geheim", "7"),
        ("OK2.PNG", "b", "8"),  # there, spelled otherwise
        ("ok3.png", "b", "MRN-0017"),
        ("ok3.png", "m", "MRN-0017"),  # under two labels
        *((f"ok{number}.png", "bm"[number % 2], f"p{number}") for number in range(4, 10)),
    ]
    for number in range(10):
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(root / f"ok{number}.png")
    (root / "ok9.png").write_bytes(b"no picture")
    with open(root / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "patient"), *rows])


def test_nothing_that_is_given_away_or_printed_names_a_patient(tmp_path, capsys):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    _archive_of_names(root)
    options = ["--labels", "benign=b", "malignant=m", "--size", "8", "--workers", "1"]
    printed = ""
    for words in (
        ["convert", "table", str(root), str(out), *options],
        ["convert", "table", str(root), str(out), *options, "--json"],
        ["inspect", str(out / "all.beton")],
        ["inspect", str(out / "all.beton"), "--json"],
        ["verify", str(out / "all.beton"), "--source", str(root), "--layout", "table", "--json"],
    ):
        with pytest.raises(SystemExit):
            main(words)
        captured = capsys.readouterr()
        printed += captured.out + captured.err
    given_away = printed + "".join(path.read_bytes().decode("latin-1") for path in out.iterdir())
    assert [name for name in NAMES if name in given_away.lower()] == []
    assert [entry["row"] for entry in Card.read(out / "all.beton").quarantined] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15]

    (listing,) = (tmp_path / "config" / "fastrad" / "quarantined").iterdir()
    assert stat.S_IMODE(listing.stat().st_mode) == 0o600
    assert str(listing) in printed
    with open(listing, newline="") as file:
        listed = list(csv.DictReader(file))
    assert [int(row["row"]) for row in listed] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15]
    assert listed[0]["path"] == "scans/mustermann_erika.png"
    assert listed[5]["reason"] == "label 'Mustermann, Erika' is excluded"


def test_a_key_that_others_may_read_is_said(archive, tmp_path, own_key):
    own_key.chmod(0o644)
    summary = convert(archive(6), tmp_path / "out", ConvertOptions(size=8, workers=1))
    assert any("others may read the key" in notice and "chmod 600" in notice for notice in summary.notices)
    own_key.chmod(0o600)
    assert convert(archive(6), tmp_path / "out", ConvertOptions(size=8, workers=1)).notices == ()


def _table(root: Path, labels: list[str], patients: list[str]) -> Manifest:
    for number in range(len(labels)):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(root / f"{number}.png")
    lines = [f"{number}.png,{one},{other}" for number, (one, other) in enumerate(zip(labels, patients, strict=True))]
    (root / "labels.csv").write_text("path,label,patient\n" + "\n".join(lines) + "\n")
    return read_source("table", root)


@pytest.mark.parametrize(
    ("labels", "patients"),
    [
        (["a1", "a2", "a3", "a4", "a4"], ["A1", "A2", "A3", "A4", "A4"]),  # the id itself
        (["Anna", "Bert", "Carl", "Dora", "Emil"], ["1", "2", "3", "4", "5"]),  # as many names as patients
        (["s1", "s2", "s3", "s4", "s5", "s6"], ["1", "1", "2", "2", "3", "4"]),  # an id of each study
        (["Anna", "Bert", "Carl", "Dora", "Emil"], [""] * 5),  # as many as images
    ],
)
def test_ids_that_were_taken_for_labels_stop_with_a_line_that_holds_none(tmp_path, labels, patients):
    manifest = _table(tmp_path, labels, patients)
    with pytest.raises(InputError, match="--columns label=COLUMN") as error:
        convert(manifest, tmp_path / "out", ConvertOptions(size=8, workers=1))
    assert not any(text and text in str(error.value).replace(str(tmp_path), "") for text in labels)
    assert not (tmp_path / "out" / "all.beton").exists()


def test_few_classes_are_no_ids_even_where_numbers_coincide(tmp_path):
    manifest = _table(tmp_path, ["0", "1", "0", "1", "2"], ["0", "1", "2", "3", "4"])
    assert convert(manifest, tmp_path / "out", ConvertOptions(size=8, workers=1)).files[0].card.samples == 5
