#!/usr/bin/env python3
"""Make the pictures of `docs/gallery.md` from what `make demo` left.

    make demo && .venv/bin/python tools/gallery.py demo

In: the folder of the demo, and a Chromium (or the one that CHROMIUM names) for pages. Out: `docs/gallery/*.png`, which
show generated images only, so that they can be given to anyone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
WIDTH = 900  # pixels, at the most: what GitHub shows of a page's width
COLOURS = 128  # text and gray images look the same, in a third of the bytes
TILE = 200  # pixels a side, of an image among the errors


@click.command()
@click.argument("demo", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=REPOSITORY / "docs" / "gallery", show_default=True)
def main(demo: Path, out: Path) -> None:
    """Fill OUT with pictures of what each command shows of DEMO."""
    out.mkdir(parents=True, exist_ok=True)
    thyroid, radiology, run, study = (
        demo / "datasets" / "thyroid" / "all.beton",
        demo / "datasets" / "radiology",
        demo / "runs" / "radiology",
        demo / "study",
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        fastrad("inspect", thyroid, "--sheet", scratch / "sheet.png", "--images", "24")
        keep(scratch / "sheet.png", out / "inspect-sheet.png")
        fastrad("audit", radiology / "train.beton", thyroid, "--out", scratch / "audit", "--text-images", "0")
        keep(picture(scratch / "audit" / "audit.html", scratch, height=1000), out / "audit.png")
        fastrad("evaluate", run / "weights.safetensors", radiology / "test.beton", "--out", scratch / "evaluation")
        keep(scratch / "evaluation" / "classes.png", out / "evaluate-classes.png")
        keep(run / "learning_curve.png", out / "pretrain-learning-curve.png")
        keep(picture(study / "report.html", scratch, height=1500), out / "compare-report.png")
        keep(study / "roc.png", out / "compare-roc.png")
        keep(errors(study / "errors", scratch), out / "compare-errors.png")


def fastrad(*words: object) -> None:
    """Run one command, and stop where it fails."""
    subprocess.run([sys.executable, "-m", "fastrad", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def picture(page: Path, folder: Path, *, height: int) -> Path:
    """The upper `height` pixels of a page, as a browser shows them."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if browser is None:
        raise click.ClickException("no Chromium: install Debian's package chromium, or set CHROMIUM")
    shot = folder / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size=1000,{height}"]
    subprocess.run(
        [browser, *options, f"--screenshot={shot}", page.resolve().as_uri()], check=True, stderr=subprocess.DEVNULL
    )
    return shot


def errors(folder: Path, scratch: Path) -> Path:
    """The in-domain arm's most confident errors in a row, and below each what the network looked at."""
    images = sorted(file for file in folder.glob("radimagenet-*.png") if not file.stem.endswith("-cam"))
    sheet = Image.new("RGB", (TILE * len(images), TILE * 2))
    for column, file in enumerate(images):
        for row, shown in enumerate((file, file.with_name(f"{file.stem}-cam.png"))):
            tile = Image.open(shown).convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (TILE * column, TILE * row))
    sheet.save(scratch / "errors.png")
    return scratch / "errors.png"


def keep(source: Path, target: Path) -> None:
    """Store a picture small: at most WIDTH wide, in COLOURS colours."""
    image = Image.open(source).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
    click.echo(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
