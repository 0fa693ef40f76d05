"""Seals: hashes by which a file of a study that was altered afterwards is found and named.

In: a record (`run.json` of a network, `study.json`) and the files beside it. Out: the same record with a `seal`: the
SHA-256 of each file, and of the record itself. Seals are tamper-evident, not tamper-proof: who alters a file and
computes the hashes again leaves no trace in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastrad.errors import FormatError

AGAIN = "give the `fastrad compare` command again: finished networks are kept"
SEAL = "seal"
UNSEALED_VERSION = "0.1.0"  # it wrote no seals; what says that it is of another version must have them


def sealed(record: Mapping[str, Any], folder: Path, files: Iterable[str]) -> dict[str, Any]:
    """The record with the hashes of `files`, paths relative to `folder`, and of itself; a former seal is replaced.

    Raises
    ------
    FileNotFoundError
        If one of the files is not there.
    """
    whole = {name: value for name, value in record.items() if name != SEAL}
    hashes = {name: file_sha256(folder / name) for name in sorted(files)}
    return {**whole, SEAL: {"files": hashes, "record": _record_sha256(whole, hashes)}}


def seal_of(record: Mapping[str, Any]) -> str:
    """The hash of a sealed record, which names its content and all its files; "" where it carries none."""
    seal = record.get(SEAL)
    return seal["record"] if isinstance(seal, dict) and isinstance(seal.get("record"), str) else ""


def check_record(record: Mapping[str, Any], path: Path, way_out: str) -> bool:
    """Whether a record carries a seal; that is then the record's own.

    Parameters
    ----------
    record : mapping
        As read from `path`.
    way_out : str
        What the user can do, for the message.

    Raises
    ------
    FormatError
        If the record does not match its seal, or has lost it.
    """
    if SEAL not in record:
        made_by = record.get("versions", {"fastrad": UNSEALED_VERSION})  # a network's record of 0.1.0 does not say it
        if not isinstance(made_by, dict) or made_by.get("fastrad") != UNSEALED_VERSION:
            raise FormatError(f"{path}: was altered after it was written (it has lost its seal); {way_out}")
        return False
    seal = record[SEAL]
    hashes = seal.get("files") if isinstance(seal, dict) else None
    whole = {name: value for name, value in record.items() if name != SEAL}
    if not isinstance(hashes, dict) or _record_sha256(whole, hashes) != seal_of(record):
        raise FormatError(f"{path}: was altered after it was written (its seal differs); {way_out}")
    return True


def check_files(record: Mapping[str, Any], folder: Path, way_out: str, *, but: Iterable[str] = ()) -> None:
    """Compare the files beside a record with its seal, where it carries one.

    Parameters
    ----------
    record : mapping
    folder : Path
        Where the record lies.
    way_out : str
        What the user can do, for the message.
    but : iterable of str
        Files that need not be as they were.

    Raises
    ------
    FormatError
        Naming the first file that is missing, or not what was sealed.
    """
    for name, expected in record.get(SEAL, {}).get("files", {}).items():
        if name in but:
            continue
        try:
            found = file_sha256(folder / name)
        except FileNotFoundError:
            raise FormatError(f"{folder / name}: is missing; {way_out}") from None
        if found != expected:
            raise FormatError(f"{folder / name}: was altered after it was written (its seal differs); {way_out}")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_sha256(record: Mapping[str, Any], hashes: Mapping[str, Any]) -> str:
    # As JSON in one spelling: a record hashes alike before it is written and after it is read.
    text = json.dumps([record, hashes], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
