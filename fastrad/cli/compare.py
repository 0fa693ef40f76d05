"""`fastrad compare`: the three-way study from a converted thyroid archive to its report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click


@click.command("compare")
@click.argument("thyroid", type=click.Path(path_type=Path))
@click.option(
    "--radimagenet", required=True, metavar="WEIGHTS", help="Weights of `fastrad pretrain`, or any ResNet-18's."
)
@click.option(
    "--imagenet",
    default="torchvision",
    show_default=True,
    metavar="torchvision|FILE",
    help="ImageNet weights: downloaded, or a file.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The study's folder.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME=WEIGHTS",
    help="A further arm, ResNet-18 to 152; may be given several times.",
)
@click.option(
    "--frozen",
    multiple=True,
    metavar="NAME=WEIGHTS",
    help="A further arm that is not tuned: its features under a logistic regression.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A .toml file with values of the study's recipe; options given beside it win.",
)
@click.option("--epochs", type=int, help="Epochs of a run at most. [30]")
@click.option("--size", type=int, help="Input side in pixels; by default as stored.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**62), help="Of splits and runs.")
@click.option("--seeds", default=3, show_default=True, help="Repetitions of everything with other seeds.")
@click.option("--folds", default=5, show_default=True, help="Folds of the cross-validation.")
@click.option("--test-fraction", default=145 / 721, show_default="145/721", help="Share of patients held out.")
@click.option(
    "--splits",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV patient,set[,fold] instead of drawn splits: by time, by site.",
)
@click.option(
    "--learning-curve", metavar="25,50,100,all", help="Tune everything again with so many training patients a fold."
)
@click.option(
    "--external", multiple=True, type=click.Path(path_type=Path), help="A further dataset to test on; may be repeated."
)
@click.option("--subgroup", "subgroups", multiple=True, metavar="COLUMN", help="Look at the test patients by COLUMN.")
@click.option(
    "--attributes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV patient,COLUMN... for --subgroup; by default the file of --splits.",
)
@click.option(
    "--pseudonym-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The key of THYROID's conversion, where --splits and --attributes name patients by their own ids.",
)
@click.option("--positive", metavar="LABEL", help="The class that counts as malignant, if it has another name.")
@click.option("--batch-size", type=int, help="Images a training step. [32]")
@click.option("--learning-rate", type=float, help="AdamW's peak. [0.0003]")
@click.option("--backbone-rate", type=float, help="The backbone's share of that rate; 0 freezes it. [1]")
@click.option("--patience", type=int, help="Epochs without a better validation AUROC to end a run. [10]")
@click.option("--class-weighting", is_flag=True, help="Weight benign and malignant alike in the loss.")
@click.option("--device", help="For example cuda; by default a GPU where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print table.json instead of the table.")
def command(
    thyroid: Path,
    radimagenet: str,
    imagenet: str,
    out: Path,
    arms: tuple[str, ...],
    frozen: tuple[str, ...],
    recipe: Path | None,
    epochs: int | None,
    size: int | None,
    seed: int,
    seeds: int,
    folds: int,
    test_fraction: float,
    splits: Path | None,
    learning_curve: str | None,
    external: tuple[Path, ...],
    subgroups: tuple[str, ...],
    attributes: Path | None,
    pseudonym_key: Path | None,
    positive: str | None,
    batch_size: int | None,
    learning_rate: float | None,
    backbone_rate: float | None,
    patience: int | None,
    class_weighting: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Compare no transfer, ImageNet and RadImageNet on THYROID (a .beton file, or the folder of all.beton).

    Patients are split into a held-out test set and folds; the arms differ in their initial weights only.
    """
    from fastrad.dataset.opening import read_card
    from fastrad.study.compare import CompareConfig, compare
    from fastrad.study.networks.tune import Tuning
    from fastrad.study.protocol.patients import study_file
    from fastrad.train import recipe_file

    chosen = replace(Tuning(), size=int(read_card(study_file(thyroid)).parameters["size"]))
    if recipe is not None:
        chosen = recipe_file.changed(chosen, recipe_file.read(recipe), str(recipe))
    given: dict[str, Any] = {
        "epochs": epochs,
        "size": size,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "backbone_rate": backbone_rate,
        "patience": patience,
        "class_weighting": class_weighting or None,
    }
    chosen = replace(chosen, **{name: value for name, value in given.items() if value is not None})
    config = CompareConfig(
        dataset=thyroid,
        out=out,
        radimagenet=radimagenet,
        imagenet=imagenet,
        recipe=chosen,
        arms=_named("--arm", arms),
        frozen=_named("--frozen", frozen),
        positive=positive,
        folds=folds,
        seeds=seeds,
        seed=seed,
        test_fraction=test_fraction,
        splits=splits,
        learning_curve=_numbers(learning_curve),
        external=external,
        subgroups=subgroups,
        attributes=attributes,
        pseudonym_key=pseudonym_key,
        device=device,
        command=shlex.join(["fastrad", *sys.argv[1:]]),
    )
    folder = compare(config)
    print((folder / ("table.json" if as_json else "table.md")).read_text(), end="")
    print(
        f"written to {folder}: report.html, table.md, table.csv, table.json, roc.png, predictions.csv", file=sys.stderr
    )


def _named(option: str, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in texts:
        name, separator, weights = text.partition("=")
        if not separator or not name or not weights:
            raise click.UsageError(f"{option} {text}: give NAME=WEIGHTS")
        found.append((name, weights))
    return tuple(found)


def _numbers(text: str | None) -> tuple[int, ...]:
    """The numbers of `25,50,100,all`; all patients are always in the study."""
    words = [word.strip() for word in text.split(",")] if text else []
    numbers = [word for word in words if word != "all"]
    if not all(word.isdigit() and int(word) > 0 for word in numbers):
        raise click.UsageError(f"--learning-curve {text}: give numbers of patients, for example 25,50,100,all")
    return tuple(int(word) for word in numbers)
