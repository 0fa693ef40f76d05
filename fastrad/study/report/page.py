"""The report of a finished study: its tables, its figures, and `report.html`.

The page has everything in it and opens from a disk without a network.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from fastrad.models.resnet import architecture_label
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.inference.learning_curve import learning_curve
from fastrad.study.inference.subgroups import subgroups
from fastrad.study.report import figures
from fastrad.study.report.beside import development_beside_test
from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.error_pictures import read_errors
from fastrad.study.report.facts import Facts
from fastrad.study.report.folder import read_folder
from fastrad.study.report.latex import to_latex
from fastrad.study.report.markdown import to_markdown
from fastrad.study.report.notation import format_p, range_text, subgroup_text
from fastrad.study.report.provenance import LedgerLine, computing_lines, ledger_lines
from fastrad.study.report.reporting_items import claim_items, tripod_items
from fastrad.study.report.sentences import said, title
from fastrad.study.report.values import table_values, to_csv, to_json
from fastrad.system.files import write_atomically


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
    FormatError
        If its record or its predictions were cut short or altered.
    """
    found = read_folder(folder)
    study = found.study
    result = evaluate(found.predictions)
    validated = found.predictions[found.predictions["set"] == "val"]
    external = [evaluate(pd.concat([validated, table]), "external") for table in found.external]
    groups = [] if found.attributes is None else subgroups(result, found.attributes)
    fixed = None if found.fixed is None else evaluate(found.fixed)
    values = table_values(study, result, external, groups, fixed)
    errors = read_errors(folder)
    facts = Facts(study, values, found.earlier, found.unused, bool(errors), found.curve is not None)
    said_of_it = {"unit": facts.unit, "caveats": said("caveats", facts), "epoch_chosen": facts.epoch_chosen}
    values = {**values, "title": title(facts), **said_of_it}
    for name, text in (
        ("table.json", to_json(values)),
        ("table.csv", to_csv(values)),
        ("table.md", to_markdown(values)),
        ("table.tex", to_latex(values)),
    ):
        write_atomically(folder / name, text.encode())
    curve = None if found.curve is None else learning_curve(found.curve)
    drawings = {
        name: figures.save(figure, folder / "figures", name)
        for name, figure in figures.draw_all(study, result, curve).items()
    }
    write_atomically(folder / "roc.png", (folder / "figures" / "roc.png").read_bytes())
    page = render_page(facts, values, drawings, errors, ledger_lines(found.current, found.earlier))
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


def render_page(
    facts: Facts, values: dict, drawings: dict[str, str], errors: list[dict], ledger: list[LedgerLine]
) -> str:
    """The page's HTML.

    Parameters
    ----------
    facts : Facts
    values : dict
        From `values.table_values`, with `title` and `caveats`.
    drawings : dict of str to str
        SVG elements by the figures' names.
    errors : list of dict
        From `error_pictures.read_errors`.
    ledger : list of LedgerLine
    """
    from jinja2 import Environment, PackageLoader, select_autoescape
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("fastrad.study.report"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["p"] = format_p
    environment.filters["network"] = architecture_label
    environment.filters["subgroup"] = subgroup_text
    environment.globals["range_text"] = range_text
    environment.globals["said"] = partial(said, facts=facts)
    study = facts.study
    shown = {"subgroups": bool(values["subgroups"]), "errors": bool(errors), "epoch_chosen": facts.epoch_chosen}
    colours = {arm["name"]: figures.COLOURS[index % len(figures.COLOURS)] for index, arm in enumerate(study["arms"])}
    return environment.get_template("report.html").render(
        study=study,
        table=values,
        figures={name: Markup(text) for name, text in drawings.items()},
        errors=errors,
        colours=colours,
        thyroid=facts.thyroid,
        epoch_chosen=facts.epoch_chosen,
        beside=development_beside_test(study),
        computing=computing_lines(study),
        ledger=ledger,
        guidelines={"TRIPOD+AI": tripod_items(study, **shown), "CLAIM 2024": claim_items(study, **shown)},
        synthetic_note=SYNTHETIC_NOTE,
    )
