#!/usr/bin/env python3
"""Run small inputs made after public bug reports, and say of each picture: right, refused, or wrong.

In: a folder of scripts; `python NAME.py IN` writes an input: pictures, `labels.csv` or class folders, and
`expected.npy`, one right picture (uint8, gray) a row of labels.csv. Each is converted at 64 x 64 and compared with its
expected picture after the same fit. Out: a table, and with each refusal its line. Exit status 1 if any is wrong.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from fastrad.dataset.opening import open_dataset
from fastrad.imaging import fit

SIZE = 64
TOLERANCE = 1  # gray levels
# Of a picture's pixels, how many may differ where lines between two original ones were filled in.
RESAMPLED = 0.05


class Outcome(NamedTuple):
    """What became of one picture; `outcome` is "right", "refused" or "wrong"."""

    picture: str
    outcome: str
    detail: str


def run(script: Path, folder: Path) -> list[Outcome]:
    """Write a script's input, convert it, and compare."""
    source, out = folder / "in", folder / "out"
    subprocess.run([sys.executable, script.resolve(), source], check=True, capture_output=True)
    table = source / "labels.csv"
    if not (source / "expected.npy").is_file():
        return []
    expected = np.load(source / "expected.npy")
    expected = expected[None] if expected.ndim == 2 else expected  # of one picture
    with open(table, newline="", encoding="utf-8") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    layout = ["--layout", "table", "--size", str(SIZE), "--keep-patient-ids", "--workers", "1"]
    command = [sys.executable, "-m", "fastrad", "convert", "thyroid", str(source), str(out), *layout]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stderr.strip().splitlines()
    leak = [line for line in (done.stdout + done.stderr).splitlines() if "site-packages" in line]
    if done.returncode != 0:
        line = said[-1] if said else f"exit {done.returncode}"
        clear = done.returncode == 1 and len(said) >= 1 and "Traceback" not in done.stderr and not leak
        return [Outcome(name, "refused" if clear else "wrong", line) for name in names]
    stored, reasons, resampled = read(out)
    outcomes = []
    for number, name in enumerate(names):
        if number in reasons:
            outcomes.append(Outcome(name, "refused", reasons[number]))
        elif number in stored:
            outcomes.append(compared(name, stored[number], fit(expected[number], SIZE)[0], resampled))
        else:
            outcomes.append(Outcome(name, "wrong", "is neither stored nor listed with a reason"))
    if leak:
        outcomes.append(Outcome("(output)", "wrong", leak[0]))
    return outcomes


def read(out: Path) -> tuple[dict[int, np.ndarray], dict[int, str], bool]:
    """Stored pictures and reasons of quarantined ones, by row of the table; and whether pixels were made square."""
    resampled = False
    stored: dict[int, np.ndarray] = {}
    reasons: dict[int, str] = {}
    for card_path in sorted(out.glob("*.card.json")):
        card = json.loads(card_path.read_text())
        for entry in card.get("quarantined", []):
            reasons[int(entry["row"])] = str(entry["reason"])
        resampled |= bool(card.get("made_square"))
    for path in sorted(out.glob("*.beton")):
        found = open_dataset(path)
        for position, row in enumerate(found.rows):
            stored[int(row)] = found.decode(position)
    return stored, reasons, resampled


def compared(name: str, stored: np.ndarray, expected: np.ndarray, resampled: bool) -> Outcome:
    apart = np.abs(stored.astype(int) - expected.astype(int))
    beyond = float((apart > TOLERANCE).mean())
    if beyond == 0:
        return Outcome(name, "right", f"within {int(apart.max())}")
    if resampled and beyond <= RESAMPLED:
        return Outcome(name, "right", f"within {TOLERANCE} but for {beyond:.1%} of its pixels, at edges (made square)")
    return Outcome(name, "wrong", f"{beyond:.0%} of its pixels differ, by up to {int(apart.max())}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--only", default="*", help="Run the scripts that match this pattern.")
def main(folder: Path, only: str) -> None:
    """Run every NAME.py in FOLDER and print what became of its pictures."""
    counts = {"right": 0, "refused": 0, "wrong": 0}
    for script in sorted(folder.glob(f"{only}.py")):
        with tempfile.TemporaryDirectory() as scratch:
            outcomes = run(script, Path(scratch))
        if not outcomes:
            print(f"{script.stem:28} no expected picture; see the head of the script")
        for picture, outcome, detail in outcomes:
            counts[outcome] += 1
            print(f"{script.stem:28} {picture:22} {outcome:8} {detail}")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    sys.exit(1 if counts["wrong"] else 0)


if __name__ == "__main__":
    main()
