"""`study.json`: what a study was made of, for its report and for whoever repeats it; it seals the files beside it."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastrad
from fastrad.errors import FormatError
from fastrad.study.protocol.arms import Arm
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.external import external_name
from fastrad.study.protocol.ledger import LEDGER, Scoring, scoring_now, scorings_of
from fastrad.study.protocol.patients import StudyDataset
from fastrad.study.protocol.plan import Network, Plan
from fastrad.study.protocol.planned import DEVELOPMENT, PLAN, adherence
from fastrad.study.protocol.seals import AGAIN, SEAL, check_files, check_record, seal_of, sealed
from fastrad.study.protocol.search import PARTS, trial_rows

_FILE_NAME = re.compile(r"(?!\.+$)[^/\\\0]{1,255}")
_TABLES = ("splits.csv", "predictions.csv", "subgroups.csv", "learning_curve.csv", "fixed_recipe.csv")
_INTENTIONS = (PLAN, DEVELOPMENT)
SEALED = (*_TABLES, LEDGER, *_INTENTIONS)
NETWORKS = ("networks", "limited_networks", "fixed_networks")


def study_record(plan: Plan, config: CompareConfig, external_files: Sequence[str]) -> dict:
    """The record, as JSON values; the files that it seals are there already.

    Parameters
    ----------
    plan : Plan
    config : CompareConfig
    external_files : sequence of str
        Where in `external/` the predictions of each external dataset are.

    Returns
    -------
    dict
    """
    dataset, splits, normalisation = plan.protocol.dataset, plan.protocol.splits, plan.protocol.normalisation
    card = dataset.card
    held_out = splits.test()
    on_test = held_out[dataset.patient_of]
    studied = on_test | splits.development()[dataset.patient_of]  # the others are left out

    def counts(patients: NDArray[np.bool_], images: NDArray[np.bool_]) -> dict:
        return {
            "patients": int(patients.sum()),
            "images": int(images.sum()),
            "malignant": int(dataset.patient_labels[patients].sum()),
        }

    scoring = study_scoring(plan, dataset)
    later = tuned_later(plan.everything, config.out / "runs")
    record = {
        "command": config.command,
        "title": config.title,
        "synthetic": card.synthetic,
        "dataset": {
            "name": dataset.path.name,
            "layout": card.layout,
            "card_sha256": card.sha256(),
            "positive": dataset.positive,
            "classes": list(card.classes),
            "class_counts": dict(card.class_counts),
            "labels_sha256": labels_sha256(dataset.rows[studied], dataset.labels[studied]),
            "patient_ids": card.patient_ids,
            "images_without_patient": int((np.asarray(dataset.dataset.patients)[studied] < 0).sum()),
            "parameters": card.parameters,
            "source_options": card.source_options,
            "unlabelled_images": int(card.unlabelled["count"]),
            "quarantined_images": len(card.quarantined),
            "notes": list(card.notes),
        },
        "development": counts(splits.development(), splits.development()[dataset.patient_of]),
        "test": counts(held_out, on_test),
        "characteristics": list(plan.characteristics),
        "arms": [
            {
                "name": arm.name,
                "label": arm.label,
                "source": arm.source,
                "trained_on": arm.trained_on,
                "architecture": arm.architecture,
                "frozen": arm.frozen,
                "sha256": arm.sha256,
                "synthetic": arm.synthetic,
                **({"starts": [_start(each) for each in arm.starts]} if arm.further else {}),
            }
            for arm in plan.arms
        ],
        "protocol": {
            "folds": splits.folds,
            "seeds": list(range(config.seed, config.seed + config.seeds)),
            "margin": config.margin,
            "split_seed": config.split_seed if config.split_seed is not None else config.seed,
            "splits": f"imported from {config.splits.name}" if config.splits else "drawn, stratified by label",
            "splits_sha256": splits.sha256,
            "recipe": asdict(plan.protocol.tuning),
            **({} if plan.protocol.search is None else {"search": _searched(plan)}),
            "augmentation": "isotropic crops of at least 70 % of the area, horizontal flip",
            "normalisation": {"mean": normalisation.mean[0], "std": normalisation.std[0]},
        },
        "scoring": scoring.key,
        "networks": network_records(plan.networks, config.out / "runs"),
        "limited_networks": network_records(plan.limited, config.out / "runs"),
        **({"fixed_networks": network_records(plan.fixed, config.out / "runs")} if plan.fixed else {}),
        "external": [
            {
                "name": external_name(external),
                "file": file,
                "card_sha256": external.card.sha256(),
                "labels_sha256": labels_sha256(external.rows, external.labels),
                "synthetic": external.card.synthetic,
                "patients": len(external.patients),
                "images": len(external.rows),
                "malignant": int(external.patient_labels.sum()),
            }
            for external, file in zip(plan.externals, external_files, strict=True)
        ],
        "copies": dataset.copies.to_json(),
        "seen": [each.to_json() for each in plan.seen],
        "accepted_seen": config.accept_seen,
        "notices": [*plan.notices, *adherence(config.out, scorings_of(config.out, scoring), later)],
        "versions": versions(),
    }
    return seal_study(record, config.out)


def seal_study(record: Mapping[str, Any], folder: Path) -> dict:
    """The record of the study in `folder` with a seal of itself and of the tables that its report is made from."""
    tables = [name for name in SEALED if (folder / name).is_file()]
    return sealed(record, folder, [*tables, *(f"external/{each['file']}" for each in record["external"])])


def check_intentions(record: Mapping[str, Any], folder: Path) -> None:
    """Compare `plan.json` and `development.json` with a study's seal: no score shows what stood in them.

    Raises
    ------
    FormatError
        If one of them is missing, or is not what was sealed.
    """
    rest = [name for name in record.get(SEAL, {}).get("files", {}) if name not in _INTENTIONS]
    check_files(record, folder, f"put the file back as it was, or {AGAIN}", but=rest)


def tuned_later(networks: Sequence[Network], runs: Path) -> int:
    """How many networks of a development-only study scored the test patients as soon as they were tuned.

    Those that were tuned while the test set was closed say in their record that they scored it later.
    """
    records = [runs / network.name / "run.json" for network in networks if (runs / network.name).is_dir()]
    return sum("test_scored" not in read_record(path, AGAIN) for path in records)


def network_records(networks: Sequence[Network], runs: Path) -> list[dict]:
    """What each finished network's `run.json` says of how it came about, and its seal ("" where 0.1.0 tuned it)."""
    found = []
    for network in networks:
        path = runs / network.name / "run.json"
        run = read_record(path, "give the study another --out") if path.parent.is_dir() else {}
        kept = {name: run[name] for name in ("best_epoch", "seconds", "device", "hardware", "rescored") if name in run}
        found.append({"name": network.name, **kept, "seal": seal_of(run)})
    return found


def read_record(path: Path, way_out: str) -> dict:
    """A JSON record that matches its seal, if it carries one.

    Raises
    ------
    FormatError
        If it is missing, is no record, or does not match its seal.
    """
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FormatError(f"{path}: is missing; {way_out}") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); {way_out}") from None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise FormatError(f"{path}: cut short or altered; {way_out}")
    check_record(record, path, way_out)
    return record


def read_study(folder: Path) -> dict:
    """The `study.json` of a study's folder, matching its seal, with everything in it that every version wrote.

    Raises
    ------
    FormatError
        If it is no record of a study, does not match its seal, or lost it.
    """
    path = folder / "study.json"
    record = read_record(path, AGAIN)
    if not _is_well_formed(record):
        raise FormatError(f"{path}: holds values that fastrad does not write; {AGAIN}")
    return record


def _is_well_formed(record: Mapping[str, Any]) -> bool:
    """Whether a record holds what readers count on, and names no file outside of the study's folder."""
    kinds = {"command": str, "synthetic": bool, "dataset": dict, "development": dict, "test": dict, "arms": list}
    kinds |= {"protocol": dict, "external": list, "notices": list, "versions": dict}
    counts = ("patients", "images", "malignant")
    try:
        named = [arm["name"] for arm in record["arms"]]
        named += [each["name"] for kind in NETWORKS for each in record.get(kind, [])]
        named += [each["file"] for each in record["external"]]
        texts = [*(arm[name] for arm in record["arms"] for name in ("label", "source", "architecture", "sha256"))]
        texts += [record["dataset"][name] for name in ("name", "layout", "card_sha256", "positive", "patient_ids")]
        texts += [*record["notices"], *record["dataset"]["notes"], *record["versions"].values()]
        texts += [each["name"] for each in record["external"]] + [record["protocol"]["splits"]]
        numbers = [
            part[name] for part in (record["development"], record["test"], *record["external"]) for name in counts
        ]
        numbers += [*record["protocol"]["seeds"], record["protocol"]["folds"]]
        numbers += [record["dataset"][name] for name in ("unlabelled_images", "quarantined_images")]
        return (
            all(isinstance(record[name], kind) for name, kind in kinds.items())
            and all(isinstance(name, str) and _FILE_NAME.fullmatch(name) for name in named)
            and all(isinstance(text, str) for text in texts)
            and all(type(number) is int and number >= 0 for number in numbers)
            and isinstance(record["protocol"]["recipe"], dict)
            and "fastrad" in record["versions"]
        )
    except (KeyError, TypeError, AttributeError):
        return False


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether a record carries a seal."""
    return SEAL in record


def labels_sha256(rows: Iterable[int], labels: Iterable[int]) -> str:
    """A hash of every image's label (1 is malignant) by manifest row: the card's, or those in predictions."""
    pairs = sorted((int(row), int(label)) for row, label in zip(rows, labels, strict=True))
    return hashlib.sha256("".join(f"{row},{label}\n" for row, label in pairs).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of fastrad, Python and the libraries that decide on a study's numbers."""
    return {
        "fastrad": fastrad.__version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in ("torch", "torchvision", "numpy", "scipy", "pandas")},
    }


def study_scoring(plan: Plan, dataset: StudyDataset) -> Scoring:
    """That the study's networks scored the held-out images of its dataset, or an external one, for the ledger.

    Those of a learning curve are no settings of it: they change no score of the study.
    """
    protocol, card = plan.protocol, dataset.card
    own = dataset is protocol.dataset
    rows = dataset.rows[protocol.splits.test()[dataset.patient_of]] if own else dataset.rows
    settings = {
        **asdict(protocol.tuning),
        **({"search": list(protocol.search.recipes)} if protocol.search else {}),
        "arms": {arm.name: f"{_sources(arm)}{' frozen' if arm.frozen else ''}" for arm in plan.arms},
        "networks": sorted(network.name for network in plan.networks),
        "dataset": card.sha256(),
        "trained_on": protocol.dataset.card.sha256(),
        "positive": dataset.positive,
        "splits": protocol.splits.sha256,
    }
    return scoring_now(card.manifest_sha256 or card.sha256(), rows.tolist(), settings)


def _searched(plan: Plan) -> dict:
    search, folds = plan.protocol.search, plan.protocol.splits.folds
    assert search is not None
    arms = [arm.name for arm in plan.arms if not arm.frozen]
    return {"recipes": list(search.recipes), "parts": PARTS, "trials": trial_rows(search, arms, folds)}


def _sources(arm: Arm) -> str:
    return ", ".join(f"{start.source} {start.sha256[:16]}" for start in arm.starts)


def _start(arm: Arm) -> dict:
    return {"source": arm.source, "sha256": arm.sha256, "synthetic": arm.synthetic}
