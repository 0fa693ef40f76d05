"""An institution's CSV: encodings, columns, label mappings, splits and patients."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrad.archives import read_source
from fastrad.archives.manifest import Manifest
from fastrad.archives.table import parse_columns, parse_labels
from fastrad.errors import InputError, OptionError


def read_text(root: Path, text: str | bytes, **options: object) -> Manifest:
    (root / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_source("table", root, **options)


def test_rows_keep_the_order_of_the_table(tmp_path: Path) -> None:
    manifest = read_text(tmp_path, "path,label,patient\nz.png,malignant,7\na.png,benign,3\n")
    assert manifest.table["path"].tolist() == ["z.png", "a.png"]
    assert manifest.table["label"].tolist() == ["malignant", "benign"]
    assert manifest.table["patient"].tolist() == ["7", "3"]
    assert manifest.split_names == ("",)


def test_labels_are_opaque_strings(tmp_path: Path) -> None:
    manifest = read_text(tmp_path, "path,label,patient\na.png,NA,007\nb.png,1.0,7\nc.png,nan,1e3\nd.png,,x\n")
    assert manifest.table["label"].tolist() == ["NA", "1.0", "nan", ""]
    assert manifest.table["patient"].tolist() == ["007", "7", "1e3", "x"]
    assert manifest.unlabelled.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffpath,label,patient\r\nJos\u00e9/a.png,"papillary, classic",1\r\n'.encode(),
        "path;label;patient\nJos\u00e9/a.png;papillary, classic;1\n".encode("cp1252"),
        "label\tpatient\tpath\npapillary, classic\t1\tJos\u00e9\\a.png\n".encode("cp1252"),
        "label\tpatient\tpath\r\npapillary, classic\t1\tJos\u00e9\\a.png\r\n".encode("utf-16"),
        'remark,path , label,patient\n"a ""quoted""\nremark",Jos\u00e9//a.png, "papillary, classic" ,1'.encode(),
    ],
    ids=["bom-crlf-quotes", "semicolons-cp1252", "tabs-backslashes", "utf-16", "more-columns-and-blanks"],
)
def test_tables_as_people_send_them(tmp_path: Path, text: bytes) -> None:
    row = read_text(tmp_path, text).table.iloc[0]
    assert row["path"] == "José/a.png"
    assert row["label"] == "papillary, classic"
    assert row["patient"] == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"path,label,patient\n", "has no rows"),
        (b"file,dx\na.png,1\n", "no column path, label, patient; the file has the columns file, dx"),
        (b"path,label,patient\na.png,1,2,3,4\n", "not a regular CSV"),
        (b"path,label,patient\na.png,1,2\nb.png,papillary, classic,2\n", "not a regular CSV"),
        ("path,label,patient\na.png,1,2\n".encode("utf-16-le"), "NUL bytes"),
        ("path,label,patient\na.png,1,2\n".encode("utf-32"), "NUL bytes"),
        ("path,label,patient\na.png,1,2\n".encode("utf-16")[:-1], "neither UTF-8 nor"),
        (b"path,label,patient,label\na.png,1,2,3\n", "column label occurs twice"),
        (b"path,label,patient,split\na.png,1,2,holdout\n", "split 'holdout' in row 0"),
        (b"path,label,patient,frame\na.png,1,2,x\n", "frame 'x' in row 0"),
    ],
)
def test_tables_that_cannot_be_used_are_one_clear_line(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_text(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.csv: no such table"):
        read_source("table", tmp_path)


def test_columns_and_labels_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(
        "MRN,FILE,PATH_DX\n11,a.png,1\n12,b.png,M\n13,c.png,Bethesda VI\n14,d.png,B\n15,e.png,Bethesda III\n16,f.png,\n"
    )
    manifest = read_source(
        "table",
        tmp_path,
        table=tmp_path / "export.csv",
        columns=parse_columns("path=FILE,label=PATH_DX,patient=MRN"),
        labels=parse_labels(['malignant=1,M,"Bethesda VI"', "benign=0,B"]),
    )
    assert manifest.table["label"].tolist() == ["malignant"] * 3 + ["benign", "", ""]
    assert manifest.table["reason"].tolist() == [""] * 4 + ["label 'Bethesda III' is excluded", ""]
    assert any("1 rows are excluded by their labels: 'Bethesda III' (1)" in note for note in manifest.notes)
    assert any("'0'" in note for note in manifest.notes)


def test_words_that_are_no_mapping_are_named() -> None:
    with pytest.raises(InputError, match="given to malignant and to benign"):
        parse_labels(["malignant=1", "benign=0,1"])
    with pytest.raises(InputError, match="CLASS=VALUE"):
        parse_labels(["malignant"])
    with pytest.raises(InputError, match="NAME=COLUMN"):
        parse_columns("file=FILE")


def test_a_patient_in_two_splits_is_one_error_that_names_rows_only(tmp_path: Path) -> None:
    text = "path,label,patient,split\na.png,b,SMITH^JOHN,train\nb.png,b,x,train\nc.png,b,SMITH^JOHN,test\n"
    with pytest.raises(InputError, match=r"1 patients .* row 0 \(train\) and row 2 \(test\)") as caught:
        read_text(tmp_path, text)
    assert "SMITH" not in str(caught.value)


def test_conflicting_labels_of_a_patient_are_named_by_row(tmp_path: Path) -> None:
    text = "path,label,patient\na.png,benign,SMITH\nb.png,benign,x\nc.png,malignant,SMITH\n"
    manifest = read_text(tmp_path, text)
    assert any("rows 0 (benign) and 2 (malignant)" in note for note in manifest.notes)
    assert "SMITH" not in " ".join(manifest.notes)
    assert manifest.usable.all()


def test_splits_have_their_usual_names_and_rows_without_one_a_reason(tmp_path: Path) -> None:
    text = "path,label,patient,split\na.png,x,1,Training\nb.png,x,2,valid\nc.png,x,3,TEST\nd.png,x,4,\n"
    manifest = read_text(tmp_path, text)
    assert manifest.table["split"].tolist() == ["train", "val", "test", "train"]  # a card lists it
    assert manifest.table["reason"].tolist() == ["", "", "", "has no split, while other rows have one"]


def test_a_table_without_patients_must_say_so(tmp_path: Path) -> None:
    text = "path,label\na.png,x\n"
    with pytest.raises(InputError, match="no column patient"):
        read_text(tmp_path, text)
    manifest = read_text(tmp_path, text, columns=parse_columns("patient="))
    assert manifest.table["patient"].tolist() == [""]
    assert any("no patient ids" in note for note in manifest.notes)


def test_frames_and_repeats(tmp_path: Path) -> None:
    text = "path,label,patient,frame\na.dcm,x,1,0\na.dcm,x,1,5\na.dcm,x,1,5\na.dcm,x,1,\n"
    manifest = read_text(tmp_path, text)
    assert manifest.table["frame"].tolist() == [0, 5, 5, 0]
    assert manifest.table["reason"].tolist() == ["", "", "repeats row 1", "repeats row 0"]


def test_generated_archives_are_marked_synthetic(tmp_path: Path) -> None:
    text = "path,label,patient\na.png,x,1\n"
    assert not read_text(tmp_path, text).synthetic
    (tmp_path / "fastrad-synthetic.json").write_text("{}")
    assert read_text(tmp_path, text).synthetic


def test_one_column_may_mean_two_things(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    table = read_source("table", tmp_path, columns=parse_columns("patient=path")).table
    assert table["patient"].tolist() == table["path"].tolist() == ["1.png", "2.png"]


def test_a_column_given_twice_is_wrong_usage() -> None:
    with pytest.raises(OptionError, match="path is given twice"):
        parse_columns("path=a,path=b")


def test_windows_text_that_ends_within_what_could_be_utf8_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"path,label,patient\n1.png,a,P1\n2.png,b,Ren\xe9")
    assert read_source("table", tmp_path).table["patient"].tolist() == ["P1", "Ren\u00e9"]
