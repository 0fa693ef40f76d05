"""`fastrad compare`: the three-way study from a converted thyroid archive to its report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fastrad.cli.options import given, options_of
from fastrad.study.protocol.config import CompareConfig, Tuning


@click.command("compare")
@click.argument("thyroid", type=click.Path(path_type=Path))
@options_of(CompareConfig, "radimagenet", "imagenet", "out", "arms", "frozen", "null_arm")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A .toml file with values of the study's recipe; options given beside it win.",
)
@options_of(Tuning, "epochs", "size")
@options_of(CompareConfig, "seed", "split_seed", "seeds", "folds", "test_fraction", "splits", "learning_curve")
@options_of(CompareConfig, "external", "margin", "subgroups", "attributes", "pseudonym_key", "positive", "title")
@options_of(Tuning, "batch_size", "learning_rate", "backbone_rate", "patience", "class_weighting")
@options_of(CompareConfig, "drop_seen", "accept_seen")
@options_of(CompareConfig, "device", "jobs", "only", "search", "grid", "plan", "development_only", "unlock_test")
@click.option("--json", "as_json", is_flag=True, help="Print table.json instead of the table.")
def command(thyroid: Path, recipe: Path | None, as_json: bool, **words: Any) -> None:
    """Compare no transfer, ImageNet and RadImageNet on THYROID (a .beton file, or the folder of all.beton).

    Patients are split into a held-out test set and folds; the arms differ in their initial weights only.
    """
    from fastrad.dataset.opening import read_card
    from fastrad.study.compare import carry_on
    from fastrad.study.protocol.patients import study_file
    from fastrad.train import recipe_file

    tuning = Tuning(size=int(read_card(study_file(thyroid)).parameters["size"]))
    if recipe is not None:
        tuning = recipe_file.changed(tuning, recipe_file.read(recipe), str(recipe))
    tuning = replace(tuning, **given(Tuning, words))
    command_line = shlex.join(["fastrad", *sys.argv[1:]])
    config = CompareConfig(dataset=thyroid, tuning=tuning, command=command_line, **given(CompareConfig, words))
    if not carry_on(config):
        return
    folder = config.out
    print((folder / ("table.json" if as_json else "table.md")).read_text(encoding="utf-8"), end="")
    print(
        f"written to {folder}: report.html, table.md, table.csv, table.json, roc.png, predictions.csv", file=sys.stderr
    )
