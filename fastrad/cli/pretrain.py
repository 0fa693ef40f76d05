"""`fastrad pretrain`: train a ResNet-18 on converted files.

In: two dataset files and the recipe's values. Out: a run folder; the best epoch's metrics on stdout.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fastrad.training.config import PretrainConfig, Recipe

_FILE = click.Path(path_type=Path)


@click.command("pretrain")
@click.argument("train", type=_FILE)
@click.option("--val", type=_FILE, required=True, help="Validation file with the same classes.")
@click.option("--out", type=_FILE, required=True, help="Folder of the run.")
@click.option("--epochs", type=int, help=f"Passes over the training file. [{Recipe.epochs}]")
@click.option("--size", type=int, help="Pixels a side. [as stored]")
@click.option("--batch-size", type=int, help=f"Images a step, over all ranks. [{Recipe.batch_size}]")
@click.option("--lr", type=float, help=f"Peak learning rate for 256 images a step. [{Recipe.lr}]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of first weights, order and augmentation.")
@click.option("--amp", is_flag=True, help="Compute in bfloat16 or float16 where the device gains from it.")
@click.option("--amp-dtype", type=click.Choice(["bfloat16", "float16"]), help="Which of the two; implies --amp.")
@click.option("--device", help="cpu, cuda or cuda:N. [a GPU where there is one]")
@click.option("--engine", default="auto", show_default=True, help="The loader's engine.")
@click.option("--workers", type=int, help="Loader threads of each rank. [the CPUs]")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    train: Path,
    val: Path,
    out: Path,
    epochs: int | None,
    size: int | None,
    batch_size: int | None,
    lr: float | None,
    seed: int,
    amp: bool,
    amp_dtype: str | None,
    device: str | None,
    engine: str,
    workers: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Pretrain a ResNet-18 on TRAIN and keep the best weights by macro AUROC on the validation file."""
    from fastrad.training.loop import pretrain
    from fastrad.training.signals import Stopped

    given: dict[str, Any] = {"epochs": epochs, "size": size, "batch_size": batch_size, "lr": lr}
    recipe = replace(Recipe(), **{name: value for name, value in given.items() if value is not None})
    config = PretrainConfig(
        train=train,
        val=val,
        out=out,
        recipe=recipe,
        seed=seed,
        precision=amp_dtype or ("amp" if amp else "float32"),
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
    best = json.loads((out / "summary.json").read_text())["best"]
    if as_json:
        print(json.dumps({"weights": str(weights), **best}))
        return
    print(
        f"best epoch {best['epoch']}: macro AUROC {best['val_macro_auroc']:.4f}, "
        f"micro AUROC {best['val_micro_auroc']:.4f}, top-1 {best['val_top1']:.4f}, top-5 {best['val_top5']:.4f}, "
        f"balanced accuracy {best['val_balanced_accuracy']:.4f}"
    )
    print(f"weights: {weights}")
