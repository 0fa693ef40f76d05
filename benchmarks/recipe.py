"""What each choice of the pretraining recipe changes, at a small scale on real images.

    python benchmarks/recipe.py TRAIN.beton VAL.beton

In: two dataset files of one archive. Out: `benchmarks/results/recipe.json`: for the plain recipe and each choice alone,
over several seeds, the validation metrics, and the mean paired difference from the plain recipe of the same seed with
its standard error. The training file is thinned to a few hundred images, so that a few epochs are not enough to be
perfect: differences between choices would vanish at the top. Nothing here is a speed measurement.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import tempfile
from pathlib import Path

import numpy as np
import provenance
import torch

import fastrad
from fastrad.dataset import BetonFile, write_beton
from fastrad.train import PretrainConfig, Recipe
from fastrad.train.pretrain import pretrain

HERE = Path(__file__).parent
METRICS = ("val_macro_auroc", "val_balanced_accuracy", "val_top1", "val_loss")


def choices(size: int) -> dict[str, dict]:
    """The plain recipe, and one change of it at a time."""
    return {
        "plain": {},
        "no label smoothing": {"label_smoothing": 0.0},
        "ema 0.95": {"ema": 0.95},
        "balanced sampling": {"sampling": "balanced"},
        f"growing sizes {size // 32 * 16} to {size}": {"first_size": size // 32 * 16, "last_size": size},
        "flip averaging": {"flip_average": True},
        "clip norm 1": {"clip_norm": 1.0},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "recipe.json")
    words = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        train = thinned(words.train, words.images, Path(folder) / "train.beton")
        for name, change in choices(words.size).items():
            found[name] = []
            for seed in range(words.seeds):
                out = Path(folder) / f"{name}-{seed}"
                recipe = Recipe(epochs=words.epochs, size=words.size, batch_size=32, **change)
                pretrain(PretrainConfig(train=train, val=words.val, out=out, recipe=recipe, seed=seed))
                last = json.loads((out / "summary.json").read_text())["last"]
                found[name].append({metric: last[metric] for metric in METRICS})
    result = {
        "benchmark": "recipe",
        "train": {"samples": words.images, "drawn_from": BetonFile(words.train).card.class_counts},
        "python": platform.python_version(),
        "versions": {"fastrad": fastrad.__version__, "torch": torch.__version__},
        "commit": provenance.commit(),
        "arguments": {name: value for name, value in vars(words).items() if name not in ("train", "val", "out")},
        "choices": {name: summary(runs, found["plain"]) for name, runs in found.items()},
    }
    words.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, values in result["choices"].items():
        auroc = values["val_macro_auroc"]
        print(f"{name:24} macro AUROC {auroc['mean']:.4f} ({auroc['difference']:+.4f}, SE {auroc['standard_error']})")


def thinned(path: Path, images: int, out: Path) -> Path:
    """As many images of a dataset file, drawn once."""
    file = BetonFile(path)
    chosen = np.sort(np.random.default_rng(0).permutation(len(file))[:images])
    pictures = np.stack([file.decode(int(index)) for index in chosen])
    write_beton(out, pictures, file.labels[chosen], rows=file.rows[chosen], classes=file.card.classes, split="train")
    return out


def summary(runs: list[dict[str, float]], plain: list[dict[str, float]]) -> dict[str, dict]:
    """Mean over seeds, and the paired difference from the plain recipe with its standard error."""
    values = {}
    for metric in METRICS:
        differences = [run[metric] - base[metric] for run, base in zip(runs, plain, strict=True)]
        spread = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None
        values[metric] = {
            "mean": round(statistics.mean(run[metric] for run in runs), 4),
            "difference": round(statistics.mean(differences), 4),
            "standard_error": None if spread is None else round(spread, 4),
            "runs": [round(run[metric], 4) for run in runs],
        }
    return values


if __name__ == "__main__":
    main()
