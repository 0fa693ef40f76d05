"""Which files rows are about, the quarantined and the stored: for the user alone, as paths may name patients.

What lies beside the data, the card above all, names rows and reasons. The paths go into the user's own folder, where
the pseudonyms' key lies too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from fastrad.convert.destination import Destination
from fastrad.dataset.pseudonym import default_key_path
from fastrad.system.csv_file import csv_text
from fastrad.system.files import write_atomically


def write_listing(destination: Destination, name: str, rows: list[tuple[int, str, str]]) -> Path:
    """Write `row,path,reason` of a split called `name`, for its owner alone to read; return where.

    Parameters
    ----------
    destination : Destination
        Another one has another list.
    name : str
    rows : list of (row, path, reason)

    Raises
    ------
    OSError, RuntimeError
        If that cannot be: a RuntimeError where the user has no home.
    """
    table = pd.DataFrame(rows, columns=["row", "path", "reason"])
    return _write_private(table, "quarantined", destination, name)


def write_paths(destination: Destination, name: str, rows: list[tuple[int, str]]) -> Path:
    """As `write_listing`, `row,path` of what a split stores: what an audit's rows are about."""
    return _write_private(pd.DataFrame(rows, columns=["row", "path"]), "rows", destination, name)


def _write_private(table: pd.DataFrame, kind: str, destination: Destination, name: str) -> Path:
    place = str(destination.work_dir.resolve()) if destination.local else str(destination)
    folder = default_key_path().parent / kind
    if destination.work_dir.resolve() in folder.resolve().parents:
        raise PermissionError(None, "it would lie in the output, which may be given away", str(folder))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}-{hashlib.sha256(place.encode(errors='surrogateescape')).hexdigest()[:12]}.csv"
    write_atomically(path, csv_text(table, index=False).encode(errors="surrogateescape"), mode=0o600)
    return path
