"""A thyroid archive whose labels are made up, by its own readme: 637 PNG under DDTI's name with category.csv.

In: a folder. Out: an error if it is that archive. The file has the columns of the TN-SCUI challenge (ID, CATE); DDTI
has no such table, and whoever prepared the images filled the categories in so that a script would run.
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
        If `table`, or a file in `root`, is named (…)category.csv and has the columns ID and CATE.
    """
    for path in [table] if table is not None else sorted(root.glob(f"*{NAME}")):
        if not path.name.endswith(NAME) or not path.is_file():
            continue
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            columns = {name.strip().strip('"').upper() for name in file.readline().split(",")}
        if {"ID", "CATE"} <= columns:
            raise InputError(
                f"{path}: its categories are forged, as the readme of that archive says (DDTI has no such table); "
                "use the original DDTI with its N.xml files, where TI-RADS gives the labels"
            )
