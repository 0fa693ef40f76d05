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
