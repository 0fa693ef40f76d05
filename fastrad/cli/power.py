"""`fastrad power`: the patients and networks that a difference between two arms needs to be found."""

from __future__ import annotations

import json
from typing import Any

import click

from fastrad.cli.options import given, options_of
from fastrad.study.inference.power import PowerQuestion


@click.command("power")
@options_of(PowerQuestion)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool, **words: Any) -> None:
    """How many test patients, and networks, a difference in AUROC needs to be found.

    From stated variances, or with --study from those of a finished study. The correlation is that of two arms' scores
    among patients of one class; a study's report prints it. It is the power of the test with networks as readers: that
    folds and bootstrap must agree too takes more.
    """
    from fastrad.study.inference.evaluation import evaluate
    from fastrad.study.inference.power import answer

    question = PowerQuestion(**given(PowerQuestion, words))
    result = None
    if question.study is not None:
        from fastrad.study.report.folder import read_folder

        result = evaluate(read_folder(question.study).predictions, resamples=0)
    found = answer(question, result)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print(
        f"Test patients needed to find a difference of {question.difference:g} in AUROC with "
        f"{question.power * 100:g} % power (two-sided test at 5 %)"
    )
    if question.study is None:
        other = question.auroc + question.difference
        print(
            f"{question.auroc:.2f} against {other:.2f}, {question.malignant * 100:g} % malignant, binormal scores; "
            f"networks of an arm differ by SD {question.network_sd:g} in AUROC"
        )
    for row in found["rows"]:
        if question.study is None:
            name = f"r {row['score_correlation']:g} (of the AUROCs {row['auroc_correlation']:.2f})"
        else:
            name = (
                f"{' - '.join(row['pair'])}: r {row['score_correlation']:.2f} (of the AUROCs "
                f"{row['auroc_correlation']:.2f}), SE {row['standard_error']:.3f} with {row['patients']} patients and "
                f"{row['networks']} networks an arm"
            )
        if not row.get("patients_vary", True):
            print(
                f"{name}: no number of patients follows, the part of the variance that they share came out at zero or "
                "below; ask with stated variances, without --study"
            )
            continue
        if question.study is None and question.network_sd == 0:
            print(f"{name}: {row['needed'][0]['patients']:,} patients")
            continue
        print(f"{name}:")
        for each in row["needed"]:
            enough = "no number is enough" if each["patients"] is None else f"{each['patients']:,} patients"
            print(f"  {each['networks']} networks an arm: {enough}")
    print("With networks as readers alone: that folds and bootstrap must agree before one is shown takes more.")
