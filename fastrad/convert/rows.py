"""NAME.rows.csv beside a card: which row of the archive's table each stored image is, with its path.

In: a split and its finished card. Out: CSV, a line a stored image in the order of the file: row, path, label, split,
patient, frame. Where patients are stored as pseudonyms no path is given, for it may name them: `listing.py` writes row
and path into the user's own folder.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastrad.convert.archive import ArchiveSplit
from fastrad.dataset.card import Card
from fastrad.system.csv_file import csv_text

SUFFIX = ".rows.csv"
COLUMNS = ("row", "path", "label", "split", "patient", "frame")


def rows_csv(source: ArchiveSplit, card: Card) -> bytes:
    """The table of the images that a card's dataset stores, UTF-8."""
    stored = _stored(source, card)
    rows = source.rows[stored]
    patients = [source.patient_names[index] if index >= 0 else "" for index in source.patients[stored].tolist()]
    table = source.manifest.table
    listed = pd.DataFrame(
        {
            "row": rows,
            "path": source.shown_paths(rows),
            "label": [source.classes[label] for label in source.labels[stored].tolist()],
            "split": [source.split] * len(rows),
            "patient": patients,
            "frame": table["frame"].iloc[rows].to_numpy(),
        },
        columns=list(COLUMNS),
    )
    return csv_text(listed, index=False).encode("utf-8", "backslashreplace")


def private_paths(source: ArchiveSplit, card: Card) -> list[tuple[int, str]]:
    """Row and path of each stored image where `rows_csv` gives no path, else nothing."""
    if source.patient_ids != "pseudonym":
        return []
    rows = source.rows[_stored(source, card)]
    return list(zip(rows.tolist(), source.manifest.table["path"].iloc[rows].tolist(), strict=True))


def _stored(source: ArchiveSplit, card: Card) -> np.ndarray:
    return np.flatnonzero(~np.isin(source.rows, [entry["row"] for entry in card.quarantined]))
