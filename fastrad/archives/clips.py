"""Clips and DICOM files: which frames to take, which are colour Doppler, which show a screen whole.

In: a table's rows. Out: the rows, one a frame taken, and notes. This alone opens images before the conversion. Files
that can't be read stay in the table as they are: the conversion finds out and says why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from fastrad.archives.walk import is_inside
from fastrad.errors import InputError, OptionError
from fastrad.system.cores import available_cores

Result = TypeVar("Result")

_STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DOPPLER = ("", "count", "exclude", "ignore")
FRAMES = "first|middle|all|every:N"


def choose_frames(choice: str, count: int) -> list[int]:
    """Positions, from 0, of the frames to take out of `count`.

    "middle" is the later one of two; "every:N" takes frames 0, N, 2N, ... Neighbouring frames are nearly the same
    image: many of them add weight to a patient, hardly information.

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


def looks_like_dicom(path: str) -> bool:
    """Whether a file's name lets expect DICOM: such a suffix, or none that a still image has."""
    if path.endswith(_STILLS):  # nearly all of a large table, told in a tenth of the time
        return False
    suffix = os.path.splitext(path)[1].lower()
    return suffix in (".dcm", ".dicom", ".ima") or not suffix or suffix[1:].isdecimal()


def expand_clips(root: Path, rows: pd.DataFrame, frames: str) -> pd.DataFrame:
    """One row a frame taken, in the place of each DICOM file's row."""
    from fastrad.imaging.dicom import frame_count

    def count(path: str) -> int:
        with open(root / path, "rb") as file:
            return frame_count(file, name=path)

    clips = rows.index[(rows["reason"] == "") & rows["path"].map(looks_like_dicom)]
    counts = _each(root, rows["path"][clips].tolist(), count, 1)
    chosen: list[list[int]] = [[0]] * len(rows)
    for row, frames_held in zip(clips, counts, strict=True):
        chosen[row] = choose_frames(frames, frames_held)
    expanded = rows.loc[np.repeat(rows.index.to_numpy(), [len(positions) for positions in chosen])]
    return expanded.assign(frame=[position for positions in chosen for position in positions]).reset_index(drop=True)


def note_colour_doppler(root: Path, rows: pd.DataFrame, doppler: str) -> list[str]:
    """Look at images for colour Doppler; with "exclude" give their rows a reason. Return what was found as notes."""
    from fastrad.imaging.doppler import is_colour_doppler

    candidates = rows[(rows["reason"] == "") & (rows["label"] != "")].drop_duplicates("path")
    if doppler == "":
        candidates = candidates[candidates["path"].map(looks_like_dicom)]
    if doppler == "ignore" or candidates.empty:
        return []
    frame = dict(zip(candidates["path"], candidates["frame"], strict=True))
    coloured = _each(
        root,
        candidates["path"].tolist(),
        lambda path: is_colour_doppler(root / path, frame=frame[path]),
        False,
    )
    found = set(candidates["path"][np.array(coloured, dtype=bool)])
    in_colour = (rows["reason"] == "") & rows["path"].isin(found)
    if doppler == "exclude":
        rows.loc[in_colour, "reason"] = "colour Doppler is excluded"
    what = "excluded" if doppler == "exclude" else "kept"
    return [f"colour Doppler: {len(found)} of {len(candidates)} files looked at; {in_colour.sum()} rows are {what}"]


def note_whole_screens(root: Path, rows: pd.DataFrame) -> list[str]:
    """A note of the DICOM files that are stored with whatever their screens show beside the tissue."""
    from fastrad.imaging.dicom import shows_whole_screen

    def look(path: str) -> bool:
        with open(root / path, "rb") as file:
            return shows_whole_screen(file, name=path)

    usable = rows[(rows["reason"] == "") & rows["path"].map(looks_like_dicom)].drop_duplicates("path")
    whole = np.array(_each(root, usable["path"].tolist(), look, False), dtype=bool)
    if not whole.any():
        return []
    return [
        f"{whole.sum()} DICOM files do not say where the screen shows tissue (first: row {usable.index[whole][0]}): "
        "text on the screen, which may name the patient, is part of these images"
    ]


def _each(root: Path, paths: list[str], look: Callable[[str], Result], otherwise: Result) -> list[Result]:
    """`look` at each file below `root`; `otherwise` where it can't be read or is a link out of `root`."""
    real_root = os.path.realpath(root)

    def safely(path: str) -> Result:
        try:
            return look(path) if is_inside(os.path.realpath(root / path), real_root) else otherwise
        except (InputError, OSError):
            return otherwise

    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(safely, paths))
