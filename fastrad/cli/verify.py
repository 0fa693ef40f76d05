"""`fastrad verify`: prove a dataset file unchanged, or name what is damaged.

In: a `.beton` file, and perhaps the archive that it was made from. Out: one line a finding on stdout; exit status 1
where there is one.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from fastrad.errors import FormatError

_PATH = click.Path(path_type=Path)
_SHOWN = 50


@click.command("verify")
@click.argument("file", type=_PATH)
@click.option("--source", type=_PATH, help="The archive's folder: convert every image again and compare the pixels.")
@click.option("--table", type=_PATH, help="The archive's CSV, where it was not ROOT/labels.csv.")
@click.option("--workers", type=click.IntRange(1), help="Threads and processes. [the cores that may be used]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(file: Path, source: Path | None, table: Path | None, workers: int | None, as_json: bool) -> None:
    """Read all of FILE and compare it with its card: structure, hashes, checksums, labels.

    FILE is a .beton file, or the .card.json of WebDataset shards.
    """
    from fastrad.verification import read_source_again, verify

    manifest = None if source is None else read_source_again(file, source, table)
    result = verify(file, manifest, workers)
    if as_json:
        findings = [{"part": found.part, "row": found.row, "reason": found.reason} for found in result.problems]
        content = {
            "path": str(file),
            "samples": result.samples,
            "pages": result.pages,
            "compared_with_source": result.compared_with_source,
            "damaged_rows": result.damaged_rows,
            "problems": findings,
        }
        print(json.dumps(content, indent=1))
    else:
        for found in result.problems[:_SHOWN]:
            print(f"{found.part}: " + (f"row {found.row}: " if found.row is not None else "") + found.reason)
        if len(result.problems) > _SHOWN:
            print(f"and {len(result.problems) - _SHOWN} more (--json lists all)")
    if result.problems:
        rows = result.damaged_rows
        raise FormatError(
            f"{file}: {len(result.problems)} findings, {len(rows)} damaged rows; copy the file again, or delete it "
            "with its card and convert again"
        )
    if not as_json:
        compared = f"; {result.compared_with_source:,} compared with the source" if manifest is not None else ""
        print(f"{file}: sound: {result.samples:,} samples, {result.pages:,} pages{compared}")
