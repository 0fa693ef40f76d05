"""Which frames of a clip to take.

In: first, middle, all or every:N, and how many frames there are. Out: their positions. Neighbouring frames are nearly
the same image: many of them add weight to a patient, hardly information.
"""

from __future__ import annotations

import re

from fastrad.errors import OptionError


def choose_frames(choice: str, count: int) -> list[int]:
    """Positions, from 0, of the frames to take out of `count`.

    "middle" is the later one of two; "every:N" takes frames 0, N, 2N, ...

    Raises
    ------
    OptionError
        If the choice is none of first, middle, all, every:N.
    """
    every = re.fullmatch(r"every:([1-9]\d{0,5})", choice)
    if every:
        return list(range(0, count, int(every[1])))
    if choice == "first":
        return [0]
    if choice == "middle":
        return [count // 2]
    if choice == "all":
        return list(range(count))
    raise OptionError(f"frames {choice!r} is unknown; choose first, middle, all or every:N with N from 1")
