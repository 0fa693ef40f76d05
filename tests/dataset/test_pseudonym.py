"""Patients are named by a keyed hash, and only its owner can tell whom it means."""

from __future__ import annotations

import stat

import pytest

from fastrad.dataset.pseudonym import default_key_path, hide_patient, pseudonym, read_or_make_key
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
    ("text", "patient", "expected"),
    [
        ("12/12_3.png", "12", "X/X_3.png"),
        ("scan112/img120.png", "12", "scan112/img120.png"),
        ("Doe, Jane/1.dcm", "Doe, Jane", "X/1.dcm"),
        ("a.b/1.png", "a.b", "X/1.png"),
        ("axb/1.png", "a.b", "axb/1.png"),
        ("any/1.png", "", "any/1.png"),
    ],
)
def test_a_patient_is_hidden_where_it_stands_as_a_token(text, patient, expected):
    assert hide_patient(text, patient, "X") == expected
