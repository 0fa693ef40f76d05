"""A thyroid archive whose labels are made up, by its own readme: 637 PNG under DDTI's name with category.csv.

In: a folder or a table. Out: an error if it is that archive. Whoever cut the images out of DDTI for a segmentation
demo filled in the categories so that the TN-SCUI challenge's scripts would run, and said so in the readme.
"""

from __future__ import annotations

from pathlib import Path

from fastrad.errors import InputError

NAME = "category.csv"


def refuse_forged_categories(root: Path, table: Path | None = None) -> None:
    """Refuse a folder, or a table, that holds the forged categories.

    Raises
    ------
    InputError
        If `table`, or a file in `root`, has a name that ends in category.csv, and either the columns ID and CATE of
        that challenge, or its folders of images and masks beside it.
    """
    for path in [table] if table is not None else sorted(root.glob(f"*{NAME}")):
        if path.name.endswith(NAME) and path.is_file() and (_has_its_columns(path) or _has_its_folders(path.parent)):
            raise InputError(
                f"{path}: its categories are forged, as the readme of that archive says (DDTI has no such table); "
                "use the original DDTI with its N.xml files, where TI-RADS gives the labels"
            )


def _has_its_columns(path: Path) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        columns = {name.strip().strip('"').upper() for name in file.readline().split(",")}
    return {"ID", "CATE"} <= columns


def _has_its_folders(folder: Path) -> bool:
    names = {path.name.lower().removeprefix("p_") for path in folder.iterdir() if path.is_dir()}
    return {"image", "mask"} <= names
