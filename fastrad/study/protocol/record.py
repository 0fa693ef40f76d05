"""`study.json`: what a study was made of, for its report and for whoever repeats it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

import fastrad
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.external import external_name
from fastrad.study.protocol.plan import Plan


def study_record(plan: Plan, config: CompareConfig, external_files: Sequence[str]) -> dict:
    """The record, as JSON values.

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
            for arm in plan.arms
        ],
        "protocol": {
            "folds": splits.folds,
            "seeds": list(range(config.seed, config.seed + config.seeds)),
            "splits": f"imported from {config.splits.name}" if config.splits else "drawn, stratified by label",
            "splits_sha256": hashlib.sha256(splits.to_csv().encode()).hexdigest(),
            "recipe": asdict(plan.protocol.tuning),
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
            for external, file in zip(plan.externals, external_files, strict=True)
        ],
        "notices": list(plan.notices),
        "versions": {
            "fastrad": fastrad.__version__,
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("torch", "torchvision", "numpy", "scipy", "pandas")},
        },
    }
