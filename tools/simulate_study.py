#!/usr/bin/env python3
"""Simulate studies whose truth is known, and count what `evaluate` says of them: coverage, and "shown" without a cause.

    python tools/simulate_study.py --draws 1000 --out benchmarks/results/study_simulation.json
    python tools/simulate_study.py --draws 200 --cells 3,5 --bootstrap 400

Each cell is drawn in blocks until it has so many draws, and each block is put with what the file holds, so that a run
that was stopped goes on. Another version of the statistics needs another file.

Scores are binormal. A test patient's score by a network is the sum of what all networks see in the patient, what those
of one arm see, and the network's own noise (shares 0.5, 0.2 and 0.3 of the variance, so that scores correlate by 0.7
within an arm and 0.5 between arms), and a shift by class that gives the network its true AUROC. That is the arm's, plus
a deviation of the fold that the arm's seeds share (SD `fold_sd`: other training patients suit another arm), plus one of
the network's own (SD `seed_sd`); weights files of an arm may differ too. Each draw goes through `evaluate` as a table
of predictions: two arms, five folds.

What the simulation leaves out: folds whose training patients overlap, and scores that are not normal.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
from scipy.special import ndtri

import fastrad
from fastrad.study.inference.evaluation import StudyResult, evaluate
from fastrad.system.files import write_json

FOLDS = 5
VALIDATION = 12  # patients of a fold: they give thresholds, which are not counted here
SHARES = (0.5, 0.2, 0.3)  # of the variance: all networks, an arm's networks, one network


class Cell(NamedTuple):
    """A design with its truth; `starts` are weights files of the second arm, whose AUROCs differ by SD `start_sd`."""

    malignant: int
    benign: int
    seeds: int
    aurocs: tuple[float, float]
    seed_sd: float
    fold_sd: float
    starts: int = 1
    start_sd: float = 0.0


CELLS = (
    Cell(15, 15, 2, (0.80, 0.80), 0.00, 0.00),
    Cell(15, 35, 3, (0.80, 0.80), 0.02, 0.02),
    Cell(44, 101, 3, (0.80, 0.80), 0.00, 0.00),
    Cell(44, 101, 2, (0.80, 0.80), 0.04, 0.04),
    Cell(44, 101, 3, (0.80, 0.80), 0.04, 0.00),
    Cell(44, 101, 3, (0.80, 0.80), 0.04, 0.04),
    Cell(44, 101, 5, (0.80, 0.80), 0.02, 0.04),
    Cell(44, 101, 10, (0.80, 0.80), 0.04, 0.04),
    Cell(250, 250, 3, (0.80, 0.80), 0.04, 0.04),
    Cell(250, 250, 10, (0.80, 0.80), 0.02, 0.04),
    Cell(44, 101, 3, (0.80, 0.84), 0.02, 0.02),
    Cell(250, 250, 5, (0.80, 0.84), 0.04, 0.02),
    Cell(44, 101, 3, (0.80, 0.80), 0.02, 0.02, starts=4, start_sd=0.03),
    Cell(44, 101, 3, (0.80, 0.80), 0.02, 0.02, starts=1, start_sd=0.03),
    Cell(44, 101, 3, (0.97, 0.97), 0.01, 0.01),
)


def predictions(cell: Cell, rng: np.random.Generator) -> pd.DataFrame:
    """One study's predictions."""
    label = np.repeat([1, 0], [cell.malignant, cell.benign])
    validation = np.arange(VALIDATION) % 2
    common = rng.normal(0, math.sqrt(SHARES[0]), label.size)
    names = np.array([f"t{index:03d}" for index in range(label.size)])
    parts = []
    for arm, auroc, starts in zip(("none", "imagenet"), cell.aurocs, (1, cell.starts), strict=True):
        of_arm = common + rng.normal(0, math.sqrt(SHARES[1]), label.size)
        of_folds = rng.normal(0, cell.fold_sd, FOLDS)
        for start in range(starts):
            own = rng.normal(0, cell.start_sd) if cell.start_sd and arm == "imagenet" else 0.0
            true = auroc + own + of_folds + rng.normal(0, cell.seed_sd, (cell.seeds, FOLDS))
            shift = math.sqrt(2) * ndtri(np.clip(true, 0.501, 0.995))
            for seed, fold in itertools.product(range(cell.seeds), range(FOLDS)):
                score = of_arm + rng.normal(0, math.sqrt(SHARES[2]), label.size) + shift[seed, fold] * label
                known = rng.normal(size=VALIDATION) + shift[seed, fold] * validation
                parts.append((arm, start, seed, fold, score, known))
    networks = len(parts)
    size = label.size + VALIDATION
    fold_of = np.array([fold for _, _, _, fold, _, _ in parts])
    row = np.tile(np.concatenate((np.arange(label.size), 1000 + np.arange(VALIDATION))), networks).reshape(
        networks, size
    )
    row[:, label.size :] += 100 * fold_of[:, None]
    of_fold = np.array([[f"v{fold}-{index}" for index in range(VALIDATION)] for fold in range(FOLDS)])
    return pd.DataFrame(
        {
            "arm": np.repeat([arm for arm, *_ in parts], size),
            "seed": np.repeat([seed for _, _, seed, *_ in parts], size),
            "fold": np.repeat(fold_of, size),
            "set": np.tile(np.repeat(["test", "val"], [label.size, VALIDATION]), networks),
            "patient": np.concatenate([np.concatenate((names, of_fold[fold])) for fold in fold_of]),
            "row": row.ravel(),
            "label": np.tile(np.concatenate((label, validation)), networks),
            "score": np.concatenate([part for *_, score, known in parts for part in (score, known)]),
            "start": np.repeat([start for _, start, *_ in parts], size),
        }
    )


def counted(cell: Cell, result: StudyResult) -> dict[str, float]:
    """What one draw says, against its truth."""
    (found,) = result.differences
    network = found.network
    assert network.networks is not None
    assert network.folds is not None
    truth = cell.aurocs[1] - cell.aurocs[0]
    intervals = {"networks": network.networks.interval, "folds": network.folds.interval, "ensembles": found.interval}
    if not math.isnan(network.bootstrap.low):
        intervals["bootstrap"] = network.bootstrap
    counts = {f"{name}_covers": float(low <= truth <= high) for name, (low, high) in intervals.items()}
    counts |= {f"{name}_excludes_zero": float(low > 0 or high < 0) for name, (low, high) in intervals.items()}
    arms = [arm.networks.interval for arm in result.arms]
    covers = [low <= auroc <= high for (low, high), auroc in zip(arms, cell.aurocs, strict=True)]
    counts["arms_cover"] = float(np.mean(covers))
    both = network.networks.interval, network.folds.interval
    counts["shown"] = float(found.shown)
    counts["difference"] = network.difference
    counts["standard_error"] = network.networks.standard_error
    counts["widest_covers"] = float(min(each.low for each in both) <= truth <= max(each.high for each in both))
    counts["quoted_covers"] = float(network.interval.low <= truth <= network.interval.high)
    return counts


def simulate(cell: Cell, draws: int, bootstrap: int, seed: int, done: int = 0) -> dict:
    """Means over draws; a cell that has `done` already goes on with others."""
    rng = np.random.default_rng([seed, CELLS.index(cell), *([done] if done else [])])
    started = time.perf_counter()
    lines = pd.DataFrame([counted(cell, evaluate(predictions(cell, rng), resamples=bootstrap)) for _ in range(draws)])
    rates = {name: round(float(value), 6) for name, value in lines.mean().items()}
    seconds = round(time.perf_counter() - started, 1)
    spread = round(float(lines["difference"].std(ddof=1)), 4)
    return {
        **cell._asdict(),
        "draws": draws,
        "resamples": bootstrap,
        "sd_of_difference": spread,
        **rates,
        "seconds": seconds,
    }


def pooled(one: dict, other: dict) -> dict:
    """Two runs of one cell as one: means weighted by draws, the spread about the common mean.

    What only one of them counted is left out: its rate would be one of fewer draws than the line says.
    """
    draws = one["draws"] + other["draws"]

    def mean(name: str) -> float:
        return (one["draws"] * one[name] + other["draws"] * other[name]) / draws

    squares = sum(
        (run["draws"] - 1) * run["sd_of_difference"] ** 2 + run["draws"] * (run["difference"] - mean("difference")) ** 2
        for run in (one, other)
    )
    same = {*Cell._fields, "draws", "resamples", "sd_of_difference", "seconds"}
    rates = {name: round(mean(name), 6) for name in one if name in other and name not in same}
    return {
        **{name: one[name] for name in Cell._fields},
        "draws": draws,
        "resamples": one["resamples"],
        "sd_of_difference": round(math.sqrt(squares / (draws - 1)), 4),
        **rates,
        "seconds": round(one["seconds"] + other["seconds"], 1),
    }


def table(cells: dict[str, dict]) -> str:
    """The cells as a Markdown table, in percent: what each interval covers, and how often a difference is shown."""
    head = "cell | malignant + benign | seeds | AUROCs | SD by seed, by fold | draws | networks | folds | bootstrap | "
    head += "ensembles | quoted | one arm | shown"
    lines = [f"| {head} |", "|" + " --- |" * (head.count("|") + 1)]
    for number, cell in cells.items():
        files = ""
        if cell.get("start_sd"):
            files = f"; {cell['starts']} file{'s' if cell['starts'] > 1 else ''}, SD {cell['start_sd']:g}"
        covers = [cell.get(f"{name}_covers") for name in ("networks", "folds", "bootstrap", "ensembles", "quoted")]
        cells_of_line = [
            number,
            f"{cell['malignant']} + {cell['benign']}",
            str(cell["seeds"]),
            " / ".join(f"{auroc:g}" for auroc in cell["aurocs"]),
            f"{cell['seed_sd']:g}, {cell['fold_sd']:g}{files}",
            f"{cell['draws']:,}",
            *("" if rate is None else f"{100 * rate:.1f}" for rate in (*covers, cell.get("arms_cover"), cell["shown"])),
        ]
        lines.append("| " + " | ".join(cells_of_line) + " |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--draws", default=1000, show_default=True, help="Studies a cell, those in --out among them.")
@click.option("--block", default=100, show_default=True, help="Studies between two writings of --out.")
@click.option("--bootstrap", default=500, show_default=True, help="Resamples a study.")
@click.option("--cells", default="", help="Numbers of cells, from 1, for example 3,5; all by default.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file, which a run goes on with.")
@click.option("--table", "only_table", is_flag=True, help="Simulate nothing: print the table of --out, for the guide.")
def main(draws: int, block: int, bootstrap: int, cells: str, seed: int, out: Path | None, only_table: bool) -> None:
    if only_table and out is not None:
        click.echo(table(json.loads(out.read_text())["cells"]))
        return
    numbers = [int(word) for word in cells.split(",")] if cells else list(range(1, len(CELLS) + 1))
    content = json.loads(out.read_text()) if out and out.is_file() else {}
    if content and (content["seed"], content["fastrad"]) != (seed, fastrad.__version__):
        raise click.UsageError(f"{out}: was drawn with seed {content['seed']} by fastrad {content['fastrad']}")
    kept = content.get("cells", {})
    for number in numbers:
        cell = CELLS[number - 1]
        found = kept.get(str(number))
        design = [*json.loads(json.dumps(cell)), bootstrap]
        if found and [found.get(name) for name in (*Cell._fields, "resamples")] != design:
            found = None  # drawn anew
        while (done := found["draws"] if found else 0) < draws:
            more = simulate(cell, min(block, draws - done), bootstrap, seed, done)
            kept[str(number)] = found = pooled(found, more) if found else more
            if out:
                content = {
                    "command": "python tools/simulate_study.py",
                    "fastrad": fastrad.__version__,
                    "python": platform.python_version(),
                    "cores": os.cpu_count(),
                    "seed": seed,
                    "cells": {name: kept[name] for name in sorted(kept, key=int)},
                }
                write_json(out, content)
        click.echo(f"cell {number}: {json.dumps(found)}")


if __name__ == "__main__":
    main()
