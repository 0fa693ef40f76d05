"""`fastrad pretrain`: train a ResNet-18 on converted files.

In: two dataset files and the recipe's values. Out: a run folder; the best epoch's metrics on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fastrad.loading.engines import engine_choices
from fastrad.train.config import PretrainConfig, Recipe, load_recipe

_FILE = click.Path(path_type=Path)


@click.command("pretrain")
@click.argument("train", type=_FILE, required=False)
@click.option("--val", type=_FILE, help="Validation file with the same classes.")
@click.option("--out", type=_FILE, help="Folder of the run.")
@click.option("--recipe", help="A recipe that comes with fastrad, or a .toml file of the same form.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change any value of the recipe.")
@click.option("--show-config", is_flag=True, help="Print the recipe as it would be used, and stop.")
@click.option("--epochs", type=int, help=f"Passes over the training file. [the recipe's, or {Recipe.epochs}]")
@click.option("--size", type=int, help="Pixels a side. [the recipe's, or as stored]")
@click.option("--batch-size", type=int, help=f"Images a step, over all ranks. [the recipe's, or {Recipe.batch_size}]")
@click.option("--lr", type=float, help=f"Peak learning rate for 256 images a step. [the recipe's, or {Recipe.lr}]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Of first weights, order and augmentation.",
)
@click.option("--amp", is_flag=True, help="Compute in bfloat16 or float16 where the device gains from it.")
@click.option("--amp-dtype", type=click.Choice(["bfloat16", "float16"]), help="Which of the two; implies --amp.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the training step (torch.compile).")
@click.option("--device", help="cpu, cuda or cuda:N. [a GPU where there is one]")
@click.option("--engine", type=click.Choice(engine_choices()), default="auto", show_default=True, help="The loader's.")
@click.option("--workers", type=click.IntRange(1), help="Loader threads of each rank. [the CPUs]")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    train: Path | None,
    val: Path | None,
    out: Path | None,
    recipe: str | None,
    settings: tuple[str, ...],
    show_config: bool,
    epochs: int | None,
    size: int | None,
    batch_size: int | None,
    lr: float | None,
    seed: int,
    amp: bool,
    amp_dtype: str | None,
    compiled: bool,
    device: str | None,
    engine: str,
    workers: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Pretrain a ResNet-18 on TRAIN and keep the best weights by macro AUROC on the validation file."""
    options: dict[str, Any] = {"epochs": epochs, "size": size, "batch_size": batch_size, "lr": lr}
    chosen = (load_recipe(recipe) if recipe else Recipe()).changed(_parsed(settings), "--set")
    chosen = replace(chosen, **{name: value for name, value in options.items() if value is not None})
    if show_config:
        print(chosen.to_toml() + f"# peak learning rate: {chosen.peak_lr:g}")
        return
    for value, name in ((train, "TRAIN"), (val, "--val"), (out, "--out")):
        if value is None:
            raise click.UsageError(f"{name} is missing")
    assert train is not None
    assert val is not None
    assert out is not None

    from fastrad.train.pretrain import pretrain
    from fastrad.train.signals import Stopped

    config = PretrainConfig(
        train=train,
        val=val,
        out=out,
        recipe=chosen,
        seed=seed,
        precision=amp_dtype or ("amp" if amp else "float32"),
        compile=compiled,
        device=device,
        engine=engine,
        workers=workers,
        resume=resume,
    )
    try:
        weights = pretrain(config)
    except Stopped as stopped:
        print(f"fastrad: {stopped}", file=sys.stderr)
        sys.exit(128 + stopped.signal)
    if os.environ.get("RANK", "0") != "0":  # under torchrun one process speaks for all
        return
    result = json.loads((out / "summary.json").read_text())
    best = result["best"]
    if as_json:
        print(json.dumps({"weights": str(weights), **best}))
        return
    print(
        f"best epoch {best['epoch']}: macro AUROC {best['val_macro_auroc']:.4f}, "
        f"micro AUROC {best['val_micro_auroc']:.4f}, top-1 {best['val_top1']:.4f}, top-5 {best['val_top5']:.4f}, "
        f"balanced accuracy {best['val_balanced_accuracy']:.4f}"
    )
    known = sorted((value, name) for name, value in result["class_auroc"].items() if value is not None)
    print("lowest AUROC: " + ", ".join(f"{name} {value:.4f}" for value, name in known[:5]))
    print(f"weights: {weights}")


def _parsed(settings: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE` words with values as in TOML; a bare word is a string."""
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise click.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        try:
            values[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = text
    return values
