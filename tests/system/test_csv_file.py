"""The one reader of tables: what it takes, and which line a row stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrad.errors import InputError
from fastrad.system.csv_file import read_csv


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators_make_no_difference(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes("patient,set\r\nRené,test\r\nP2,development\r\n".replace(",", separator).encode(encoding))
    table = read_csv(path, ["patient", "set"], optional=["fold"])
    assert table.to_dict("list") == {"patient": ["René", "P2"], "set": ["test", "development"]}


def test_rows_are_counted_as_the_lines_of_the_file_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("patient,set,site\n\nP1,test,A\n,,\n\nP2,,B\n,,C\n")
    assert read_csv(path, ["patient", "set"]).index.tolist() == [0, 1, 2, 3]
    table = read_csv(path, ["patient", "set"], line_numbers=True)
    assert table["patient"].to_dict() == {3: "P1", 6: "P2", 7: ""}
    path.write_text("a\n\nb\n")
    table = read_csv(path, ["first"], header=False, line_numbers=True)
    assert table["first"].to_dict() == {1: "a", 3: "b"}


def test_lines_without_content_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("patient,set\n,\n\n")
    with pytest.raises(InputError, match=r"splits\.csv: the table has no rows"):
        read_csv(path, ["patient", "set"], line_numbers=True)


def test_an_encoding_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes("patient,set\nP1,test\n".encode("utf-16")[:-1])
    with pytest.raises(InputError, match="save it as CSV in UTF-8"):
        read_csv(path, ["patient", "set"])


HEAD = "path,label,patient,remark\n"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('0.png,a,P0,x\n1.png,b,"P1,x\n2.png,a,P2,x\n3.png,b,"P3",x\n4.png,a,P4,x\n', 3, "2 lines"),
        ('0.png,a,P0,x\n1.png,b,P1,"x\n2.png,a,P2,5"\n3.png,b,P3,x\n', 3, "1 line"),
        ('"0.png,a,P0,x\n1.png",b,P1,x\n2.png,a,P2,x\n', 2, "1 line"),
        ('0.png,"a,P0,x\n1.png,b",P1,x\n', 2, "1 line"),
        ('0.png,a,"P0,x\n1.png",b,P1,x\n', 2, "1 line"),
        ('0.png,a,P0,"x\n1.png,b,P1,x\n2.png,a,P2,x\n3.png,b,P3,5"\n', 2, "3 lines"),
        ('0.png,a,P0,"x\n1.png,b,P1,x\n2.png,a,P2,x\n', 2, "2 lines"),
        ('0.png,a,P0,x\n1.png,b,P1,"x\n', 3, "the rest of the file"),
        ('0.png,a,P0,x\n1.png,"b,P1",x\n', 3, "1 field"),
        ('0.png,a,P0,x\n1.png,b,"P"1,x\n', 3, "what stands behind it"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stray_quote_is_named_by_its_line(tmp_path: Path, text: str, line: int, what: str, end: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes((HEAD + text).replace("\n", end).encode())
    with pytest.raises(InputError, match=rf"labels\.csv: line {line}: a quote .* swallows {what}; delete"):
        read_csv(path, ["path", "label", "patient"])


def test_quotes_and_line_breaks_that_are_sound_stay(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    report = "Right lobe, 12 mm.\nSolid, hypoechoic, irregular, taller than wide\n\nTI-RADS 5, biopsy"
    path.write_text(
        HEAD
        + f'0.png,a,P0,"{report}"\n'
        + '1.png,"a ""b"", c" ,P1, "two\nlines"\n'
        + '2.png,5" wide,P2,7"\n'
        + "3.png,a,P3,x,,\n"
        + "4.png,a"
    )
    table = read_csv(path, ["path", "label"], line_numbers=True)
    assert table.index.tolist() == [2, 6, 8, 9, 10]
    assert table["label"].tolist() == ["a", 'a "b", c', '5" wide', "a", "a"]


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "\ufeffsep=;\n", "sep=;\n# exported today, by me\n\n"])
def test_a_spreadsheets_first_line_names_the_separator(tmp_path: Path, first: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes((first + "path;label\na,b.png;x\n").encode())
    assert read_csv(path, ["path", "label"]).to_dict("list") == {"path": ["a,b.png"], "label": ["x"]}


def test_accents_are_composed_but_not_those_of_file_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,patient\ne\u0301.png,Rene\u0301\n\u00e9.png,Ren\u00e9\u200b\n")
    table = read_csv(path, ["path", "patient"], verbatim=["path"])
    assert table["patient"].tolist() == ["Ren\u00e9"] * 2
    assert table["path"].tolist() == ["e\u0301.png", "\u00e9.png"]


@pytest.mark.parametrize(
    "word", ["NA", "None", "nan", "null", "NULL", "N/A", "<NA>", "-nan", "007", "1.0", "1e3", "TRUE"]
)
def test_no_word_is_missing_and_no_number_is_one(tmp_path: Path, word: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"path,patient\n1.png,{word}\n")
    assert read_csv(path, ["path", "patient"])["patient"].tolist() == [word]
