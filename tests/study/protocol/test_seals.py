"""A record and the files beside it: whatever byte is altered afterwards is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastrad.errors import FormatError
from fastrad.study.protocol.record import read_record
from fastrad.study.protocol.seals import check_files, check_record, seal_of, sealed


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "scores.csv").write_text("patient,score\np1,0.760\n")
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    content = {"settings": {"rate": 3e-4, "arms": ["a", "b"]}, "versions": {"fastrad": "0.2.0"}}
    record = sealed(content, tmp_path, ["scores.csv", "weights.bin"])
    (tmp_path / "run.json").write_text(json.dumps(record, indent=1))
    return tmp_path


def check(folder: Path) -> None:
    check_files(read_record(folder / "run.json", "bring it back"), folder, "bring it back")


def test_what_nobody_touched_is_sound(folder):
    check(folder)
    record = read_record(folder / "run.json", "")
    assert len(seal_of(record)) == 64
    assert check_record(record, folder / "run.json", "")


@pytest.mark.parametrize("name", ["scores.csv", "weights.bin", "run.json"])
def test_every_flipped_byte_is_found_and_the_file_named(folder, name):
    content = (folder / name).read_bytes()
    for position in range(0, len(content), 1 if name != "weights.bin" else 17):
        flipped = bytearray(content)
        flipped[position] ^= 1
        (folder / name).write_bytes(flipped)
        if name == "run.json" and _reads_the_same(content, bytes(flipped)):
            continue
        with pytest.raises(FormatError, match=rf"{name}: .*bring it back"):
            check(folder)
    (folder / name).write_bytes(content)
    check(folder)


def _reads_the_same(one: bytes, other: bytes) -> bool:
    """Blanks between values say nothing: a line break of JSON may become another blank."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_missing_file_is_named(folder):
    (folder / "weights.bin").unlink()
    with pytest.raises(FormatError, match=r"weights\.bin: is missing"):
        check(folder)


def test_a_record_without_a_seal_is_known_as_one():
    for of_0_1_0 in ({"settings": {}}, {"settings": {}, "versions": {"fastrad": "0.1.0"}}):
        assert not check_record(of_0_1_0, Path("run.json"), "")
    with pytest.raises(FormatError, match="has lost its seal"):
        check_record({"versions": {"fastrad": "0.2.0"}}, Path("run.json"), "")
    assert seal_of({"settings": {}}) == ""


@pytest.mark.parametrize("seal", [None, 3, {}, {"files": 3, "record": "x"}, {"files": {}, "record": None}])
def test_a_broken_seal_is_no_missing_one(seal):
    with pytest.raises(FormatError, match=r"run\.json: was altered"):
        check_record({"settings": {}, "seal": seal}, Path("run.json"), "")


def test_a_seal_counts_its_own_list_of_files(folder):
    record = json.loads((folder / "run.json").read_text())
    del record["seal"]["files"]["scores.csv"]
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(FormatError, match=r"run\.json: was altered"):
        check(folder)
