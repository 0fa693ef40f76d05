"""`fastrad evaluate`: a pretrained network on a dataset.

In: weights of `fastrad pretrain` and a dataset file. Out: metrics with intervals on stdout; a folder with --out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from fastrad.cli.options import given, options_of
from fastrad.train.config import EvaluateConfig

_WORST = 10
_NAMES = {
    "macro_auroc": "macro AUROC",
    "micro_auroc": "micro AUROC",
    "top1": "top-1",
    "top5": "top-5",
    "balanced_accuracy": "balanced accuracy",
    "loss": "cross-entropy, nats",
}


@click.command("evaluate")
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("file")
@options_of(EvaluateConfig)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(weights: Path, file: str, as_json: bool, **words: Any) -> None:
    """Test WEIGHTS of `fastrad pretrain` on FILE, a dataset with the same classes that they have not seen."""
    from fastrad.train.evaluate import evaluate

    result = evaluate(weights, file, EvaluateConfig(**given(EvaluateConfig, words)))
    record = result.record()
    if as_json:
        print(json.dumps(record, indent=1))
        return
    for notice in result.notices:
        print(f"note: {notice}", file=sys.stderr)
    drawn = f"; 95 % intervals over {result.resampled}" if result.intervals else ""
    print(f"{file}: {len(result.rows):,} images of {sum(map(bool, result.counts))} classes{drawn}")
    for name, label in _NAMES.items():
        print(f"  {label:<20} {_with_interval(record['metrics'][name]['value'], record['metrics'][name]['interval'])}")
    known = [(each["auroc"], name, each) for name, each in record["classes"].items() if each["auroc"] is not None]
    print("lowest AUROC, one against rest:" if len(known) > _WORST else "AUROC, one against rest:")
    for auroc, name, each in sorted(known, key=lambda item: item[0])[:_WORST]:
        recall = f"recall {each['recall']:.3f} of {each['samples']}"
        print(f"  {name:<20.40} {_with_interval(auroc, each['interval'])}, {recall}")
    if words.get("out"):
        print(f"{words['out']}: evaluation.json, classes.png, logits.csv")


def _with_interval(value: float | None, interval: list[float | None] | None) -> str:
    if value is None:
        return "not defined here"
    if interval is None or None in interval:
        return f"{value:.4f}"
    return f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"
