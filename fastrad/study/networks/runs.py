"""The networks of a study: which are to be tuned, which are there already, and what each leaves.

One folder a network under `runs/`, with weights, predictions, history and the settings that its numbers depend on; a
folder that exists is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fastrad.errors import FormatError, InputError
from fastrad.models.weights import save_weights
from fastrad.study.networks.frozen import fit_head
from fastrad.study.networks.tune import Task, Tuned, fine_tune
from fastrad.study.predictions import prediction_table, read_predictions
from fastrad.study.protocol.plan import Network, Protocol
from fastrad.study.protocol.record import read_record, versions
from fastrad.study.protocol.seals import check_files, sealed
from fastrad.study.protocol.splits import training_subset
from fastrad.system.files import write_atomically
from fastrad.system.hardware import describe_hardware
from fastrad.train.precision import Precision, choose_precision

ALTERED = (
    "`fastrad report STUDY --rescore DATASET` scores again from sound weights; else move this network's folder out of "
    "runs/ and give the same command again"
)


def tune(networks: Sequence[Network], protocol: Protocol, folder: Path, device: torch.device) -> None:
    """Tune every network that has no folder in `folder` yet, with a line of progress each.

    Raises
    ------
    InputError
        If a folder is there but was made with other settings, or in a precision that the device does not have.
    """
    finished = check_finished(networks, protocol, folder)
    if any(finished):
        print(f"{sum(finished)} of {len(networks)} runs are finished already and kept", file=sys.stderr)
    if all(finished):
        return
    precision = _precision(networks, finished, protocol, folder, device)
    for number, (network, done) in enumerate(zip(networks, finished, strict=True), start=1):
        if done:
            continue
        task = _task(network, protocol)
        run = _run(network, task, protocol, device, precision)
        settings = {**_settings(network, protocol), "precision": "float32" if network.arm.frozen else precision.name}
        _keep(folder / network.name, network, settings, run, task, protocol, device)
        best = run.history[run.best_epoch - 1]
        limited = "" if network.patients is None else f", {network.patients} training patients"
        print(
            f"[{number}/{len(networks)}] {network.arm.label}, seed {network.seed}, fold {network.fold}{limited}: "
            f"validation AUROC {best.val_auroc:.3f} "
            f"{'with penalty' if network.arm.frozen else 'in epoch'} {run.best_epoch} of {len(run.history)}, "
            f"{run.seconds:.1f} s, {run.images / run.seconds:.0f} training images/s",
            file=sys.stderr,
            flush=True,
        )


def check_finished(networks: Sequence[Network], protocol: Protocol, folder: Path) -> list[bool]:
    """Which networks are finished in `folder` already.

    Raises
    ------
    InputError
        If one was made with other settings.
    """
    return [_is_finished(folder / network.name, _settings(network, protocol)) for network in networks]


def _precision(
    networks: Sequence[Network], finished: Sequence[bool], protocol: Protocol, folder: Path, device: torch.device
) -> Precision:
    """What the networks that are left are tuned in: what the finished ones were, else the best that the device has.

    So a study is of one precision, also where it goes on under another version or on another machine.
    """
    size = protocol.tuning.size
    best = choose_precision("amp", device, size)
    # 0.1.0 kept no record: it tuned in float32, and in bfloat16 on GPUs that have it
    former = best.name if device.type == "cuda" and best.name == "bfloat16" else "float32"
    found = {
        str(_stored_settings(folder / network.name).get("precision", former))
        for network, done in zip(networks, finished, strict=True)
        if done and not network.arm.frozen
    }
    if not found:
        return best
    went_on = choose_precision(min(found), device, size)
    if found == {went_on.name}:
        return went_on
    raise InputError(
        f"{folder}: its finished networks were tuned in {' and '.join(sorted(found))}, the others would be in "
        f"{best.name} on {device}; go on where the study was begun, or give it another --out"
    )


def _run(network: Network, task: Task, protocol: Protocol, device: torch.device, precision: Precision) -> Tuned:
    weights, tuning = network.arm.weights, protocol.tuning
    if network.arm.frozen and weights is not None:
        return fit_head(task, weights, tuning, seed=network.seed, fold=network.fold, device=device)
    return fine_tune(task, weights, tuning, seed=network.seed, fold=network.fold, device=device, precision=precision)


def gather(networks: Sequence[Network], folder: Path) -> pd.DataFrame:
    """The predictions of finished networks, one after another."""
    parts = [read_predictions(folder / network.name / "predictions.csv") for network in networks]
    return pd.concat(parts, ignore_index=True)


def _task(network: Network, protocol: Protocol) -> Task:
    dataset, splits = protocol.dataset, protocol.splits

    def images(patients: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(patients[dataset.patient_of])

    return Task(
        dataset.dataset,
        dataset.card.classes.index(dataset.positive),
        protocol.normalisation,
        dataset.labels,
        dataset.patient_of,
        images(training_subset(splits, network.fold, network.patients, network.seed)),
        images(splits.validation(network.fold)),
        images(splits.test()),
    )


def _settings(network: Network, protocol: Protocol) -> dict:
    """Everything that a run's numbers depend on, but the precision: what is finished is not refused for that."""
    return {
        "arm": network.arm.name,
        "frozen": network.arm.frozen,
        "seed": network.seed,
        "fold": network.fold,
        "training_patients": network.patients,
        "weights_sha256": network.arm.sha256,
        "dataset_sha256": protocol.dataset.card.sha256(),
        "positive": protocol.dataset.positive,
        "splits_sha256": hashlib.sha256(protocol.splits.to_csv().encode()).hexdigest(),
        **asdict(protocol.tuning),
    }


def _is_finished(folder: Path, wanted: dict) -> bool:
    if not folder.is_dir():
        return False
    found = _stored_settings(folder)
    check_files(read_record(folder / "run.json", ALTERED), folder, ALTERED)
    for name, value in wanted.items():
        if found.get(name) != value and name == "splits_sha256":
            raise InputError(
                f"{folder}: was made with other splits; give the study another --out, or the former --seed, --folds, "
                "--test-fraction or --splits"
            )
        if found.get(name) != value:
            raise InputError(
                f"{folder}: was made with {name} {found.get(name)}, now {value}; "
                "give the study another --out, or repeat the former options"
            )
    return True


def _stored_settings(folder: Path) -> dict:
    settings = read_record(folder / "run.json", ALTERED).get("settings")
    if not isinstance(settings, dict):
        raise FormatError(f"{folder / 'run.json'}: cut short or altered; {ALTERED}")
    return settings


def _keep(
    folder: Path,
    network: Network,
    settings: dict,
    run: Tuned,
    task: Task,
    protocol: Protocol,
    device: torch.device,
) -> None:
    """Write a run's folder under a temporary name, seal it, and rename it."""
    dataset, normalisation = protocol.dataset, protocol.normalisation
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tables = [
        prediction_table((network.arm.name, network.seed, network.fold), name, dataset, positions, scores)
        for name, positions, scores in (
            ("val", task.validation, run.validation_scores),
            ("test", task.test, run.test_scores),
        )
    ]
    metadata = {
        "normalisation": {"mean": list(normalisation.mean), "std": list(normalisation.std)},
        "size": protocol.tuning.size,
        "positive": dataset.positive,
        "dataset": dataset.card.sha256(),
        "seen": [*dataset.card.identities(), *sorted(network.arm.weights.seen if network.arm.weights else ())],
        "parameters": dataset.card.parameters,
        "synthetic": dataset.card.synthetic,
        "source_options": dataset.card.source_options,
        "arm": network.arm.name,
        "flip_average": protocol.tuning.flip_average,
    }
    save_weights(partial / "weights.safetensors", run.state, metadata)
    write_atomically(partial / "predictions.csv", pd.concat(tables).to_csv(index=False).encode())
    history = pd.DataFrame([asdict(line) for line in run.history])
    write_atomically(partial / "history.csv", history.to_csv(index=False).encode())
    record = {
        "settings": settings,
        "arm_label": network.arm.label,
        "best_epoch": run.best_epoch,
        "epochs": len(run.history),
        "seconds": round(run.seconds, 2),
        "training_images": run.images,
        "synthetic": dataset.card.synthetic,
        "device": device.type,
        "hardware": describe_hardware(device),
        "versions": versions(),
    }
    record = sealed(record, partial, ("weights.safetensors", "predictions.csv", "history.csv"))
    write_atomically(partial / "run.json", (json.dumps(record, indent=1) + "\n").encode())
    partial.rename(folder)
