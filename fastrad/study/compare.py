"""The study from start to end: plan, networks, predictions, numbers, report.

What it leaves in its folder: `splits.csv`, `runs/` (one folder a network), `predictions.csv`, `study.json`, tables,
figures and the page. Finished networks are kept: an interrupted study goes on where it stopped, and a finished one is
only evaluated again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch

from fastrad.errors import InputError
from fastrad.study.inference.confident_errors import confident_errors
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.networks.duration import announcement
from fastrad.study.networks.external import external_file, score_external
from fastrad.study.networks.grad_cam import explain
from fastrad.study.networks.jobs import tune_in_jobs
from fastrad.study.networks.runs import check_finished, gather, is_open, pieces_of, settings_digest
from fastrad.study.networks.unlock import open_test, validation_lines
from fastrad.study.predictions import learning_curve_table, refuse_contradictions, refuse_other_labels
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.ledger import enter, scorings_of
from fastrad.study.protocol.plan import Plan, make_plan
from fastrad.study.protocol.planned import DEVELOPMENT, check_plan, close_test, opened, planned, write_plan
from fastrad.study.protocol.record import study_record, study_scoring
from fastrad.study.report.error_pictures import Explained, write_errors
from fastrad.study.report.page import write_report
from fastrad.system.csv_file import csv_text
from fastrad.system.devices import choose_device
from fastrad.system.files import write_atomically, write_json
from fastrad.system.locks import locked, shared
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
    carry_on(config)
    return config.out


def carry_on(config: CompareConfig) -> bool:
    """Do what the options say of a study; True where its report was written.

    Several processes may do so in one folder at a time: each network is tuned by one of them, and each of them ends
    with the report but those that do a part only (`--only`), of which the last does.
    """
    plan = make_plan(config)
    device = choose_device(config.device)
    for notice in plan.notices:
        say(f"notice: {notice}")

    out, runs = config.out, config.out / "runs"
    everything = plan.everything
    finished = check_finished(everything, plan.protocol, runs)
    intended = planned(plan, config)
    if config.plan:
        out.mkdir(parents=True, exist_ok=True)
        say(write_plan(out, intended, scored=_is_scored(config, plan, finished)))
        return False
    check_plan(out, intended)
    _refuse_a_closed_test_set(config, plan, finished)
    out.mkdir(parents=True, exist_ok=True)
    with shared(out / ".at-work", settings_digest(everything, plan.protocol)) as agreed:
        if not agreed:
            raise InputError(
                f"{out}: another fastrad compare is at work there with other settings; wait for it, or give another "
                "--out"
            )
        write_atomically(out / "splits.csv", plan.protocol.splits.file_content())
        if config.development_only:
            close_test(out, any(finished))
        if not all(finished):
            say(_ahead(plan, runs, device))
        _tune(config, plan, device)
        left = check_finished(everything, plan.protocol, runs).count(False)
        if left:
            number, of = config.only
            say(
                f"part {number} of {of} is done; {left} of {len(everything)} networks are not there yet: the part that "
                "ends last writes the report, as the same command without --only does"
            )
            return False
        if config.development_only:
            for line in validation_lines(plan.networks, runs):
                say(line)
            say(f"{out}: no test patient was scored; the same command with --unlock-test instead does that, once")
            return False
        with locked(out / ".report"):
            if opened(out) is not None:
                try:
                    open_test(everything, plan.protocol, out, runs, device)
                finally:  # stopped in between, it has scored test patients too
                    enter(out, study_scoring(plan, plan.protocol.dataset))
            _report(config, plan, device)
    return True


def _ahead(plan: Plan, runs: Path, device: torch.device) -> str:
    """How much there is to do, and how long that takes here at most."""
    left = [piece for piece in pieces_of(plan.everything, plan.protocol, runs, device) if not piece.finished]
    networks = sum(piece.place.parent == runs for piece in left)
    trials = f" after {len(left) - networks} trials of the search" if len(left) > networks else ""
    images = sum(piece.cost for piece in left)
    return announcement(f"{networks} networks to tune{trials}", images, plan.protocol.tuning, device)


def _tune(config: CompareConfig, plan: Plan, device: torch.device) -> None:
    """Tune what is left, and enter into the ledger that test patients were scored, also where it is stopped."""
    everything, runs = plan.everything, config.out / "runs"
    alone = config.only == (1, 1)
    try:
        tune_in_jobs(
            everything,
            plan.protocol,
            runs,
            _devices(config, device),
            jobs=config.jobs,
            part=config.only,
            wait_for_others=alone,
        )
    finally:  # stopped in between, it has scored test patients too
        if opened(config.out) != "" and any((runs / network.name).is_dir() for network in everything):
            with locked(config.out / ".report"):
                enter(config.out, study_scoring(plan, plan.protocol.dataset))


def _is_scored(config: CompareConfig, plan: Plan, finished: list[bool]) -> bool:
    """Whether test patients have been scored, by this folder or by what the ledgers know of other ones."""
    done = [network for network, there in zip(plan.everything, finished, strict=True) if there]
    return (
        bool(opened(config.out))
        or any(is_open(config.out / "runs" / network.name) for network in done)
        or bool(scorings_of(config.out, study_scoring(plan, plan.protocol.dataset)))
    )


def _refuse_a_closed_test_set(config: CompareConfig, plan: Plan, finished: list[bool]) -> None:
    """Only `--unlock-test` opens the test set of a study that was begun without; and it opens it once."""
    state = opened(config.out)
    done = [network for network, there in zip(plan.everything, finished, strict=True) if there]
    if state is None and not all(is_open(config.out / "runs" / network.name) for network in done):
        raise InputError(
            f"{config.out / DEVELOPMENT}: is missing, and networks here were tuned with --development-only; put the "
            "file back as it was, or give the study another --out"
        )
    if state == "" and not (config.development_only or config.unlock_test):
        raise InputError(
            f"{config.out}: its test set is closed (--development-only); give --unlock-test to score it, once"
        )
    if config.unlock_test and state is None:
        raise InputError(f"{config.out}: has no study that was begun with --development-only: nothing is locked")
    if config.unlock_test and not all(finished):
        raise InputError(
            f"{config.out}: {finished.count(False)} of {len(finished)} networks are not tuned yet; give "
            "--development-only until they are, then --unlock-test"
        )


def _devices(config: CompareConfig, device: torch.device) -> list[torch.device]:
    """Where `--jobs` compute: on every GPU, unless one is named."""
    if device.type == "cuda" and config.device in (None, "cuda"):
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def _report(config: CompareConfig, plan: Plan, device: torch.device) -> None:
    """From finished networks to predictions, numbers and the page."""
    out, runs = config.out, config.out / "runs"
    _remove_what_is_not_asked_for(plan, out)
    names = [arm.name for arm in plan.arms]
    networks = sorted(plan.networks, key=lambda network: names.index(network.arm.name))
    predictions = gather(networks, runs)
    refuse_contradictions(predictions, runs)
    refuse_other_labels(predictions, plan.protocol.dataset, plan.protocol.splits, runs)
    scores = _write_csv(predictions, out / "predictions.csv")
    external_files = [external_file(external, scores) for external in plan.externals]
    for external, file in zip(plan.externals, external_files, strict=True):
        score_external(networks, runs, external, out / "external" / file, device)
        enter(out, study_scoring(plan, external))
    if plan.attributes is not None:
        write_atomically(out / "subgroups.csv", csv_text(plan.attributes, index="patient").encode())
    if plan.fixed:
        by_arm = sorted(plan.fixed, key=lambda network: names.index(network.arm.name))
        _write_csv(gather(by_arm, runs), out / "fixed_recipe.csv")
    if plan.limited:
        limited = ((each.patients, gather([each], runs)) for each in plan.limited if each.patients is not None)
        curve = learning_curve_table(predictions, limited, plan.protocol.splits, config.seed)
        _write_csv(curve, out / "learning_curve.csv")
    record = study_record(plan, config, external_files)
    write_json(out / "study.json", record)

    write_errors(out, _explained_errors(plan, predictions, runs))
    write_report(out)


def _remove_what_is_not_asked_for(plan: Plan, out: Path) -> None:
    """Tables of an earlier study in this folder: the report would show them."""
    if not plan.fixed:
        (out / "fixed_recipe.csv").unlink(missing_ok=True)
    if not plan.limited:
        (out / "learning_curve.csv").unlink(missing_ok=True)
    if plan.attributes is None:
        (out / "subgroups.csv").unlink(missing_ok=True)


def _write_csv(table: pd.DataFrame, path: Path) -> bytes:
    content = csv_text(table, index=False).encode()
    write_atomically(path, content)
    return content


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
