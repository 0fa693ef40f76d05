"""The study from start to end: splits, runs, predictions, report.

In: a `CompareConfig`. Out: a folder with `splits.csv`, `runs/` (one folder a network), `predictions.csv`,
`study.json`, the table and the report. Finished runs are kept: an interrupted study goes on where it stopped, and a
finished one is only evaluated again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import fastrad
from fastrad.errors import InputError, OptionError
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.networks.external import (
    check_external,
    external_file,
    external_name,
    read_attributes,
    score_external,
)
from fastrad.study.networks.runs import Network, Protocol, check_finished, development_normalisation, gather, tune
from fastrad.study.networks.tune import Tuning
from fastrad.study.protocol.arms import Arm, make_arms
from fastrad.study.protocol.patients import StudyDataset, read_patients
from fastrad.study.protocol.splits import TEST_FRACTION, make_splits, read_splits, training_subset
from fastrad.study.report.confident_errors import write_errors
from fastrad.study.report.page import write_report
from fastrad.system.devices import choose_device
from fastrad.system.files import write_atomically


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, and how.

    Attributes
    ----------
    dataset : Path
        A `.beton` file, or the folder of an `all.beton`.
    out : Path
        The study's folder.
    radimagenet, imagenet : str
        Weights files; "torchvision" downloads ImageNet's.
    arms, frozen : tuple of (name, weights file)
        Further arms; `frozen` ones are not tuned but put under a logistic regression.
    recipe : Tuning
    positive : str or None
        The class that counts as malignant.
    folds, seeds, seed : int
        Folds of the cross-validation; how many times everything is repeated, with seeds `seed`, `seed + 1`, ...
    test_fraction : float
        Share of the patients that is held out.
    splits : Path or None
        Take the splits from this file instead of drawing them.
    learning_curve : tuple of int
        Numbers of training patients for which everything is tuned once more, with the first seed.
    external : tuple of Path
        Further datasets, like `dataset`, that every network scores.
    subgroups : tuple of str
        Columns of `attributes` (or of `splits`) by whose values the test patients are looked at apart.
    attributes : Path or None
        A CSV `patient,COLUMN...`.
    pseudonym_key : Path or None
        The key that the dataset was converted with, for patients by their own ids in `splits` and `attributes`; by
        default the one in the user's configuration folder, if there is one.
    device : str or None
        For example "cuda"; by default a GPU where there is one.
    command : str
        As typed, for the record.
    """

    dataset: Path
    out: Path
    radimagenet: str
    imagenet: str
    recipe: Tuning
    arms: tuple[tuple[str, str], ...] = ()
    frozen: tuple[tuple[str, str], ...] = ()
    positive: str | None = None
    folds: int = 5
    seeds: int = 3
    seed: int = 0
    test_fraction: float = TEST_FRACTION
    splits: Path | None = None
    learning_curve: tuple[int, ...] = ()
    external: tuple[Path, ...] = ()
    subgroups: tuple[str, ...] = ()
    attributes: Path | None = None
    pseudonym_key: Path | None = None
    device: str | None = None
    command: str = ""


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
    if config.seeds < 1:
        raise OptionError(f"--seeds {config.seeds}: at least one is needed")
    dataset = read_patients(config.dataset, config.positive)
    arms = make_arms(config.radimagenet, config.imagenet, config.arms, config.frozen)
    _refuse_seen(arms, dataset, "this very dataset, test patients and labels included: a leak")
    if config.splits is not None:
        splits = read_splits(
            config.splits, dataset, folds=config.folds, seed=config.seed, key_path=config.pseudonym_key
        )
    else:
        splits = make_splits(dataset, test_fraction=config.test_fraction, folds=config.folds, seed=config.seed)
    externals = [read_patients(path, dataset.positive) for path in config.external]
    for external in externals:
        check_external(external, dataset)
        _refuse_seen(arms, external, f"{external.path}: it is not external")
    attributes = _attributes(config, dataset)
    device = choose_device(config.device)
    for notice in _notices(dataset, arms):
        print(f"notice: {notice}", file=sys.stderr)
    protocol = Protocol(dataset, splits, config.recipe, development_normalisation(dataset, splits))
    networks = [
        Network(arm, seed, fold)
        for seed in range(config.seed, config.seed + config.seeds)
        for fold in range(splits.folds)
        for arm in arms
    ]
    limited = [
        Network(arm, config.seed, fold, patients)
        for patients in sorted(set(config.learning_curve))
        for fold in range(splits.folds)
        for arm in arms
    ]
    for network in limited:  # before the first hour of training, not after it
        training_subset(splits, network.fold, network.patients, network.seed)
    runs = config.out / "runs"
    check_finished([*networks, *limited], protocol, runs)
    config.out.mkdir(parents=True, exist_ok=True)
    write_atomically(config.out / "splits.csv", splits.to_csv().encode())
    for name, asked in (("learning_curve.csv", limited), ("subgroups.csv", config.subgroups)):
        if not asked:  # of an earlier study in this folder: the report would show it
            (config.out / name).unlink(missing_ok=True)
    tune([*networks, *limited], protocol, runs, device)
    networks.sort(key=lambda network: arms.index(network.arm))
    predictions = gather(networks, runs)
    scores = predictions.to_csv(index=False).encode()
    write_atomically(config.out / "predictions.csv", scores)
    files = [external_file(external, scores) for external in externals]
    for external, file in zip(externals, files, strict=True):
        score_external(networks, runs, external, config.out / "external" / file, device)
    if attributes is not None:
        table = attributes[splits.test()]
        write_atomically(config.out / "subgroups.csv", table.to_csv(index_label="patient").encode())
    if limited:
        _write_learning_curve(config, predictions, limited, protocol)
    study = _record(config, protocol, arms, list(zip(externals, files, strict=True)))
    write_atomically(config.out / "study.json", (json.dumps(study, indent=1) + "\n").encode())
    write_errors(config.out, dataset, evaluate(predictions), predictions, config.recipe.size)
    write_report(config.out)
    return config.out


def _refuse_seen(arms: Sequence[Arm], dataset: StudyDataset, what: str) -> None:
    """No arm may begin with weights that these images trained, or chose."""
    for arm in arms:
        if arm.weights is not None and arm.weights.seen.intersection(dataset.card.identities()):
            raise InputError(
                f"the weights of the {arm.label} arm ({arm.source}) were trained or chosen on {what}; give weights of "
                "other images"
            )


def _attributes(config: CompareConfig, dataset: StudyDataset) -> pd.DataFrame | None:
    if not config.subgroups:
        return None
    path = config.attributes or config.splits
    if path is None:
        raise OptionError("--subgroup needs --attributes FILE, a CSV with the columns patient and those of --subgroup")
    return read_attributes(path, config.subgroups, dataset, config.pseudonym_key)


def _write_learning_curve(
    config: CompareConfig, predictions: pd.DataFrame, limited: list[Network], protocol: Protocol
) -> None:
    """`learning_curve.csv`: the predictions of the first seed, whole and limited, with the column `patients`."""
    everyone = min(int(protocol.splits.training(fold).sum()) for fold in range(protocol.splits.folds))
    parts = [predictions[predictions["seed"] == config.seed].assign(patients=everyone)]
    for network in limited:
        parts.append(gather([network], config.out / "runs").assign(patients=network.patients))
    table = pd.concat(parts, ignore_index=True)
    write_atomically(config.out / "learning_curve.csv", table.to_csv(index=False).encode())


def _notices(dataset: StudyDataset, arms: tuple[Arm, ...]) -> list[str]:
    notices = list(dataset.notices)
    for index, arm in enumerate(arms):
        if arm.weights is not None:
            notices += arm.weights.notices
            notices += [
                f"the arms {other.label} and {arm.label} begin with the same weights: a difference between them is not "
                "one of initialisation"
                for other in arms[:index]
                if other.sha256 == arm.sha256
            ]
    return notices


def _record(
    config: CompareConfig, protocol: Protocol, arms: tuple[Arm, ...], externals: list[tuple[StudyDataset, str]]
) -> dict:
    dataset, splits, normalisation = protocol.dataset, protocol.splits, protocol.normalisation
    card = dataset.card
    held_out = splits.test()
    on_test = held_out[dataset.patient_of]

    def counts(patients: NDArray[np.bool_], images: NDArray[np.bool_]) -> dict:
        return {
            "patients": int(patients.sum()),
            "images": int(images.sum()),
            "malignant": int(dataset.patient_labels[patients].sum()),
        }

    return {
        "command": config.command,
        "synthetic": card.synthetic,
        "dataset": {
            "name": dataset.path.name,
            "layout": card.layout,
            "card_sha256": card.sha256(),
            "positive": dataset.positive,
            "classes": list(card.classes),
            "patient_ids": card.patient_ids,
            "parameters": card.parameters,
            "unlabelled_images": int(card.unlabelled["count"]),
            "quarantined_images": len(card.quarantined),
            "notes": list(card.notes),
        },
        "development": counts(~held_out, ~on_test),
        "test": counts(held_out, on_test),
        "arms": [
            {
                "name": arm.name,
                "label": arm.label,
                "source": arm.source,
                "architecture": arm.architecture,
                "frozen": arm.frozen,
                "sha256": arm.sha256,
                "synthetic": arm.synthetic,
            }
            for arm in arms
        ],
        "protocol": {
            "folds": splits.folds,
            "seeds": list(range(config.seed, config.seed + config.seeds)),
            "splits": f"imported from {config.splits.name}" if config.splits else "drawn, stratified by label",
            "splits_sha256": hashlib.sha256(splits.to_csv().encode()).hexdigest(),
            "recipe": asdict(config.recipe),
            "augmentation": "isotropic crops of at least 70 % of the area, horizontal flip",
            "normalisation": {"mean": normalisation.mean[0], "std": normalisation.std[0]},
        },
        "external": [
            {
                "name": external_name(external),
                "file": file,
                "card_sha256": external.card.sha256(),
                "synthetic": external.card.synthetic,
                "patients": len(external.patients),
                "images": len(external.rows),
                "malignant": int(external.patient_labels.sum()),
            }
            for external, file in externals
        ],
        "notices": _notices(dataset, arms),
        "versions": {
            "fastrad": fastrad.__version__,
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("torch", "torchvision", "numpy", "scipy", "pandas")},
        },
    }
