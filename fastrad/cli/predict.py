"""`fastrad predict`: what finished networks, a study's or pretrained ones, say of new images."""

from __future__ import annotations

from pathlib import Path

import click

from fastrad.system.terminal import tell


@click.command("predict")
@click.argument("weights", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The table, as CSV.")
@click.option("--device", help="For example cuda; by default a GPU where there is one.")
def command(weights: tuple[Path, ...], source: Path, out: Path, device: str | None) -> None:
    """Score SOURCE (a .beton file, the folder of all.beton, an image, or a folder of images) with WEIGHTS.

    WEIGHTS are networks of `fastrad compare`, for example STUDY/runs/radimagenet-*/weights.safetensors; the score is
    the mean logit over them. Or they are networks of `fastrad pretrain`: then the table has the probability of each
    class, and the class with the highest one.
    """
    from fastrad.errors import InputError
    from fastrad.study.networks.predict import predict
    from fastrad.system.csv_file import csv_text
    from fastrad.system.files import refuse_to_replace, write_atomically

    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}; make it first")
    refuse_to_replace(out, source, *weights)
    table = predict(weights, source, device)
    write_atomically(out, csv_text(table, index=False).encode())
    unread = int(table["score" if "score" in table else "top_probability"].isna().sum())
    if unread == len(table):
        raise InputError(f"{source}: none of {unread} images could be read; {out} names the reasons")
    left_out = f", {unread} could not be read (see the column reason)" if unread else ""
    networks = f"{len(weights)} network{'s' if len(weights) > 1 else ''}"
    tell(f"{out}: {len(table) - unread} images scored by {networks}{left_out}")
