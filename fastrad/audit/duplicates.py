"""Exact copies of an image, by its pixels; near ones are `fastrad.dataset.copies`.

In: the table of `samples.py`. Out: groups of sample positions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def exact_groups(table: pd.DataFrame) -> list[np.ndarray]:
    """Groups of two or more samples with the same pixels, as positions in `table`, in order of first occurrence.

    Blank images are left out: they are reported as blank, and being alike is no news about them.
    """
    shown = table.index[~table["blank"]]
    groups = pd.Series(shown).groupby(table.loc[shown, "digest"].to_numpy(), sort=False)
    return [group.to_numpy() for _, group in groups if len(group) > 1]
