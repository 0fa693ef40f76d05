"""A range of values onto 0 to 255.

In: gray values of any type and (low, high). Out: uint8.
"""

from __future__ import annotations

import numpy as np

from fastrad.imaging.structure import ImageError

Window = tuple[float, float]


def apply_window(values: np.ndarray, window: Window, name: str) -> np.ndarray:
    """Map `low` to 0 and `high` to 255, linearly, clipped, rounded to nearest (halves up); what is no number to 0.

    Raises
    ------
    ImageError
        If `high` does not exceed `low`, or either is not finite; `name` stands for the image.
    """
    low, high = window
    if not 0 < high - low < np.inf:
        raise ImageError(name, f"the window ({low:g}, {high:g}) has no finite width above 0: give LOW,HIGH")
    if values.dtype in (np.uint8, np.uint16) and values.size > 1 << 16:  # computed once a value, not once a pixel
        return np.take(_mapped(np.arange(np.iinfo(values.dtype).max + 1), low, high), values)
    return _mapped(values, low, high)


def _mapped(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low)) + 0.5
    if values.dtype.kind == "f":
        scaled = np.where(np.isnan(scaled), 0.0, scaled)
    return np.clip(scaled, 0.0, 255.0).astype(np.uint8)
