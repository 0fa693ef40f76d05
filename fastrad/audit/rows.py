"""Which file each audited sample is, and which copies the audit proposes to leave out.

In: opened datasets, NAME.rows.csv beside their cards (`convert --rows-csv`), groups of copies. Out: paths, `rows.csv`,
and proposals, which a person may change in `audit.json` before `convert --drop` takes them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fastrad.dataset import Dataset
from fastrad.dataset.tar.shards import card_path
from fastrad.system.csv_file import bare, csv_text
from fastrad.system.place import Place
from fastrad.system.progress import say

_SUFFIX = ".rows.csv"
_LIMIT = 1 << 31
_KEPT_FIRST = {"test": 0, "val": 1}
COLUMNS = ("dataset", "index", "row", "path", "label", "split", "patient", "blank", "exact_group", "near_group")


def known_paths(dataset: Dataset) -> list[str]:
    """The path of each sample, "" where no NAME.rows.csv of the same rows lies beside the card."""
    folder, _, name = card_path(dataset.path).rpartition("/")
    place, name = Place(folder or "."), name.removesuffix(".card.json") + _SUFFIX
    text = place.read(name, _LIMIT)
    if text is None:
        return [""] * len(dataset)
    try:
        lines = csv.DictReader(io.StringIO(text.decode()))
        paths = {int(line["row"]): bare(line["path"]) for line in lines}
        return [paths[row] for row in dataset.rows.tolist()]
    except (ValueError, KeyError, TypeError, csv.Error):
        say(f"notice: {place.path(name)}: is not of this dataset's rows and is left out; convert again with --rows-csv")
        return [""] * len(dataset)


def proposed_drops(samples: pd.DataFrame) -> list[bool]:
    """Of exact copies, which to leave out: all but the first one, where there is one in split test, then val, of those.

    Where their labels differ, no image is right, and all are.
    """
    if samples["label"].nunique() > 1:
        return [True] * len(samples)
    order = [(_KEPT_FIRST.get(split, 2), place) for place, split in enumerate(samples["split"])]
    kept = min(order)[1]
    return [place != kept for place in range(len(samples))]


def rows_csv(table: pd.DataFrame, exact: Sequence[np.ndarray], near: Sequence[np.ndarray]) -> bytes:
    """Every sample a line, with the number (from 1) of the group of copies that it is in."""
    listed = table.assign(exact_group=_numbers(len(table), exact), near_group=_numbers(len(table), near))
    return csv_text(listed[list(COLUMNS)], index=False).encode("utf-8", "backslashreplace")


def _numbers(count: int, groups: Sequence[np.ndarray]) -> np.ndarray:
    numbers = np.full(count, "", dtype=object)
    for number, group in enumerate(groups, 1):
        numbers[group] = str(number)
    return numbers
