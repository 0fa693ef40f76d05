"""From an audit's groups of copies to a conversion without them, and a verification of that."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fastrad.archives import read_source
from fastrad.audit import AuditOptions, audit
from fastrad.audit.rows import proposed_drops
from fastrad.audit.samples import perceptual_hash
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset.card import Card
from fastrad.dataset.opening import open_dataset
from fastrad.errors import FormatError, InputError
from fastrad.verify import read_source_again, verify

NO_TEXT = AuditOptions(text_images=0, workers=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images of as many patients in two splits; of three pairs of copies one crosses splits, one labels."""
    folder = tmp_path / "archive"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (12, 40, 40), dtype=np.uint8)
    images[5], images[9], images[7] = images[2], images[1], images[0]
    labels = ["a", "b", "a", "b", "a", "a", "a", "b", "b", "b", "a", "b"]
    lines = ["path,label,patient,split"]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(folder / f"MRN{number:04d}_x.png")
        lines.append(f"MRN{number:04d}_x.png,{label},MRN{number:04d},{'test' if number > 7 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def options(tmp_path: Path, **more: object) -> ConvertOptions:
    return ConvertOptions(size=32, workers=1, pseudonym_key=tmp_path / "key", **more)  # type: ignore[arg-type]


def test_every_group_has_its_paths_and_what_is_proposed_is_left_out(root: Path, tmp_path: Path) -> None:
    manifest = read_source("table", root)
    before = tmp_path / "before"
    keys = {"keep_patient_ids": True, "rows_csv": True}
    convert(manifest, before, ConvertOptions(size=32, workers=1, **keys))
    report = audit([before / "train.beton", before / "test.beton"], tmp_path / "audit", NO_TEXT)
    proposed = {
        tuple(sample["row"] for sample in group["samples"]): [sample["drop"] for sample in group["samples"]]
        for group in report["exact_duplicates"]["listed"]
    }
    # 1 and 9 cross splits: the test image stays; 2 and 5 are one image; 0 and 7 have two labels, so none is right
    assert proposed == {(1, 9): [True, False], (2, 5): [False, True], (0, 7): [True, True]}
    assert report["exact_duplicates"]["listed"][0]["samples"][0]["path"] == "MRN0001_x.png"
    after = tmp_path / "after"
    summary = convert(manifest, after, options(tmp_path, drop=tmp_path / "audit" / "audit.json", rows_csv=True))
    assert open_dataset(after / "train.beton").rows.tolist() == [2, 3, 4, 6]
    assert open_dataset(after / "test.beton").rows.tolist() == [8, 9, 10, 11]
    card = Card.read(after / "train.card.json")
    assert {entry["row"]: entry["reason"] for entry in card.quarantined} == {
        0: "left out by --drop: an exact copy",
        1: "left out by --drop: an exact copy of row 9",
        5: "left out by --drop: an exact copy of row 2",
        7: "left out by --drop: an exact copy",
    }
    assert "4 rows are left out by --drop: an exact copy" in card.notes
    assert "= 8 stored + 4 left out as asked" in summary.to_text()
    assert not summary.quarantine_reasons
    again = read_source_again(after / "train.beton", root)
    result = verify(after / "train.beton", again, workers=1)
    assert (result.problems, result.not_compared, result.compared_with_source) == ((), (), 4)
    with pytest.raises(InputError, match="since then"):  # other rows are another dataset
        convert(manifest, after, options(tmp_path))


def test_a_decision_may_be_changed(root: Path, tmp_path: Path) -> None:
    manifest = read_source("table", root)
    convert(manifest, tmp_path / "before", options(tmp_path))
    report = audit([tmp_path / "before" / "train.beton"], tmp_path / "audit", NO_TEXT)
    for group in report["exact_duplicates"]["listed"]:
        for sample in group["samples"]:
            sample["drop"] = sample["row"] == 2
    changed = tmp_path / "decided.json"
    changed.write_text(json.dumps(report))
    convert(manifest, tmp_path / "after", options(tmp_path, drop=changed))
    assert open_dataset(tmp_path / "after" / "train.beton").rows.tolist() == [0, 1, 3, 4, 5, 6, 7]


def test_a_report_of_another_archive_or_none_is_one_line(root: Path, tmp_path: Path) -> None:
    manifest = read_source("table", root)
    convert(manifest, tmp_path / "before", options(tmp_path))
    audit([tmp_path / "before" / "test.beton"], tmp_path / "audit", NO_TEXT)
    drop = tmp_path / "audit" / "audit.json"
    with pytest.raises(InputError, match='says "drop": true of no sample'):
        convert(manifest, tmp_path / "after", options(tmp_path, drop=drop))
    other = read_source("table", root, ignore_splits=True)
    with pytest.raises(InputError, match="about another archive"):
        convert(other, tmp_path / "after", options(tmp_path, drop=drop))
    drop.write_text('{"datasets": 3}')
    with pytest.raises(FormatError, match=r"give the audit\.json of `fastrad audit`"):
        convert(manifest, tmp_path / "after", options(tmp_path, drop=drop))
    with pytest.raises(InputError, match="no such file"):
        convert(manifest, tmp_path / "after", options(tmp_path, drop=tmp_path / "none.json"))


def test_rows_are_written_as_they_are_stored_also_of_what_was_finished_before(root: Path, tmp_path: Path) -> None:
    (root / "MRN0003_x.png").write_bytes(b"no image")
    manifest, out = read_source("table", root), tmp_path / "out"
    convert(manifest, out, options(tmp_path))
    assert not (out / "train.rows.csv").exists()
    summary = convert(manifest, out, options(tmp_path, rows_csv=True))
    assert summary.converted == 0
    with open(out / "train.rows.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    dataset = open_dataset(out / "train.beton")
    assert [int(line["row"]) for line in lines] == dataset.rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert [line["label"] for line in lines] == [dataset.card.classes[label] for label in dataset.labels]
    assert [line["patient"] for line in lines] == [dataset.card.patients[index] for index in dataset.patients]
    assert {line["path"] for line in lines} == {""}, "a path may name a patient"
    assert {line["split"] for line in lines} == {"train"}
    assert "MRN" not in (out / "train.rows.csv").read_text()
    (private,) = [Path(path) for path in summary.row_paths if Path(path).name.startswith("train-")]
    assert out not in private.parents
    assert private.stat().st_mode & 0o777 == 0o600
    assert str(private) in summary.to_text()
    with open(private, newline="") as file:
        paths = {int(line["row"]): line["path"] for line in csv.DictReader(file)}
    assert paths == {row: f"MRN{row:04d}_x.png" for row in (0, 1, 2, 4, 5, 6, 7)}


def test_the_audit_lists_every_sample_with_its_groups(root: Path, tmp_path: Path) -> None:
    convert(read_source("table", root), tmp_path / "d", ConvertOptions(workers=1, keep_patient_ids=True, rows_csv=True))
    audit([tmp_path / "d" / "train.beton", tmp_path / "d" / "test.beton"], tmp_path / "audit", NO_TEXT)
    table = pd.read_csv(tmp_path / "audit" / "rows.csv").set_index("row")
    assert table["exact_group"].dropna().astype(int).to_dict() == {0: 1, 7: 1, 1: 2, 9: 2, 2: 3, 5: 3}
    assert table["path"].str.endswith("_x.png").all()


def test_paths_of_another_conversion_are_left_out_and_said(root: Path, tmp_path: Path, capsys) -> None:
    convert(read_source("table", root), tmp_path / "d", ConvertOptions(workers=1, keep_patient_ids=True, rows_csv=True))
    rows = tmp_path / "d" / "train.rows.csv"
    rows.write_text("\n".join(rows.read_text().splitlines()[:3]) + "\n")
    report = audit([tmp_path / "d" / "train.beton"], tmp_path / "audit", NO_TEXT)
    assert {sample["path"] for group in report["exact_duplicates"]["listed"] for sample in group["samples"]} == {""}
    assert "is not of this dataset's rows" in capsys.readouterr().err


def test_the_copy_that_stays_is_the_test_splits() -> None:
    def proposed(*splits: str) -> list[bool]:
        return proposed_drops(pd.DataFrame({"split": splits, "label": ["a"] * len(splits)}))

    assert proposed("train", "train", "train") == [False, True, True]
    assert proposed("train", "val", "train", "test", "test") == [True, True, True, False, True]
    assert proposed("all", "all") == [False, True]


def test_the_perceptual_hash_is_imagehashs() -> None:
    for seed, shape in enumerate([(224, 224), (48, 31), (8, 9), (500, 333)]):
        image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        theirs = int(np.packbits(imagehash.phash(Image.fromarray(image)).hash.ravel()).view(">u8")[0])
        assert perceptual_hash(image) == theirs


def test_without_the_extra_everything_but_text_is_looked_for(root: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    import sys

    convert(read_source("table", root), tmp_path / "d", options(tmp_path))
    for name in ("rapidocr", "imagehash"):
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    report = audit([tmp_path / "d" / "train.beton"], tmp_path / "audit", AuditOptions(workers=1))
    assert report["exact_duplicates"]["groups"] == 2
    assert report["text"]["images_read"] == 0
    assert "pip install 'fastrad[audit]'" in report["text"]["not_looked_for"]
    assert "burned-in text is not looked for" in capsys.readouterr().err
    assert "pip install" in (tmp_path / "audit" / "audit.html").read_text()


def test_no_cell_of_rows_csv_is_a_formula_and_the_path_in_audit_json_is_the_files_own(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, (40, 40), dtype=np.uint8)
    root = tmp_path / "archive"
    root.mkdir()
    lines = ["path,label,patient"]
    for name, label, patient in (("=1+2.png", "-a", "@p"), ("=3.png", "b", "+q")):
        Image.fromarray(image).save(root / name)
        lines.append(f"{name},{label},{patient}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    convert(read_source("table", root), tmp_path / "d", ConvertOptions(workers=1, keep_patient_ids=True, rows_csv=True))
    audit([tmp_path / "d"], tmp_path / "audit", NO_TEXT)
    (beside,) = (tmp_path / "d").glob("*.rows.csv")
    for path in (beside, tmp_path / "audit" / "rows.csv"):
        with open(path, newline="") as file:
            cells = [(line["path"], line["label"], line["patient"]) for line in csv.DictReader(file)]
        assert cells == [("'=1+2.png", "'-a", "'@p"), ("'=3.png", "b", "'+q")]
    text = json.dumps(json.loads((tmp_path / "audit" / "audit.json").read_text()))
    assert "=1+2.png" in text
    assert "'=1+2.png" not in text
