"""What the shards of a split add up to, and the card that says it.

In: the records of a `Journal`. Out: a `Card`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

import fastrad
from fastrad.conversion.plan import SplitPlan
from fastrad.conversion.shard import ShardRecord
from fastrad.pseudonym import hide_patient
from fastrad.storage.card import Card


class Totals:
    """What the shards' records add up to."""

    def __init__(self, classes: int) -> None:
        self.stored = self.value_sum = self.square_sum = self.pixels = 0
        self.class_counts = np.zeros(classes, dtype=np.int64)
        self.quarantined: list[tuple[int, str]] = []

    def add(self, summary: ShardRecord, labels: np.ndarray) -> None:
        """Add one shard."""
        self.stored += summary.stored
        self.value_sum += summary.value_sum
        self.square_sum += summary.square_sum
        self.pixels += summary.pixels
        self.class_counts += np.bincount(labels, minlength=len(self.class_counts))
        self.quarantined += summary.quarantined

    def mean_and_std(self) -> tuple[float, float]:
        """Of pixel / 255; population standard deviation, from exact integer sums."""
        mean = self.value_sum / self.pixels
        variance = (self.square_sum * self.pixels - self.value_sum**2) / self.pixels**2
        return mean / 255, max(variance, 0.0) ** 0.5 / 255


def stored_patients(plan: SplitPlan, quarantined: list[tuple[int, str]]) -> tuple[list[str], np.ndarray]:
    """The patients of whom an image is stored, and their new numbers.

    A patient all of whose images are quarantined must not be counted: a paper would quote the number.

    Returns
    -------
    names : list of str
        As the card lists them.
    numbers : (planned patients + 1,) int64
        From a planned patient's index to the one in `names`; the last entry keeps -1 (unknown) at -1.
    """
    kept = ~np.isin(plan.rows, [row for row, _ in quarantined])
    used = np.unique(plan.patients[kept & (plan.patients >= 0)])
    numbers = np.full(len(plan.patient_names) + 1, -1, dtype=np.int64)
    numbers[used] = np.arange(len(used))
    return [plan.patient_names[index] for index in used], numbers


def nothing_stored(plan: SplitPlan, totals: Totals) -> str:
    """Why a split has no file."""
    row, reason = totals.quarantined[0]
    return (
        f"{plan.manifest.root}: none of the {len(plan.rows)} images of {plan.name} could be stored, so no file is "
        f"written; the first reason (row {row}): {reason}"
    )


def make_card(
    plan: SplitPlan,
    totals: Totals,
    hashes: dict[str, Any],
    size: int,
    name_patient: Callable[[str], str] | None,
) -> Card:
    """The card of a finished split of `size` bytes."""
    mean, std = totals.mean_and_std()
    manifest = plan.manifest
    patient = manifest.table["patient"]
    unlabelled = np.flatnonzero(manifest.unlabelled & (manifest.table["split"] == plan.split).to_numpy())
    return Card(
        name=plan.name,
        format=plan.format,
        synthetic=manifest.synthetic,
        layout=manifest.layout,
        split=plan.split,
        samples=totals.stored,
        classes=list(plan.classes),
        class_counts=dict(zip(plan.classes, totals.class_counts.tolist(), strict=True)),
        patients=stored_patients(plan, totals.quarantined)[0],
        patient_ids=plan.patient_ids,
        manifest_sha256=plan.manifest_sha256,
        parameters=plan.parameters(),
        mean=mean,
        std=std,
        bytes=size,
        hashes=hashes,
        quarantined=_quarantine(plan, totals, name_patient),
        unlabelled={
            "count": len(unlabelled),
            "patients": len(set(patient.iloc[unlabelled]) - {""}),
            "rows": unlabelled.tolist(),
        },
        notes=list(manifest.notes),
        source_options=dict(plan.source_options),
        versions={
            "fastrad": fastrad.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    )


def _quarantine(plan: SplitPlan, totals: Totals, name_patient: Callable[[str], str] | None) -> list[dict[str, Any]]:
    """What the source or the conversion could not use, in row order, without patient ids."""
    table = plan.manifest.table
    refused = np.flatnonzero((table["reason"] != "").to_numpy() & (table["split"] == plan.split).to_numpy())
    reasons = dict(zip(refused.tolist(), table["reason"].iloc[refused].tolist(), strict=True))
    reasons.update(totals.quarantined)
    entries = []
    for row in sorted(reasons):
        path, patient = table["path"].iloc[row], table["patient"].iloc[row]
        reason = reasons[row]
        if name_patient is not None and patient:
            path, reason = (hide_patient(text, patient, name_patient(patient)) for text in (path, reason))
        entries.append({"row": row, "path": path, "reason": reason})
    return entries
