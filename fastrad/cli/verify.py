"""`fastrad verify`: prove a dataset unchanged, or name what is damaged.

In: a `.beton` file or WebDataset shards, and perhaps the archive that they were made from. Out: one line a finding on
stdout; exit status 1 where there is one, or where the archive could not be compared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastrad.errors import FormatError, InputError
from fastrad.system.terminal import tell

if TYPE_CHECKING:
    from fastrad.verify import Verification

_PATH = click.Path(path_type=Path)
_SHOWN = 50


@click.command("verify")
@click.argument("file")
@click.option("--source", type=_PATH, help="The archive's folder: convert every image again and compare the pixels.")
@click.option("--table", type=_PATH, help="The archive's CSV, or their folder, where it is not in ROOT.")
@click.option("--workers", type=click.IntRange(1, 4096), help="Threads and processes. [the cores that may be used]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(file: str, source: Path | None, table: Path | None, workers: int | None, as_json: bool) -> None:
    """Read all of FILE and compare it with its card: structure, hashes, checksums, labels.

    FILE is a .beton file; the .card.json of WebDataset shards, or one of their tars; or a folder of datasets.
    """
    from fastrad.dataset.opening import datasets_in
    from fastrad.verify import Problem, read_source_again, verify

    if table is not None and source is None:
        raise click.UsageError(f"--table {table}: no source is read; it goes with --source")
    results = []
    for path in datasets_in(file):
        manifest, failed = None, []
        if source is not None:
            try:
                manifest = read_source_again(path, source, table)
            except InputError as error:  # which says nothing about the dataset
                failed = [Problem("source", None, str(error))]
            except FormatError:  # the card, which is a finding
                pass
        found = verify(path, manifest, workers)
        results.append(replace(found, not_compared=(*failed, *found.not_compared)))
        if not as_json:
            _print(results[-1], source is not None)
    if as_json:
        contents = [_content(result) for result in results]
        print(json.dumps(contents[0] if len(contents) == 1 else contents, indent=1))
    _refuse_findings(file, source, results)


def _refuse_findings(file: str, source: Path | None, results: Sequence[Verification]) -> None:
    """One line that says whether the dataset is damaged, or differs from the archive, or could not be compared."""
    problems = [problem for result in results for problem in result.problems]
    failed = [problem for result in results for problem in result.not_compared]
    rows = _count(sum(len(result.damaged_rows) for result in results), "damaged row")
    if not all(result.is_as_written for result in results):
        raise FormatError(
            f"{file}: {_count(len(problems), 'finding')}, {rows}; copy the file again from where it is sound, or "
            "convert again into another folder"
        )
    if problems:
        raise FormatError(
            f"{file}: as it was written, but {_count(len(problems), 'finding')} where {source} gives something else; "
            "if that archive was corrected since, convert it into another folder, else look which of the two is right"
        )
    if failed:
        raise InputError(
            f"{file}: as it was written, as far as that can be told without its archive, with which it could not be "
            "compared"
        )


def _print(result: Verification, with_source: bool) -> None:
    for found in result.problems[:_SHOWN]:
        tell(f"{found.part}: " + (f"row {found.row}: " if found.row is not None else "") + found.reason)
    if len(result.problems) > _SHOWN:
        tell(f"and {len(result.problems) - _SHOWN} more (--json lists all)")
    for failed in result.not_compared[:_SHOWN]:
        tell("could not compare: " + (f"row {failed.row}: " if failed.row is not None else "") + failed.reason)
    if len(result.not_compared) > _SHOWN:
        tell(f"and {len(result.not_compared) - _SHOWN} more (--json lists all)")
    if not result.problems:
        parts = _count(result.tars, "shard") if result.tars else _count(result.pages, "page")
        compared = f"; {result.compared_with_source:,} compared with the source" if with_source else ""
        tell(f"{result.path}: sound: {_count(result.samples, 'sample')}, {parts}{compared}")


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
        "not_compared": [{"row": found.row, "reason": found.reason} for found in result.not_compared],
    }
