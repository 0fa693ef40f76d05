"""`predictions.csv` and the tables of its form: what goes from the networks to inference.

One line an image and network; `score` is a logit. A table reads back with the types that it was written with: a patient
called NA or 007 stays one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fastrad.errors import FormatError
from fastrad.study.protocol.patients import StudyDataset

PREDICTION_COLUMNS = ("arm", "seed", "fold", "set", "patient", "row", "label", "score")
AGAIN = "give the `fastrad compare` command again: finished networks are kept"
_TEXTS = {"arm": str, "set": str, "patient": str}
_NUMBERS = {"seed": "int64", "fold": "int64", "row": "int64", "label": "int64", "score": "float64"}


def prediction_table(
    network: tuple[str, int, int],
    set_: str,
    dataset: StudyDataset,
    positions: NDArray[np.int64] | slice,
    scores: ArrayLike,
) -> pd.DataFrame:
    """The predictions of one network for the images at `positions` of a dataset.

    Parameters
    ----------
    network : (arm, seed, fold)
    set_ : str
        "val", "test" or "external".
    dataset : StudyDataset
    positions : int64 array or slice
    scores : array of shape (positions,)
        Logits.

    Returns
    -------
    table
        With the columns `PREDICTION_COLUMNS`.
    """
    arm, seed, fold = network
    return pd.DataFrame(
        {
            "arm": arm,
            "seed": seed,
            "fold": fold,
            "set": set_,
            "patient": [dataset.patients[index] for index in dataset.patient_of[positions]],
            "row": dataset.rows[positions],
            "label": dataset.labels[positions],
            "score": scores,
        }
    )[list(PREDICTION_COLUMNS)]


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
