"""Patients are named by a keyed hash, and only its owner can tell whom it means."""

from __future__ import annotations

import stat

import pytest

from fastrad.dataset.pseudonym import default_key_path, pseudonym, read_or_make_key, without_values
from fastrad.errors import InputError


def test_the_same_id_and_key_give_the_same_pseudonym():
    assert pseudonym("MRN 17", b"k" * 32) == pseudonym("MRN 17", b"k" * 32)
    assert pseudonym("MRN 17", b"k" * 32) != pseudonym("MRN 17", b"l" * 32)
    assert pseudonym("MRN 17", b"k" * 32) != pseudonym("MRN 18", b"k" * 32)
    assert len(pseudonym("MRN 17", b"k" * 32)) == 16


def test_a_key_is_made_once_for_the_owner_alone(tmp_path):
    path = tmp_path / "new" / "key"
    key, made = read_or_make_key(path)
    assert made
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_key(path) == (key, False)
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_the_key_lies_in_the_users_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_path() == tmp_path / "fastrad" / "pseudonym.key"


@pytest.mark.parametrize("content", ["", "no key", "abcd"])
def test_a_file_that_is_no_key_is_refused(tmp_path, content):
    (tmp_path / "key").write_text(content)
    with pytest.raises(InputError, match="holds no pseudonym key"):
        read_or_make_key(tmp_path / "key")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("label 'Mustermann, Erika' is excluded", "label ... is excluded"),
        ("""label "O'Brien" is excluded""", "label ... is excluded"),
        (f"label {chr(39)!r} + {chr(34)!r} is none", "label ... + ... is none"),
        ("no such file; scans/0042137.dcm is there", "no such file; ... is there"),
        ("cannot open C:\\scans\\erika.PNG (damaged)", "cannot open ... (damaged)"),
        ("DICOM's window is no number: give LOW,HIGH", "DICOM's window is no number: give LOW,HIGH"),
        ("repeats row 17 of split train", "repeats row 17 of split train"),
        ("PNG is damaged: the CRC of a chunk is wrong", "PNG is damaged: the CRC of a chunk is wrong"),
    ],
)
def test_a_reason_keeps_its_own_words_and_nothing_of_table_or_path(reason, expected):
    assert without_values(reason) == expected
