"""`fastrad verify`: prove a dataset unchanged, or name what is damaged.

In: a `.beton` file or WebDataset shards, and perhaps the archive that they were made from. Out: one line a finding on
stdout; exit status 1 where there is one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastrad.errors import FormatError

if TYPE_CHECKING:
    from fastrad.verify import Verification

_PATH = click.Path(path_type=Path)
_SHOWN = 50


@click.command("verify")
@click.argument("file")
@click.option("--source", type=_PATH, help="The archive's folder: convert every image again and compare the pixels.")
@click.option("--table", type=_PATH, help="The archive's CSV, where it was not ROOT/labels.csv.")
@click.option("--workers", type=click.IntRange(1), help="Threads and processes. [the cores that may be used]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(file: str, source: Path | None, table: Path | None, workers: int | None, as_json: bool) -> None:
    """Read all of FILE and compare it with its card: structure, hashes, checksums, labels.

    FILE is a .beton file; the .card.json of WebDataset shards, or one of their tars; or a folder of datasets.
    """
    from fastrad.dataset.opening import datasets_in
    from fastrad.verify import read_source_again, verify

    if table is not None and source is None:
        raise click.UsageError(f"--table {table}: no source is read; it goes with --source")
    results = []
    for path in datasets_in(file):
        manifest = None if source is None else read_source_again(path, source, table)
        results.append(verify(path, manifest, workers))
        if not as_json:
            _print(results[-1], source is not None)
    if as_json:
        contents = [_content(result) for result in results]
        print(json.dumps(contents[0] if len(contents) == 1 else contents, indent=1))
    problems = sum(len(result.problems) for result in results)
    if problems:
        rows = sum(len(result.damaged_rows) for result in results)
        raise FormatError(
            f"{file}: {_count(problems, 'finding')}, {_count(rows, 'damaged row')}; copy the file again, or delete it "
            "with its card and convert again"
        )


def _print(result: Verification, with_source: bool) -> None:
    for found in result.problems[:_SHOWN]:
        print(f"{found.part}: " + (f"row {found.row}: " if found.row is not None else "") + found.reason)
    if len(result.problems) > _SHOWN:
        print(f"and {len(result.problems) - _SHOWN} more (--json lists all)")
    if not result.problems:
        parts = _count(result.tars, "shard") if result.tars else _count(result.pages, "page")
        compared = f"; {result.compared_with_source:,} compared with the source" if with_source else ""
        print(f"{result.path}: sound: {_count(result.samples, 'sample')}, {parts}{compared}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _content(result: Verification) -> dict[str, Any]:
    return {
        "path": result.path,
        "samples": result.samples,
        "pages": result.pages,
        "tars": result.tars,
        "compared_with_source": result.compared_with_source,
        "damaged_rows": result.damaged_rows,
        "problems": [{"part": found.part, "row": found.row, "reason": found.reason} for found in result.problems],
    }
