"""`fastrad demo`: the whole path on generated images."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fastrad.cli.options import given, options_of
from fastrad.demo import DemoPlan, run_demo


@click.command("demo")
@click.option(
    "--out",
    default="demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of all products.",
)
@options_of(DemoPlan, "seed")
def command(out: Path, **words: int) -> None:
    """Generate images, convert them, pretrain twice, compare, print the table: a few minutes on two cores."""
    started = time.monotonic()
    study = run_demo(out, DemoPlan(**given(DemoPlan, words)))
    click.echo((study / "table.md").read_text(encoding="utf-8"))
    click.echo(
        f"The images are synthetic: the table shows that the path works, nothing about patients.\n\nFiles in {out}:"
    )
    for name, what in (
        ("archives/", "the generated images, in the layouts of real archives"),
        ("datasets/", "the converted files (.beton) with their cards"),
        ("runs/", "two pretrained networks: weights, metrics, learning curve"),
        ("study/report.html", "the report: open it in a browser"),
        ("study/table.md, table.csv, table.json", "the table"),
        ("study/predictions.csv", "every score of every network"),
        ("study/roc.png", "ROC curves of the held-out test set"),
    ):
        click.echo(f"  {name:<40} {what}")
    click.echo(f"The demo took {time.monotonic() - started:.0f} s.")
