#!/usr/bin/env python3
"""Is another version of fastrad slower? Loading, conversion and training of two source trees, side by side.

In: the folders of two checkouts, OLD and NEW. Each round runs OLD, NEW and OLD again, in fresh processes, in an order
that turns with the round; the second OLD says how far two runs of one version part on this machine. Out: a table of the
median ratios, and a JSON file with every figure. Exit status 1 where NEW is slower than OLD by more than OLD parts from
itself.

    python benchmarks/versions.py ../before . --rounds 5 --out benchmarks/results/versions.json
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from provenance import processor

PART = Path(__file__).with_name("versions_part.py")


def measure(tree: Path, data: Path) -> dict[str, float]:
    """Figures of one version, all of them rates: higher is better."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, str(PART), str(data)]
    done = subprocess.run(words, env=environment, cwd=data, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{tree}: {done.stderr.strip().splitlines()[-1:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if not found.pop("package").startswith(str(tree.resolve())):
        raise click.ClickException(f"{tree}: another fastrad was imported")
    return found


def median_ratio(rounds: list[dict[str, dict[str, float]]], upper: str, lower: str, name: str) -> float:
    """The median over the rounds of one version's rate over another's."""
    return statistics.median(found[upper][name] / found[lower][name] for found in rounds)


def compared(rounds: list[dict[str, dict[str, float]]]) -> dict[str, tuple[float, float, float]]:
    """Of each figure: OLD's median rate, the median of NEW over OLD, the largest difference of OLD from itself."""
    return {
        name: (
            statistics.median(found["old"][name] for found in rounds),
            median_ratio(rounds, "new", "old", name),
            max(abs(found["old again"][name] / found["old"][name] - 1) for found in rounds),
        )
        for name in rounds[0]["old"]
    }


def table(rounds: list[dict[str, dict[str, float]]]) -> str:
    """What was found, as Markdown."""
    lines = ["| figure | old, per s | new / old, median | largest difference of old from itself |"]
    lines.append("|---|---|---|---|")
    for name, (rate, ratio, noise) in compared(rounds).items():
        lines.append(f"| {name} | {rate:,.0f} | {ratio:.3f} | {noise:.3f} |")
    return "\n".join(lines)


@click.command()
@click.argument("old", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON with every figure.")
def main(old: Path, new: Path, rounds: int, out: Path | None) -> None:
    """Compare the speed of two checkouts."""
    labels = {"old": old.resolve(), "new": new.resolve(), "old again": old.resolve()}
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        measure(labels["old"], Path(folder))  # makes the images, fills the caches of compiled code
        measure(labels["new"], Path(folder))
        for number in range(rounds):
            order = [*labels][number % 3 :] + [*labels][: number % 3]
            measured.append({label: measure(labels[label], Path(folder)) for label in order})
            click.echo(f"round {number + 1} of {rounds} done", err=True)
    print(table(measured))
    if out is not None:
        record = {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version(), "rounds": measured}
        out.write_text(json.dumps(record, indent=1) + "\n")
    if slower := [name for name, (_, ratio, noise) in compared(measured).items() if ratio < 1 - noise]:
        raise click.ClickException(f"slower than the noise: {', '.join(slower)}")


if __name__ == "__main__":
    main()
