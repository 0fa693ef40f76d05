"""The study from start to end: plan, networks, predictions, numbers, report.

What it leaves in its folder: `splits.csv`, `runs/` (one folder a network), `predictions.csv`, `study.json`, tables,
figures and the page. Finished networks are kept: an interrupted study goes on where it stopped, and a finished one is
only evaluated again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd

from fastrad.study.inference.confident_errors import confident_errors
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.networks.external import external_file, score_external
from fastrad.study.networks.grad_cam import explain
from fastrad.study.networks.runs import check_finished, gather, tune
from fastrad.study.predictions import refuse_contradictions, refuse_other_labels
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.ledger import enter
from fastrad.study.protocol.plan import Plan, make_plan
from fastrad.study.protocol.record import study_record, study_scoring
from fastrad.study.report.error_pictures import Explained, write_errors
from fastrad.study.report.page import write_report
from fastrad.system.devices import choose_device
from fastrad.system.files import write_atomically
from fastrad.system.progress import say


def compare(config: CompareConfig) -> Path:
    """Run the study, or what is left of it, and write its report.

    Returns
    -------
    Path
        The study's folder.

    Raises
    ------
    InputError
        If dataset, weights, splits or options cannot be used, or the folder holds a study with other settings.
    """
    plan = make_plan(config)
    device = choose_device(config.device)
    for notice in plan.notices:
        say(f"notice: {notice}")

    out, runs = config.out, config.out / "runs"
    everything = [*plan.networks, *plan.limited]
    check_finished(everything, plan.protocol, runs)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "splits.csv", plan.protocol.splits.to_csv().encode())
    _remove_what_is_not_asked_for(plan, out)
    try:
        tune(everything, plan.protocol, runs, device)
    finally:  # stopped in between, it has scored test patients too
        if any((runs / network.name).is_dir() for network in everything):
            enter(out, study_scoring(plan, plan.protocol.dataset))

    networks = sorted(plan.networks, key=lambda network: plan.arms.index(network.arm))
    predictions = gather(networks, runs)
    refuse_contradictions(predictions, runs)
    refuse_other_labels(predictions, plan.protocol.dataset, plan.protocol.splits, runs)
    scores = _write_csv(predictions, out / "predictions.csv")
    external_files = [external_file(external, scores) for external in plan.externals]
    for external, file in zip(plan.externals, external_files, strict=True):
        score_external(networks, runs, external, out / "external" / file, device)
        enter(out, study_scoring(plan, external))
    if plan.attributes is not None:
        write_atomically(out / "subgroups.csv", plan.attributes.to_csv(index_label="patient").encode())
    if plan.limited:
        _write_csv(_learning_curve(config, plan, predictions), out / "learning_curve.csv")
    record = study_record(plan, config, external_files)
    write_atomically(out / "study.json", (json.dumps(record, indent=1) + "\n").encode())

    write_errors(out, _explained_errors(plan, predictions, runs))
    write_report(out)
    return out


def _remove_what_is_not_asked_for(plan: Plan, out: Path) -> None:
    """Tables of an earlier study in this folder: the report would show them."""
    if not plan.limited:
        (out / "learning_curve.csv").unlink(missing_ok=True)
    if plan.attributes is None:
        (out / "subgroups.csv").unlink(missing_ok=True)


def _write_csv(table: pd.DataFrame, path: Path) -> bytes:
    content = table.to_csv(index=False).encode()
    write_atomically(path, content)
    return content


def _learning_curve(config: CompareConfig, plan: Plan, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of the first seed, whole and limited, with the column `patients`."""
    splits = plan.protocol.splits
    everyone = min(int(splits.training(fold).sum()) for fold in range(splits.folds))
    parts = [predictions[predictions["seed"] == config.seed].assign(patients=everyone)]
    for network in plan.limited:
        parts.append(gather([network], config.out / "runs").assign(patients=network.patients))
    return pd.concat(parts, ignore_index=True)


def _explained_errors(plan: Plan, predictions: pd.DataFrame, runs: Path) -> Iterator[Explained]:
    """Each arm's most confident errors, with what its networks of the first seed looked at."""
    dataset, first_seed = plan.protocol.dataset, plan.networks[0].seed
    found = confident_errors(evaluate(predictions), predictions)
    for arm, group in groupby(found, key=lambda error: error.arm):
        errors = list(group)
        weights = [
            runs / network.name / "weights.safetensors"
            for network in plan.networks
            if network.arm.name == arm and network.seed == first_seed
        ]
        answers = [-1 if error.label else 1 for error in errors]  # the wrong ones
        rows = [error.row for error in errors]
        yield errors, *explain(weights, dataset, rows, answers, plan.protocol.tuning.size)
