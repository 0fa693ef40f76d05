"""Gray values as a file holds them, and their way to 8 bits.

A file's values have a range: what its stored bits can hold, Hounsfield units for CT. Without a window the range becomes
0 to 255, the same for every file of a kind; never the image's own minimum and maximum, which would give one tissue
another gray in every image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastrad.imaging.structure import ImageError
from fastrad.imaging.window import Window, apply_window


class Values(NamedTuple):
    """One frame before it becomes 8 bits.

    Attributes
    ----------
    pixels : numpy.ndarray
        (H, W), any integer or floating type.
    range : (low, high) or None
        The values that become 0 and 255 where no window is given; None where the file declares none (floats).
    kind : str
        What kind of source it is, for messages and for the judgement of a whole archive: "PNG, 16 bits".
    bits : int
        Bits that the source stores of each value; 8 or fewer lose no gray level.
    inverted : bool
        The range's low end is white.
    windowed : bool
        Gray levels 0 to 255 already, by the window or table that the file itself brings, or by the caller's.
    aspect : float
        Height of a pixel over its width, 1 where the file says nothing, not a number where it says several things.
    source : numpy.ndarray or None
        (H, W) of any type: the whole frame before its regions, box and own window, by which it is known again; None
        where that is `pixels`.
    """

    pixels: np.ndarray
    range: Window | None
    kind: str
    bits: int
    inverted: bool = False
    windowed: bool = False
    aspect: float = 1.0
    source: np.ndarray | None = None

    def to_uint8(self, window: Window | None, name: str) -> np.ndarray:
        """Gray levels 0 to 255, by `window` or the file's own range; `name` stands for the file in errors.

        Raises
        ------
        ImageError
            If there is neither, or the window has no width.
        """
        if self.windowed:
            return self.pixels
        if self.pixels.dtype.kind == "f" and not np.isfinite(self.pixels).any():
            raise ImageError(name, f"{self.kind}: holds no finite number")
        chosen = window or self.range
        if chosen is None:
            raise ImageError(
                name, f"{self.kind}: {self.pixels.dtype} values have no range of their own; give --window LOW,HIGH"
            )
        if self.pixels.dtype == np.uint8 and chosen == (0, 255):
            gray = self.pixels
        elif self.pixels.dtype == np.uint16 and chosen == (0, 65535):
            # 65535 = 255 * 257, so this is value * 255 / 65535 rounded to nearest
            gray = ((self.pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        else:
            gray = apply_window(self.pixels, chosen, name)
        return 255 - gray if self.inverted else gray


def on_black(values: np.ndarray, alpha: np.ndarray, opaque: int) -> np.ndarray:
    """Unsigned values of up to 16 bits under their alpha (0 to `opaque`) on black, rounded, in their own type."""
    # Half of the divisor is added so that the division rounds; 65535 * 65535 + 32767 still fits 32 bits.
    return ((values.astype(np.uint32) * alpha + opaque // 2) // opaque).astype(values.dtype)


def of_bits(pixels: np.ndarray, bits: int, kind: str, *, inverted: bool = False) -> Values:
    """Unsigned values that `bits` bits hold."""
    return Values(pixels, (0, (1 << bits) - 1), f"{kind}, {bits} bits", bits, inverted)
