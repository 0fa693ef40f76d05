"""`fastrad report`: write a study's tables, figures and page again from its predictions."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print table.json instead of the table.")
def command(folder: Path, as_json: bool) -> None:
    """Evaluate the predictions in FOLDER, a study of `fastrad compare`, and write its report."""
    from fastrad.study.report.page import write_report

    write_report(folder)
    print((folder / ("table.json" if as_json else "table.md")).read_text(), end="")
