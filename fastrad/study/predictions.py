"""`predictions.csv` and the tables of its form, read back as they were written.

In: a CSV with one line an image and run. Out: a table whose columns have the types that they were written with; a
patient called NA or 007 stays one.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fastrad.errors import FormatError

AGAIN = "give the `fastrad compare` command again: finished networks are kept"
_TEXTS = {"arm": str, "set": str, "patient": str}
_NUMBERS = {"seed": "int64", "fold": "int64", "row": "int64", "label": "int64", "score": "float64"}


def read_predictions(path: Path) -> pd.DataFrame:
    """Read one table of predictions.

    Raises
    ------
    FormatError
        If it is cut short, altered, or empty.
    """
    try:
        # only an empty field is empty: pandas would take a patient called NA or null for a missing one
        table = pd.read_csv(path, dtype={**_TEXTS, **_NUMBERS}, keep_default_na=False, na_values=[""])
    except (ValueError, OverflowError, OSError) as error:  # pandas' own errors among them
        raise FormatError(f"{path}: cut short or altered ({error}); {AGAIN}") from None
    if table.empty or table.isna().any(axis=None):
        raise FormatError(f"{path}: has no rows, or empty fields; {AGAIN}")
    return table
