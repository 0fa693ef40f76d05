"""`fastrad pretrain`: train a ResNet on converted files.

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

from fastrad.cli.options import given, options_of
from fastrad.system.files import in_units
from fastrad.system.progress import say
from fastrad.system.terminal import tell
from fastrad.train.config import PretrainConfig, Recipe, load_recipe


@click.command("pretrain")
@click.argument("train", type=click.Path(path_type=Path), required=False)
@options_of(PretrainConfig, "val", "out")
@click.option("--recipe", "name", help="A recipe that comes with fastrad, or a .toml file of the same form.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change any value of the recipe.")
@click.option("--show-config", is_flag=True, help="Print the recipe as it would be used, and stop.")
@options_of(Recipe, "architecture", "epochs", "size", "batch_size", "lr")
@click.option("--amp", is_flag=True, help="Compute in bfloat16 or float16 where the device gains from it.")
@click.option("--amp-dtype", type=click.Choice(["bfloat16", "float16"]), help="Which of the two; implies --amp.")
@options_of(PretrainConfig, "seed", "compile", "deterministic", "device", "engine", "workers", "resume")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    train: Path | None,
    name: str | None,
    settings: tuple[str, ...],
    show_config: bool,
    amp: bool,
    amp_dtype: str | None,
    as_json: bool,
    **words: Any,
) -> None:
    """Pretrain a ResNet on TRAIN and keep the best weights by macro AUROC on the validation file.

    The values in brackets hold where neither option nor recipe says otherwise.
    """
    recipe = load_recipe(name) if name else Recipe()
    for setting in settings:
        recipe = recipe.changed(_parsed(setting), "--set")
    recipe = replace(recipe, **given(Recipe, words))
    if show_config:
        peak = f"{recipe.peak_lr:g}" if recipe.batch_size else f"{recipe.lr:g} * batch size / 256"
        print(recipe.to_toml() + f"\n# peak learning rate: {peak}")
        return
    for value, missing in ((train, "TRAIN"), (words["val"], "--val"), (words["out"], "--out")):
        if value is None:
            raise click.UsageError(f"{missing} is missing")
    assert train is not None

    from fastrad.dataset.opening import dataset_in
    from fastrad.train.pretrain import pretrain
    from fastrad.train.run import Stopped
    from fastrad.train.run_folder import RunFolder

    precision = amp_dtype or ("amp" if amp else "float32")
    train, words["val"] = Path(dataset_in(train, "train")), Path(dataset_in(words["val"], "val"))
    config = PretrainConfig(train=train, recipe=recipe, precision=precision, **given(PretrainConfig, words))
    try:
        weights = pretrain(config)
    except Stopped as stopped:
        say(f"fastrad: {stopped}")
        sys.exit(128 + stopped.signal)
    if os.environ.get("RANK", "0") != "0":  # under torchrun one process speaks for all
        return
    result = RunFolder(config.out).read_summary()
    best = result.best
    if as_json:
        print(json.dumps({"weights": str(weights), **best}))
        return
    figures = {"macro AUROC": "macro_auroc", "micro AUROC": "micro_auroc", "top-1": "top1", "top-5": "top5"}
    figures["balanced accuracy"] = "balanced_accuracy"
    shown = (f"{words} {_figure(best.get(f'val_{name}'))}" for words, name in figures.items())
    tell(f"best epoch {best.get('epoch')}: {', '.join(shown)}")
    known = sorted((value, name) for name, value in result.class_auroc.items() if value is not None)
    tell("lowest AUROC: " + ", ".join(f"{name} {value:.4f}" for value, name in known[:5]))
    tell(f"weights: {weights}")
    kept = [path.stat().st_size for path in (config.out / "checkpoints").glob("*.ckpt")]
    if kept:
        tell(f"checkpoints: {len(kept)} of {in_units(sum(kept))}, needed only to train on from here")


def _figure(value: float | None) -> str:
    """Four decimals; a word where it is not finite."""
    return "unknown" if value is None else f"{value:.4f}"


def _parsed(setting: str) -> dict[str, Any]:
    """A `NAME=VALUE` word with its value as in TOML (a bare word is a string); `TABLE.NAME` is a value in a table."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise click.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(name.split(".")):
        value = {part: value}
    return value
