"""Rows that a conversion leaves out because an audit of the same archive said so: `convert --drop audit.json`.

In: `audit.json`, whose samples carry `"drop": true` or `false`, as the audit proposed or as somebody decided since.
Out: the manifest rows to leave out, each with why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fastrad.errors import InputError
from fastrad.system.json_file import Count, Word, read_json

LEFT_OUT = "left out by --drop"
_LIMIT = 1 << 31
_WAY_OUT = "give the audit.json of `fastrad audit`"


class _Dataset(msgspec.Struct):
    manifest_sha256: Word


class _Sample(msgspec.Struct):
    dataset: Count
    row: Count
    drop: bool = False


class _Group(msgspec.Struct):
    samples: list[_Sample]


class _Groups(msgspec.Struct):
    listed: list[_Group]


class _Report(msgspec.Struct):
    datasets: list[_Dataset]
    exact_duplicates: _Groups
    near_duplicates: _Groups
    blank: _Group


def rows_to_drop(path: Path, manifest_sha256: str) -> dict[int, str]:
    """The rows of an archive that an audit says to leave out.

    Parameters
    ----------
    path : Path
        `audit.json`.
    manifest_sha256 : str
        Of the archive as it is converted now.

    Returns
    -------
    dict
        From a manifest row to the reason.

    Raises
    ------
    InputError
        If there is no such file, or it is about another archive.
    FormatError
        If it is none of `fastrad audit`.
    """
    try:
        report = read_json(path, _Report, _LIMIT, "the report of an audit", _WAY_OUT)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; {_WAY_OUT}") from None
    ours = {number for number, dataset in enumerate(report.datasets) if dataset.manifest_sha256 == manifest_sha256}
    if not ours:
        raise InputError(
            f"{path}: is about another archive, or about this one as it was read with other options (no dataset in it "
            "has this table's hash)"
        )
    rows: dict[int, str] = {}
    for what, groups in (
        ("an exact copy", report.exact_duplicates.listed),
        ("a near copy", report.near_duplicates.listed),
        ("a blank image", [report.blank]),
    ):
        for group in groups:
            kept = [sample.row for sample in group.samples if not sample.drop and sample.dataset in ours]
            of = f" of row {kept[0]}" if kept and what != "a blank image" else ""
            for sample in group.samples:
                if sample.drop and sample.dataset in ours:
                    rows.setdefault(sample.row, f"{LEFT_OUT}: {what}{of}")
    if not rows:
        raise InputError(f'{path}: says "drop": true of no sample of this archive; decide there what is to be left out')
    return rows


def fingerprint_of_drop(rows: Mapping[int, str]) -> str:
    """SHA-256 over the rows that are left out: a conversion goes on only with the same ones."""
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()
