"""Clips and DICOM files: which frames to take, which are colour Doppler, which show a screen whole.

In: a manifest's rows. Out: the rows, one a frame taken, and notes: how many frames of how many are stored, and where
text on a screen is stored with the image. This alone opens images before the conversion, to read how they begin: a clip
may have a still image's name. Files that can't be read stay in the table as they are: the conversion finds out and says
why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from fastrad.errors import InputError, OptionError
from fastrad.imaging.frames import Frames, frames_of
from fastrad.imaging.walk import SYNTHETIC_MARKER, is_inside
from fastrad.system.cores import available_cores

Result = TypeVar("Result")

_STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")
_AT_ONCE = 64  # files: to hand over each by itself costs more than to look at it
_HDF5 = (".h5", ".hdf5", ".hdf")
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
    """Whether a file may be DICOM by its name: any but those of still images and HDF5, for DICOM needs no suffix."""
    if path.endswith(_STILLS):  # nearly all of a large table, told in a tenth of the time
        return False
    return not path.lower().endswith((*_STILLS, *_HDF5))


def expand_clips(root: Path, rows: pd.DataFrame, frames: str) -> pd.DataFrame:
    """One row a frame taken, in the place of the row of each file that holds several (DICOM, GIF)."""
    usable = rows.index[rows["reason"] == ""]
    held = _each(root, rows["path"][usable].tolist(), lambda path: frames_of(root / path), Frames())
    chosen: list[list[int]] = [[0]] * len(rows)
    for row, of_file in zip(usable, held, strict=True):
        if of_file.choosable:
            chosen[row] = choose_frames(frames, of_file.held)
    expanded = rows.loc[np.repeat(rows.index.to_numpy(), [len(positions) for positions in chosen])]
    return expanded.assign(frame=[position for positions in chosen for position in positions]).reset_index(drop=True)


def note_colour_doppler(root: Path, rows: pd.DataFrame, doppler: str) -> list[str]:
    """Look at images for colour Doppler; with "exclude" give their rows a reason. Return what was found as notes."""
    from fastrad.imaging.doppler import is_colour_doppler

    candidates = rows[(rows["reason"] == "") & (rows["label"] != "")].drop_duplicates("path")
    if doppler == "":
        candidates = candidates[candidates["path"].map(looks_like_dicom).astype(bool)]
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


def notes_on_files(root: Path, rows: pd.DataFrame, *, stills_by_name: bool = False) -> list[str]:
    """How many of how many frames are stored, and which DICOM files are stored with all that a screen shows.

    Parameters
    ----------
    rows : DataFrame
        A manifest's table.
    stills_by_name : bool
        Believe the names of still images: of a published archive of millions, to open each takes long.
    """

    def look(path: str) -> tuple[Frames, bool]:
        held = frames_of(root / path)
        if not held.dicom:
            return held, False
        from fastrad.imaging.dicom import shows_whole_screen

        with open(root / path, "rb") as file:
            return held, shows_whole_screen(file, name=path)

    usable = rows[(rows["reason"] == "") & ~rows["path"].str.lower().str.endswith(_HDF5)].drop_duplicates("path")
    if stills_by_name:
        usable = usable[usable["path"].map(looks_like_dicom).astype(bool)]
    seen = _each(root, usable["path"].tolist(), look, (Frames(), False))
    held = dict(zip(usable["path"], [of_file for of_file, _ in seen], strict=True))
    notes = note_clips(rows, {path: of_file.held for path, of_file in held.items() if of_file.choosable})
    notes += _note_further_pictures(
        rows, {path: of_file.held for path, of_file in held.items() if not of_file.choosable}
    )
    whole = np.array([shown for _, shown in seen], dtype=bool)
    if whole.any():
        notes.append(
            f"{whole.sum()} DICOM files do not say where the screen shows tissue (first: row {usable.index[whole][0]}"
            "): text on the screen, which may name the patient, is part of these images"
        )
    return notes


def note_hdf5(root: Path, rows: pd.DataFrame) -> list[str]:
    """As `notes_on_files`, of the frames of HDF5 files."""
    paths = rows["path"][(rows["reason"] == "") & rows["path"].map(lambda path: path.lower().endswith(_HDF5))].unique()
    if not len(paths):
        return []
    from fastrad.imaging.hdf5 import hdf5_frame_count

    counts = _each(root, paths.tolist(), lambda path: hdf5_frame_count(str(root / path)), 1)
    return note_clips(rows, dict(zip(paths, counts, strict=True)))


def note_clips(rows: pd.DataFrame, frames: Mapping[str, int]) -> list[str]:
    """A note of the files with several frames: how many of them are stored.

    Parameters
    ----------
    rows : DataFrame
        A manifest's table.
    frames : mapping
        From a path to how many frames its file holds.
    """
    several = {path: count for path, count in frames.items() if count > 1}
    stored = rows[(rows["reason"] == "") & (rows["label"] != "") & rows["path"].isin(several)]
    if stored.empty:
        return []
    taken = {path: set(of_file) for path, of_file in stored.groupby("path")["frame"]}
    which = "some of each are stored"
    for words, choice in (
        ("all are", "all"),
        ("the first of each is", "first"),
        ("the middle one of each is", "middle"),
    ):
        if all(chosen == set(choose_frames(choice, several[path])) for path, chosen in taken.items()):
            which = f"{words} stored"
            break
    count, held = sum(map(len, taken.values())), sum(several[path] for path in taken)
    return [f"{len(taken)} files hold several frames; {which}: {count} of {held} frames"]


def _note_further_pictures(rows: pd.DataFrame, pictures: Mapping[str, int]) -> list[str]:
    stored = rows["path"][(rows["reason"] == "") & (rows["label"] != "")].unique()
    several = [count for path in stored if (count := pictures.get(path, 1)) > 1]
    if not several:
        return []
    return [
        f"{len(several)} PNG or JPEG files hold several pictures (APNG, MPO), of which the first alone is read: "
        f"{len(several)} of {sum(several)} pictures"
    ]


def note_pictures(root: Path, paths: Sequence[str]) -> list[str]:
    """A note of the still images, which have no header that says where a screen shows tissue; none of phantoms."""
    pictures = sum(path.lower().endswith(_STILLS) for path in paths)
    if not pictures or (root / SYNTHETIC_MARKER).is_file():
        return []
    return [
        f"{pictures} files are pictures (PNG, JPEG, BMP, GIF, TIFF), stored whole: text in them, which may name the "
        "patient, is part of these images; `fastrad audit` looks for it"
    ]


def _each(root: Path, paths: list[str], look: Callable[[str], Result], otherwise: Result) -> list[Result]:
    """`look` at each file below `root`; `otherwise` where it can't be read or is a link out of `root`."""
    real_root = os.path.realpath(root)
    folders: dict[str, bool] = {}  # to look at each component of each path would take longer than the files

    def is_below(path: str) -> bool:
        folder = path.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = is_inside(os.path.realpath(root / folder), real_root)
        place = os.path.join(root, path)
        return folders[folder] and (not os.path.islink(place) or is_inside(os.path.realpath(place), real_root))

    def safely(path: str) -> Result:
        try:
            return look(path) if is_below(path) else otherwise
        except (InputError, OSError, ValueError):  # ValueError: a NUL character
            return otherwise

    def all_of(some: list[str]) -> list[Result]:
        return [safely(path) for path in some]

    parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(chain.from_iterable(pool.map(all_of, parts)))
