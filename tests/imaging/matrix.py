"""Counts what generated images became: right, refused, or wrong, which is a failure. The counts end every test run."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fastrad.errors import InputError

COUNTS: Counter[tuple[str, str]] = Counter()


def right_or_refused(family: str, read, expected: np.ndarray, *, tolerance: int = 1, may_refuse: bool = True) -> str:
    """Call `read`, and count under `family` whether it gave `expected` or was refused in one line.

    Parameters
    ----------
    read : callable
        Gives (H, W) uint8, or raises.
    expected : numpy.ndarray
        (H, W), what an independent reader or the hand gives.
    tolerance : int
        Gray levels by which they may differ.
    may_refuse : bool
        False where this kind is supported and must be right.
    """
    try:
        found = read()
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert "site-packages" not in line
        assert may_refuse, f"refused: {line}"
        COUNTS[family, "refused"] += 1
        return "refused"
    same = found.shape == expected.shape and np.abs(found.astype(int) - expected.astype(int)).max() <= tolerance
    COUNTS[family, "right" if same else "wrong"] += 1
    assert found.shape == expected.shape
    assert same, f"differs by up to {np.abs(found.astype(int) - expected.astype(int)).max()} gray levels"
    return "right"
