"""`fastrad report`: write a study's tables, figures and page again from its predictions."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--rescore",
    "datasets",
    multiple=True,
    metavar="DATASET",
    type=click.Path(path_type=Path),
    help="First score again with the networks in FOLDER/runs, on the study's dataset (and, given again, external "
    "ones), and mend tables that say otherwise.",
)
@click.option("--device", help="For --rescore, for example cuda; by default a GPU where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print table.json instead of the table.")
def command(folder: Path, datasets: tuple[Path, ...], device: str | None, as_json: bool) -> None:
    """Evaluate the predictions in FOLDER, a study of `fastrad compare`, and write its report.

    A table that was altered since it was written is refused by name.
    """
    from fastrad.errors import OptionError
    from fastrad.study.report.page import write_report

    if datasets:
        from fastrad.study.networks.rescore import rescore

        rescore(folder, datasets, device)
    elif device is not None:
        raise OptionError("--device is for --rescore DATASET; without it nothing is computed on a device")
    write_report(folder)
    print((folder / ("table.json" if as_json else "table.md")).read_text(encoding="utf-8"), end="")
