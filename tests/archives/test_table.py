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
        (b"file,dx\na.png,1\n", "no column path, label, patient: none of the 2 fields of its first line is called so"),
        (b"path,dx\na.png,1\n", "no column label, patient; the file has the columns path, dx"),
        (b"path,label,patient\na.png,1,2,3,4\n", "not a regular CSV"),
        (b"path,label,patient\na.png,1,2\nb.png,papillary, classic,2\n", "not a regular CSV"),
        ("path,label,patient\na.png,1,2\n".encode("utf-16-le"), "NUL bytes"),
        ("path,label,patient\na.png,1,2\n".encode("utf-32"), "NUL bytes"),
        ("path,label,patient\na.png,1,2\n".encode("utf-16")[:-1], "neither UTF-8 nor"),
        (b"path,label,patient,label\na.png,1,2,3\n", "column label occurs twice"),
        (b"path,label,patient,split\na.png,1,2,holdout\n", "the split in row 0"),
        (b"path,label,patient,frame\na.png,1,2,x\n", "the frame in row 0"),
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
    assert any("1 rows are excluded by their labels, of 1 values (rows 4)" in note for note in manifest.notes)
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


def image(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_file_of_another_spelling_is_named_and_not_taken(tmp_path: Path) -> None:
    image(tmp_path, "a.PNG", "c.png", "Scans/d.png", "IMG_E.png", "f.jpg", "g.png", "g.jpg", "1.2.840.7", "h", "i.png")
    rows = [
        "a.png",
        "c",
        "scans/d.png",
        "img_e.png",
        "f.png",
        "g",
        "1.2.840.7",
        "h.dcm",
        "gone.png",
        "Scans/d",
        "i.png",
    ]
    table = read_text(tmp_path, "path,label,patient\n" + "".join(f"{path},x,1\n" for path in rows)).table
    assert table["path"].tolist() == rows
    assert table["reason"].tolist() == [
        "no such file; with the suffix .PNG it is there",
        "no such file; with the suffix .png it is there",
        "no such file; 'Scans/d.png' is there",
        "no such file; 'IMG_E.png' is there",
        "no such file; with the suffix .jpg it is there",
        "no such file; with the suffix .jpg or the suffix .png it is there",
        "",
        "no such file; with none it is there",
        "",  # the conversion finds out: the file may be there by then
        "no such file; with the suffix .png it is there",
        "",
    ]


def test_accents_composed_or_not_are_the_same_file_and_the_same_patient(tmp_path: Path) -> None:
    composed, apart = "Jos\u00e9", "Jose\u0301"
    image(tmp_path, f"{apart}/1.png", f"{composed}.png", "p\u0308.png")
    rows = [(f"{composed}/1.png", composed, composed), (f"{apart}.png", apart, apart), (f"{apart}/1.png", apart, "x")]
    text = "path,label,patient\n" + "".join(",".join(row) + "\n" for row in rows)
    manifest = read_text(tmp_path, text)
    assert manifest.table["path"].tolist() == [f"{apart}/1.png", f"{composed}.png", f"{apart}/1.png"]
    assert manifest.table["patient"].tolist() == [composed, composed, "x"]
    assert manifest.classes == (composed,)
    assert manifest.table["reason"].tolist() == ["", "", "repeats row 0, there of another patient"]
    assert "2 rows spell accents in another way than their files' names; the files are taken" in manifest.notes


def test_absolute_paths_inside_root_become_relative(tmp_path: Path) -> None:
    root, outside = tmp_path / "archive", tmp_path / "archive2"
    image(root, "images/1.png", "2.png")
    image(outside, "3.png")
    (tmp_path / "link").symlink_to(root)
    listed = [
        root / "images/1.png",
        root / "2.png",
        outside / "3.png",
        tmp_path / "link/images/1.png",
        "C:\\data\\2.png",
    ]
    text = "path,label,patient\n" + "".join(f"{path},x,1\n" for path in listed)
    for place in (root, tmp_path / "link"):
        table = read_text(place, text).table
        assert table["path"].tolist()[:2] == ["images/1.png", "2.png"]
        absolute = "an absolute path; paths must be relative to ROOT"
        assert table["reason"].tolist() == ["", "", absolute, "repeats row 0", absolute]


def test_a_path_that_starts_with_roots_own_name_is_told(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    image(root, "images/1.png")
    table = read_text(root, "path,label,patient\narchive\\images\\1.png,x,1\nimages\\1.png,x,1\n").table
    assert table["reason"].tolist() == ["no such file; paths are relative to ROOT: without archive/ it is there", ""]


def test_rows_that_are_no_images_are_listed_with_their_reason(tmp_path: Path) -> None:
    text = (
        "# exported by somebody\npath,label,patient,age\n0.png,a,1,\n# a remark\n\n,,,\npath,label,patient,age\n"
        '1.png,"papillary\ncarcinoma",2,\n2.png,a,"3\n4",\n#3.png,a,5,60\n,a,6,\n  \n,,,\n'
    )
    manifest = read_text(tmp_path, text)
    assert manifest.table["reason"].tolist() == [
        "",
        "a comment, which begins with #",
        "the row is empty",
        "repeats the header",
        "its label holds a line break; put it on one line",
        "its patient holds a line break; put it on one line",
        "",
        "no path is given",
        "the row is empty",
    ]


def test_an_image_under_two_labels_is_not_taken_and_names_both_rows(tmp_path: Path) -> None:
    text = "path,label,patient\n0.png,a,1\n1.png,a,1\n./0.png,b,1\n1.png,a,1\n2.png,a,2\n"
    manifest = read_text(tmp_path, text)
    assert manifest.table["reason"].tolist() == [
        "the same image is listed as 'b' in row 2",
        "",
        "the same image is listed as 'a' in row 0",
        "repeats row 1",
        "",
    ]
    assert any("1 images are listed under several labels; none of them is taken" in note for note in manifest.notes)


@pytest.mark.parametrize("value", ["0", "4", "fold1", "fold_2", "3.0"])
def test_fold_numbers_are_no_splits_and_the_way_out_is_said(tmp_path: Path, value: str) -> None:
    text = f"path,label,patient,split\na.png,b,1,{value}\n"
    with pytest.raises(InputError, match=r"the split in row 0 .* a fold .*--ignore-splits .*--splits FILE"):
        read_text(tmp_path, text)
    for options in ({"columns": parse_columns("split=")}, {"ignore_splits": True}):
        manifest = read_text(tmp_path, text, **options)
        assert manifest.split_names == ("",)
        assert manifest.usable.all()
        assert not any("split" in note for note in manifest.notes), "the user has said so"
    renamed = text.replace("split", "k")
    assert read_text(tmp_path, renamed, columns=parse_columns("split=k"), ignore_splits=True).split_names == ("",)


@pytest.mark.parametrize("name", ["Fold", "fold", "folds", "cv_fold", "set", "subset", "splits"])
def test_a_column_that_may_be_of_splits_or_folds_is_noted(tmp_path: Path, name: str) -> None:
    notes = read_text(tmp_path, f"path,label,patient,{name}\na.png,b,1,0\n").notes
    assert any(note.startswith(f"column {name} is not read: ") and "--splits FILE" in note for note in notes)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Path,Label,PATIENT", "give --columns path=Path,label=Label,patient=PATIENT"),
        ("path,label,patient,Split", "no column split, but one .* give --columns split=Split"),
        ("path,label,Patient,PATIENT", r"give --columns patient=Patient \(Patient and PATIENT are there: choose one\)"),
    ],
)
def test_columns_that_differ_in_case_are_asked_about(tmp_path: Path, header: str, message: str) -> None:
    row = ",".join("train" if name == "Split" else name[0] for name in header.split(","))
    with pytest.raises(InputError, match=message):
        read_text(tmp_path, f"{header}\n{row}\n")


def test_words_for_missing_stay_text_and_are_said(tmp_path: Path) -> None:
    manifest = read_text(tmp_path, "path,label,patient\n0.png,None,NA\n1.png,nan,NA\n2.png,null,1\n")
    assert manifest.table["label"].tolist() == ["None", "nan", "null"]
    assert manifest.usable.all()
    assert "2 rows have the patient 'NA', which is read as text" in manifest.notes
    assert "1 rows have the label 'None', which is read as text" in manifest.notes


def test_patients_whose_ids_are_alike_are_kept_apart_and_noted_by_row(tmp_path: Path) -> None:
    text = "path,label,patient\n0.png,a,007\n1.png,a,7\n2.png,a,7.0\n3.png,a,MRN01\n4.png,a,mrn1\n5.png,a,70\n"
    manifest = read_text(tmp_path, text)
    assert manifest.table["patient"].nunique() == 6
    (note,) = [note for note in manifest.notes if "several ids" in note]
    assert note.startswith("2 patients may be listed under several ids")
    assert "(first: rows 0 and 1)" in note
    assert "mrn" not in note.lower()


def test_labels_that_are_alike_are_kept_apart_and_noted(tmp_path: Path) -> None:
    text = "path,label,patient\n0.png,Benign,1\n1.png,benign ,2\n2.png,1,3\n3.png,1.0,4\n4.png,10,5\n"
    manifest = read_text(tmp_path, text)
    assert len(manifest.classes) == 5
    note = "labels that may mean the same are kept apart (--labels joins them): 'Benign', 'benign' or '1', '1.0'"
    assert note in manifest.notes


def test_a_quote_in_the_header_quotes_no_row_in_its_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a quote in its header swallows") as caught:
        read_text(tmp_path, 'path,label,"patient\n0.png,a,SMITH\n1.png,b,"JONES"\n')
    assert "SMITH" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["iso8859-2", "cp1250", "cp1251", "mac-roman"])
def test_an_encoding_that_is_guessed_is_said_and_may_be_given(tmp_path: Path, encoding: str) -> None:
    label = "злокач" if encoding == "cp1251" else "böse" if encoding == "mac-roman" else "złośliwy"
    data = f"path,label,patient\na.png,{label},1\n".encode(encoding)
    guessed = "the table is not UTF-8 and was read as Windows-1252, by which letters of label go"
    manifest = read_text(tmp_path, data)
    assert manifest.classes == (data.split(b",")[3].decode("cp1252"),)
    assert any(note.startswith(guessed) and "--encoding" in note for note in manifest.notes)
    manifest = read_text(tmp_path, data, encoding=encoding)
    assert manifest.classes == (label,)
    assert not any(guessed in note for note in manifest.notes)


def test_an_encoding_that_is_none_or_not_the_tables_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="encoding 'klingon' is unknown"):
        read_text(tmp_path, "path,label,patient\na.png,b,1\n", encoding="klingon")
    with pytest.raises(InputError, match="no utf-8 text"):
        read_text(tmp_path, "path,label,patient\na.png,ö,1\n".encode("cp1252"), encoding="utf-8")


def test_a_table_without_patients_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no column patient, .* path, label, dob: give --columns patient=NAME, or, .*"
    ):
        read_text(tmp_path, "path,label,dob\na.png,b,1\n")


def test_a_name_with_a_backslash_is_that_file(tmp_path: Path) -> None:
    image(tmp_path, "a/b.png", "a\\b.png")
    table = read_text(tmp_path, "path,label,patient\na\\b.png,x,1\na/b.png,y,2\nc\\d.png,x,3\n").table
    assert table["path"].tolist() == ["a\\b.png", "a/b.png", "c/d.png"]


def test_a_label_that_train_spells_in_another_way_names_it(tmp_path: Path) -> None:
    text = "path,label,patient,split\na.png,Benign,1,train\nb.png,benign,2,test\n"
    reasons = read_text(tmp_path, text).table["reason"].tolist()
    assert reasons == ["", "label 'benign' does not occur in the train split, 'Benign' does"]
