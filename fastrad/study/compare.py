"""The study from start to end: splits, runs, predictions, report.

In: a `CompareConfig`. Out: a folder with `splits.csv`, `runs/` (one folder a network), `predictions.csv`,
`study.json`, the table and the report. Finished runs are kept: an interrupted study goes on where it stopped, and a
finished one is only evaluated again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import fastrad
from fastrad.errors import InputError
from fastrad.model import Normalisation, save_weights, write_atomically
from fastrad.storage import BetonFile
from fastrad.study.arms import Arm, make_arms
from fastrad.study.dataset import StudyDataset, open_dataset
from fastrad.study.evaluation import PREDICTION_COLUMNS
from fastrad.study.fine_tuning import Recipe, Run, Task, fine_tune
from fastrad.study.report import write_report
from fastrad.study.splits import TEST_FRACTION, Splits, make_splits, read_splits


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
    arms : tuple of (name, weights file)
        Further arms.
    recipe : Recipe
    positive : str or None
        The class that counts as malignant.
    folds, seeds, seed : int
        Folds of the cross-validation; how many times everything is repeated, with seeds `seed`, `seed + 1`, ...
    test_fraction : float
        Share of the patients that is held out.
    splits : Path or None
        Take the splits from this file instead of drawing them.
    device : str or None
        For example "cuda"; by default a GPU where there is one.
    command : str
        As typed, for the record.
    """

    dataset: Path
    out: Path
    radimagenet: str
    imagenet: str
    recipe: Recipe
    arms: tuple[tuple[str, str], ...] = ()
    positive: str | None = None
    folds: int = 5
    seeds: int = 3
    seed: int = 0
    test_fraction: float = TEST_FRACTION
    splits: Path | None = None
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
        raise InputError(f"--seeds {config.seeds}: at least one is needed")
    dataset = open_dataset(config.dataset, config.positive)
    arms = make_arms(config.radimagenet, config.imagenet, config.arms)
    if config.splits is not None:
        splits = read_splits(config.splits, dataset, folds=config.folds, seed=config.seed)
    else:
        splits = make_splits(dataset, test_fraction=config.test_fraction, folds=config.folds, seed=config.seed)
    for notice in _notices(dataset, arms):
        print(f"notice: {notice}", file=sys.stderr)
    config.out.mkdir(parents=True, exist_ok=True)
    write_atomically(config.out / "splits.csv", splits.to_csv().encode())
    normalisation = development_normalisation(dataset, splits)
    _run_all(config, dataset, arms, splits, normalisation)
    study = _record(config, dataset, arms, splits, normalisation)
    write_atomically(config.out / "study.json", (json.dumps(study, indent=1) + "\n").encode())
    write_report(config.out)
    return config.out


def development_normalisation(dataset: StudyDataset, splits: Splits) -> Normalisation:
    """Mean and standard deviation of pixel / 255 over the development images; the test images have no say."""
    file = BetonFile(dataset.path)
    values = np.arange(256) / 255
    histogram = np.zeros(256, dtype=np.int64)
    for image in np.flatnonzero(~splits.test()[dataset.patient_of]):
        histogram += np.bincount(file.decode(int(image)).ravel(), minlength=256)
    mean = float((histogram * values).sum() / histogram.sum())
    spread = float(np.sqrt((histogram * (values - mean) ** 2).sum() / histogram.sum()))
    return Normalisation.gray(mean, max(spread, 1 / 255))


def run_folder(out: Path, arm: str, seed: int, fold: int) -> Path:
    """Where one network of the study is kept."""
    return out / "runs" / f"{arm}-seed{seed}-fold{fold}"


def _run_all(
    config: CompareConfig, dataset: StudyDataset, arms: tuple[Arm, ...], splits: Splits, normalisation: Normalisation
) -> None:
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plan = [
        (seed, fold, arm)
        for seed in range(config.seed, config.seed + config.seeds)
        for fold in range(splits.folds)
        for arm in arms
    ]
    settings = {(seed, fold, arm.name): _settings(config, dataset, arm, splits, seed, fold) for seed, fold, arm in plan}
    finished = {
        key for key, wanted in settings.items() if _is_finished(run_folder(config.out, key[2], key[0], key[1]), wanted)
    }
    if finished:
        print(f"{len(finished)} of {len(plan)} runs are finished already and kept", file=sys.stderr)
    for number, (seed, fold, arm) in enumerate(plan, start=1):
        if (seed, fold, arm.name) in finished:
            continue
        task = _task(dataset, splits, fold, normalisation)
        run = fine_tune(task, arm.weights, config.recipe, seed=seed, fold=fold, device=device)
        _keep(config.out, settings[seed, fold, arm.name], run, dataset, task, arm, normalisation)
        best = run.history[run.best_epoch - 1]
        print(
            f"[{number}/{len(plan)}] {arm.label}, seed {seed}, fold {fold}: validation AUROC {best.val_auroc:.3f} "
            f"in epoch {run.best_epoch} of {len(run.history)}, {run.seconds:.1f} s, "
            f"{run.images / run.seconds:.0f} training images/s",
            file=sys.stderr,
            flush=True,
        )
    folders = [run_folder(config.out, arm.name, seed, fold) for arm in arms for seed, fold, a in plan if a is arm]
    parts = [pd.read_csv(folder / "predictions.csv", dtype={"patient": str}) for folder in folders]
    table = pd.concat(parts, ignore_index=True)
    write_atomically(config.out / "predictions.csv", table.to_csv(index=False).encode())


def _task(dataset: StudyDataset, splits: Splits, fold: int, normalisation: Normalisation) -> Task:
    def images(patients: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(patients[dataset.patient_of])

    return Task(
        dataset.path,
        dataset.card.classes.index(dataset.positive),
        normalisation,
        dataset.labels,
        dataset.patient_of,
        images(splits.training(fold)),
        images(splits.validation(fold)),
        images(splits.test()),
    )


def _settings(config: CompareConfig, dataset: StudyDataset, arm: Arm, splits: Splits, seed: int, fold: int) -> dict:
    """Everything that a run's numbers depend on."""
    return {
        "arm": arm.name,
        "seed": seed,
        "fold": fold,
        "weights_sha256": arm.sha256,
        "dataset_sha256": dataset.card.sha256(),
        "positive": dataset.positive,
        "splits_sha256": hashlib.sha256(splits.to_csv().encode()).hexdigest(),
        **asdict(config.recipe),
    }


def _is_finished(folder: Path, wanted: dict) -> bool:
    if not folder.is_dir():
        return False
    found = json.loads((folder / "run.json").read_text())["settings"]
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"{folder}: was made with {name} {found.get(name)}, now {value}; "
                "give the study another --out, or repeat the former options"
            )
    return True


def _keep(
    out: Path, settings: dict, run: Run, dataset: StudyDataset, task: Task, arm: Arm, normalisation: Normalisation
) -> None:
    """Write a run's folder under a temporary name and rename it: a folder that exists is complete."""
    folder = run_folder(out, settings["arm"], settings["seed"], settings["fold"])
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    parts = []
    for name, positions, scores in (
        ("val", task.validation, run.validation_scores),
        ("test", task.test, run.test_scores),
    ):
        parts.append(
            pd.DataFrame(
                {
                    "arm": settings["arm"],
                    "seed": settings["seed"],
                    "fold": settings["fold"],
                    "set": name,
                    "patient": [dataset.patients[index] for index in dataset.patient_of[positions]],
                    "row": dataset.rows[positions],
                    "label": dataset.labels[positions],
                    "score": scores,
                }
            )[list(PREDICTION_COLUMNS)]
        )
    metadata = {
        "normalisation": {"mean": list(normalisation.mean), "std": list(normalisation.std)},
        "size": settings["size"],
        "positive": dataset.positive,
        "dataset": dataset.card.sha256(),
        "synthetic": dataset.card.synthetic,
        "arm": settings["arm"],
        "flip_average": settings["flip_average"],
    }
    save_weights(partial / "weights.safetensors", run.state, metadata)
    write_atomically(partial / "predictions.csv", pd.concat(parts).to_csv(index=False).encode())
    write_atomically(
        partial / "history.csv", pd.DataFrame([asdict(line) for line in run.history]).to_csv(index=False).encode()
    )
    record = {
        "settings": settings,
        "arm_label": arm.label,
        "best_epoch": run.best_epoch,
        "epochs": len(run.history),
        "seconds": round(run.seconds, 2),
        "training_images": run.images,
        "synthetic": dataset.card.synthetic,
    }
    write_atomically(partial / "run.json", (json.dumps(record, indent=1) + "\n").encode())
    partial.rename(folder)


def _notices(dataset: StudyDataset, arms: tuple[Arm, ...]) -> list[str]:
    notices = list(dataset.notices)
    for arm in arms:
        if arm.weights is not None:
            notices += arm.weights.notices
    return notices


def _record(
    config: CompareConfig, dataset: StudyDataset, arms: tuple[Arm, ...], splits: Splits, normalisation: Normalisation
) -> dict:
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
        "notices": _notices(dataset, arms),
        "versions": {
            "fastrad": fastrad.__version__,
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("torch", "torchvision", "numpy", "scipy", "pandas")},
        },
    }
