#!/usr/bin/env python3
"""Say whether two pretraining runs gave the same numbers: for changes that should not alter results.

In: two run folders of `fastrad pretrain`. Out: the settings that differ, the first epoch and column in which their
metrics part, and how far their best weights are apart. Exit status 0 if metrics and weights are equal bit for bit,
1 if not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pandas as pd
from safetensors.numpy import load_file

from fastrad.errors import FastradError
from fastrad.train.config import changed_settings
from fastrad.train.run_folder import RunFolder

TIMING = ("images_per_second", "seconds", "loader_wait")


def compare(first: RunFolder, second: RunFolder) -> tuple[list[str], bool]:
    """Lines for the reader, and whether metrics and weights are equal."""
    lines = [
        f"setting: {line}"
        for line in changed_settings(first.read_config()["settings"], second.read_config()["settings"])
    ]
    # as text: what was written for one float differs from what was written for another
    tables = (pd.read_csv(run.metrics, dtype=str, keep_default_na=False) for run in (first, second))
    a, b = (table.drop(columns=list(TIMING)) for table in tables)
    equal = len(a) == len(b)
    if not equal:
        lines.append(f"metrics: {len(a)} epochs against {len(b)}")
    for epoch in range(min(len(a), len(b))):
        apart = [column for column in a.columns if a.at[epoch, column] != b.at[epoch, column]]
        if apart:
            values = ", ".join(f"{column} {a.at[epoch, column]} against {b.at[epoch, column]}" for column in apart)
            lines.append(f"metrics: part in epoch {epoch + 1}: {values}")
            equal = False
            break
    x, y = load_file(first.weights), load_file(second.weights)
    if {k: v.shape for k, v in x.items()} != {k: v.shape for k, v in y.items()}:
        return [*lines, "weights: of different networks"], False
    distance = {name: float(abs(x[name].astype("f8") - y[name].astype("f8")).max()) for name in x}
    worst = max(distance, key=lambda name: distance[name])
    if any(x[name].tobytes() != y[name].tobytes() for name in x):
        lines.append(f"weights: differ by up to {distance[worst]:.3g}, most in {worst}")
        equal = False
    return lines, equal


@click.command(help=__doc__)
@click.argument("first", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("second", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(first: Path, second: Path) -> None:
    try:
        lines, equal = compare(RunFolder(first), RunFolder(second))
    except (FastradError, OSError) as error:
        raise click.ClickException(str(error)) from None
    for line in lines:
        click.echo(line)
    click.echo("metrics and weights are equal bit for bit" if equal else "the runs differ")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
