"""From two archives to the abstract's table: convert, pretrain, compare, report, one command after another.

    python tools/reproduce_table1.py --radimagenet ROOT --thyroid ROOT --layout table --out OUT
    python tools/reproduce_table1.py --radimagenet MINI --thyroid DDTI --layout ddti --crop nodule \
        --imagenet FILE --recipe tools/table1-small.toml --out OUT
    python tools/reproduce_table1.py --phantoms --recipe tools/table1-small.toml --out OUT

Each step is a fastrad command that skips what is done, so the same line goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tomllib
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--radimagenet", type=Path, help="the folder that holds radiology_ai/ and the three CSVs")
    parser.add_argument("--thyroid", type=Path, help="the folder of the thyroid images")
    parser.add_argument("--layout", default="table", help="of the thyroid images (default: table)")
    parser.add_argument("--crop", choices=["nodule"], help="store the outlined nodule alone")
    parser.add_argument("--imagenet", default="torchvision", help="torchvision, or a weights file")
    parser.add_argument("--phantoms", action="store_true", help="generate all archives instead; labelled synthetic")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("table1.toml"))
    parser.add_argument("--out", type=Path, required=True)
    choice = parser.parse_args()
    if not choice.phantoms and not (choice.radimagenet and choice.thyroid):
        parser.error("give --radimagenet and --thyroid, or --phantoms")
    recipe = tomllib.loads(choice.recipe.read_text())
    out = choice.out
    size = ["--size", str(recipe["images"]["size"])]
    fit = ["--fit", recipe["images"]["fit"]]

    if choice.phantoms:
        for kind, folder in (("radiology", "radimagenet"), ("natural", "natural"), ("thyroid", "thyroid")):
            images = recipe["phantoms"][kind]
            step("convert", "phantom", out / folder, "--kind", kind, "--images", images, *size, *fit)
        choice.imagenet = pretrain(out / "natural", out / "pretrained-natural", recipe)
    else:
        step("convert", "radimagenet", choice.radimagenet, out / "radimagenet", *size, *fit)
        crop = ["--crop", choice.crop] if choice.crop else []
        words = ["--layout", choice.layout, "--ignore-splits", *crop]
        step("convert", "thyroid", choice.thyroid, out / "thyroid", *words, *size, *fit)
    weights = pretrain(out / "radimagenet", out / "pretrained", recipe)
    study = [word for name, value in recipe["study"].items() for word in (f"--{name}", value)]
    step(
        "compare",
        out / "thyroid",
        "--radimagenet",
        weights,
        "--imagenet",
        choice.imagenet,
        "--out",
        out / "study",
        *study,
    )


def pretrain(dataset: Path, run: Path, recipe: dict) -> Path:
    """Pretrain, or go on with it, and return the weights."""
    resume = ["--resume"] if (run / "config.json").is_file() else []
    epochs = ["--epochs", recipe["pretraining"]["epochs"]]
    step("pretrain", dataset / "train.beton", "--val", dataset / "val.beton", "--out", run, "--amp", *epochs, *resume)
    return run / "weights.safetensors"


def step(*words: object) -> None:
    """Run one fastrad command; stop where it fails, with its status."""
    command = [sys.executable, "-m", "fastrad", *map(str, words)]
    print(f"$ fastrad {' '.join(command[3:])}", file=sys.stderr, flush=True)
    started = time.monotonic()
    status = subprocess.run(command).returncode
    if status:
        sys.exit(status)
    print(f"  {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
