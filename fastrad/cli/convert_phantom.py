"""`fastrad convert phantom`: generated images, as an archive and as the dataset files made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastrad.cli.convert import conversion_parameters, convert_archive
from fastrad.errors import OptionError
from fastrad.phantom import LAYOUTS, write_phantom


def _convert_phantom(out_dir: str, kind: str, images: int, seed: int, **words: Any) -> None:
    if words["dry_run"]:
        raise OptionError("--dry-run: the images would have to be generated first; leave it out")
    archive = Path(out_dir) / "archive"
    write_phantom(kind, archive, images=images, seed=seed, workers=words["workers"])
    convert_archive(LAYOUTS[kind], archive, out_dir, {}, words)


command = click.Command(
    "phantom",
    params=[
        click.Argument(["out_dir"]),
        click.Option(["--kind"], type=click.Choice(list(LAYOUTS)), required=True, help="Of images."),
        click.Option(["--images"], type=click.IntRange(max=10**9), required=True, help="How many images to generate."),
        click.Option(["--seed"], type=click.IntRange(0, 2**62), default=0, show_default=True, help="Of the images."),
        *conversion_parameters(),
    ],
    callback=_convert_phantom,
    help="Generated images: the archive goes to OUT_DIR/archive, the dataset files to OUT_DIR.",
)
