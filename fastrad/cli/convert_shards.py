"""`fastrad convert shards`: WebDataset shards into betons, without the archive."""

from __future__ import annotations

from typing import Any

import click

from fastrad.cli.convert import carry_out, conversion_parameters
from fastrad.cli.options import given
from fastrad.convert.run import ConvertOptions, read_shards
from fastrad.errors import OptionError


def _convert_shards(shard_dir: str, out_dir: str, **words: Any) -> None:
    options = ConvertOptions(**given(ConvertOptions, words))
    shards = read_shards(shard_dir)
    encodes = options.encode == "jpeg" and all(split.encoding != "jpeg" for split in shards)
    if words["quality"] is not None and not encodes:
        raise OptionError(
            f"--quality {options.quality}: nothing is encoded anew; it goes with shards of PNG and --encode jpeg"
        )
    carry_out(shards, out_dir, options, words)


command = click.Command(
    "shards",
    params=[
        click.Argument(["shard_dir"]),
        click.Argument(["out_dir"]),
        *conversion_parameters("encode", "quality", "workers", "scheduler"),
    ],
    callback=_convert_shards,
    help="""WebDataset shards in SHARD_DIR (a folder or URL) into betons in OUT_DIR.

    The archive is not needed: size, fit, labels, patients and rows are those of the shards. PNG become the beton that
    the archive would become; with --encode jpeg, JPEG are taken as they are.
    """,
)
