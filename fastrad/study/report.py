"""The report of a finished study.

In: the study's folder with `study.json` and `predictions.csv`. Out: `table.md`, `table.csv`, `table.json`, `roc.png`
and `report.html`, one page that opens from a disk.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pandas as pd

from fastrad.errors import InputError
from fastrad.model import write_atomically
from fastrad.study import figures, tables
from fastrad.study.evaluation import evaluate


def write_report(folder: Path) -> Path:
    """Evaluate the predictions in a study's folder and write tables, figures and the page.

    Returns
    -------
    Path
        `report.html`.

    Raises
    ------
    InputError
        If the folder holds no finished study.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    for name in ("study.json", "predictions.csv"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; `fastrad compare ... --out {folder}` makes a study")
    study = json.loads((folder / "study.json").read_text())
    result = evaluate(pd.read_csv(folder / "predictions.csv", dtype={"patient": str}))
    values = tables.table(study, result)
    write_atomically(folder / "table.json", tables.to_json(values).encode())
    write_atomically(folder / "table.csv", tables.to_csv(values).encode())
    write_atomically(folder / "table.md", tables.to_markdown(values).encode())
    figures.save_png(figures.roc_figure(study, result), folder / "roc.png")
    roc = base64.b64encode((folder / "roc.png").read_bytes()).decode()
    environment = Environment(
        loader=PackageLoader("fastrad.study"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["p"] = tables.format_p
    page = environment.get_template("report.html").render(
        study=study, table=values, roc=roc, interval_note=tables.INTERVAL_NOTE, synthetic_note=tables.SYNTHETIC_NOTE
    )
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"
