"""What the chunks of a split add up to, and the card that says it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

import fastrad
from fastrad.convert.journal import Journal
from fastrad.convert.plan import SplitPlan
from fastrad.convert.record import ChunkRecord, read_arrays
from fastrad.dataset.card import Card
from fastrad.errors import InputError


class Totals:
    """What the chunks' records add up to.

    Parameters
    ----------
    classes, patients : int
        How many are planned.
    """

    def __init__(self, classes: int, patients: int) -> None:
        self.stored = self.value_sum = self.square_sum = self.pixels = 0
        self.class_counts = np.zeros(classes, dtype=np.int64)
        self._seen = np.zeros(patients + 1, dtype=bool)  # the last one is what -1 (unknown) picks
        self.quarantined: list[tuple[int, str]] = []

    def add(self, record: ChunkRecord, labels: np.ndarray, patients: np.ndarray) -> None:
        """Add one chunk."""
        self.stored += record.stored
        self.value_sum += record.value_sum
        self.square_sum += record.square_sum
        self.pixels += record.pixels
        self.class_counts += np.bincount(labels, minlength=len(self.class_counts))
        self._seen[patients] = True
        self.quarantined += record.quarantined

    @property
    def patients(self) -> np.ndarray:
        """Planned indices of the patients of whom an image is stored: only they may be counted in a paper."""
        return np.flatnonzero(self._seen[:-1])

    def patient_numbers(self) -> np.ndarray:
        """From a planned patient's index to the one in the card; the last entry keeps -1 (unknown) at -1."""
        numbers = np.full(len(self._seen), -1, dtype=np.int64)
        numbers[self.patients] = np.arange(len(self.patients))
        return numbers

    def mean_and_std(self) -> tuple[float, float]:
        """Of pixel / 255; population standard deviation, from exact integer sums."""
        mean = self.value_sum / self.pixels
        variance = (self.square_sum * self.pixels - self.value_sum**2) / self.pixels**2
        return mean / 255, max(variance, 0.0) ** 0.5 / 255

    def card(self, plan: SplitPlan, hashes: dict[str, Any], size: int) -> Card:
        """The card of a finished split of `size` bytes."""
        source = plan.source
        mean, std = source.statistics or self.mean_and_std()
        return Card(
            name=plan.name,
            format=plan.output.format,
            synthetic=source.synthetic,
            layout=source.layout,
            split=source.split,
            samples=self.stored,
            classes=list(source.classes),
            class_counts=dict(zip(source.classes, self.class_counts.tolist(), strict=True)),
            patients=[source.patient_names[index] for index in self.patients.tolist()],
            patient_ids=source.patient_ids,
            manifest_sha256=source.manifest_sha256,
            parameters=plan.parameters(),
            mean=mean,
            std=std,
            bytes=size,
            hashes=hashes,
            quarantined=source.quarantine(self.quarantined),
            unlabelled=source.unlabelled(),
            notes=source.notes,
            source_options=dict(source.options),
            versions={
                "fastrad": fastrad.__version__,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
        )


def add_up(journal: Journal) -> Totals:
    """The totals of a split whose chunks are all done.

    Raises
    ------
    InputError
        If not one image of the split could be stored.
    """
    plan = journal.plan
    totals = Totals(len(plan.source.classes), len(plan.source.patient_names))
    label, patient = plan.output.columns
    for index in range(plan.output.chunks):
        samples, _ = read_arrays(journal.record_path(index))
        totals.add(journal.finished_record(index), samples[label], samples[patient])
    if totals.stored == 0:
        row, reason = totals.quarantined[0]
        raise InputError(
            f"{plan.source.place}: none of the {len(plan.rows)} images of {plan.name} could be stored, so no file is "
            f"written; the first reason (row {row}): {reason}"
        )
    return totals
