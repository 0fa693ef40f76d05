"""What the chunks of a split add up to."""

from __future__ import annotations

import numpy as np

from fastrad.convert.record import ChunkRecord


class Totals:
    """What the chunks' records add up to.

    Parameters
    ----------
    classes, patients : int
        How many are planned.
    """

    def __init__(self, classes: int, patients: int) -> None:
        self.stored = self.value_sum = self.square_sum = self.pixels = self.made_square = self._levels = 0
        self.class_counts = np.zeros(classes, dtype=np.int64)
        self._seen = np.zeros(patients + 1, dtype=bool)  # the last one is what -1 (unknown) picks
        self.quarantined: list[tuple[int, str]] = []

    def add(self, record: ChunkRecord, labels: np.ndarray, patients: np.ndarray) -> None:
        """Add one chunk."""
        self.stored += record.stored
        self.value_sum += record.value_sum
        self.square_sum += record.square_sum
        self.pixels += record.pixels
        self.made_square += record.made_square
        self._levels |= int(record.gray_levels, 16)
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

    @property
    def gray_levels(self) -> int:
        """How many of the 256 gray levels were seen; 0 where no image was decoded."""
        return self._levels.bit_count()

    def mean_and_std(self) -> tuple[float, float]:
        """Of pixel / 255; population standard deviation, from exact integer sums."""
        mean = self.value_sum / self.pixels
        variance = (self.square_sum * self.pixels - self.value_sum**2) / self.pixels**2
        return mean / 255, max(variance, 0.0) ** 0.5 / 255
