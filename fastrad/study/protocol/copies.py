"""Copies inside a study: patients who share an image stay together, and one image has one label.

What the audit looks for, without its page: identical pixels, and near copies, which hashes and codes suggest and
the correlation of the pixels confirms; and mirror images among these, which the audit leaves alone. Frames that show
next to nothing are nobody's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from fastrad.dataset import Dataset
from fastrad.dataset.copies import groups_of_pairs, near_copies
from fastrad.dataset.fingerprints import Fingerprints
from fastrad.errors import InputError

SAME_IMAGE = 0.99  # correlation from which a near copy under another label is a contradiction
_NAMED = 5
_LARGE = 0.1  # of the patients: a group of so many decides on the splits


@dataclass(frozen=True)
class Copies:
    """What was found; `images` were compared.

    Attributes
    ----------
    images, blank : int
        Compared, and among them those that show next to nothing.
    identical : int
        Groups of images with the same pixels.
    near : int
        Pairs of near copies.
    identical_across, near_across : int
        Of these, those that join patients.
    joined : int
        Patients who stay together with others.
    largest : int
        Patients in the largest group.
    """

    images: int
    blank: int
    identical: int
    near: int
    identical_across: int
    near_across: int
    joined: int
    largest: int

    def to_json(self) -> dict[str, int]:
        """For `study.json`."""
        return asdict(self)

    def notices(self, patients: int) -> list[str]:
        """What the reader must know, a line each."""
        lines = [
            f"all {self.images} images were compared with each other for copies; burned-in text was not read "
            "(`fastrad audit` does)"
        ]
        if self.identical_across:
            lines.append(
                f"{self.identical} groups of images have identical pixels, {self.identical_across} of them across "
                "patients: those patients stay on one side of every split"
            )
        if self.near_across:
            lines.append(
                f"{self.near} pairs of images are near copies, mirrored or not, {self.near_across} of them across "
                "patients: those patients stay on one side of every split"
            )
        if self.blank:
            lines.append(f"{self.blank} of {self.images} images show next to nothing; they join no patients")
        if self.joined and self.largest > max(_LARGE * patients, 2):
            lines.append(
                f"{self.largest} of {patients} patients are one group, by copies from one to the next: `fastrad audit` "
                "shows which images; a frame that many share, a title say, is better left out"
            )
        return lines


def find_copies(
    dataset: Dataset, digests: Sequence[bytes], fingerprints: Fingerprints, patient_of: NDArray[np.int64], patients: int
) -> tuple[NDArray[np.int64], Copies]:
    """The group of each patient, and what was found.

    Parameters
    ----------
    dataset : Dataset
    digests : sequence of bytes
        `pixel_digest` of each stored image.
    fingerprints : Fingerprints
        Of the stored images.
    patient_of : (images,) int64
    patients : int

    Raises
    ------
    InputError
        If one image stands under two labels.
    """
    shows = fingerprints.digests != 0
    same: dict[bytes, list[int]] = defaultdict(list)
    for image in np.flatnonzero(shows).tolist():
        same[digests[image]].append(image)
    identical = [images for images in same.values() if len(images) > 1]
    near = near_copies(dataset, fingerprints)
    chains = [(images[0], other) for images in identical for other in images[1:]]
    _refuse_two_labels(dataset, [*chains, *((i, j) for i, j, correlation in near if correlation >= SAME_IMAGE)])
    joined = np.array([*chains, *((i, j) for i, j, _ in near)], dtype=np.int64).reshape(-1, 2)
    groups = _groups(patient_of[joined], patients)
    sizes = np.bincount(groups, minlength=1)
    found = Copies(
        images=len(dataset),
        blank=int((~shows).sum()),
        identical=len(identical),
        near=len(near),
        identical_across=sum(len(set(patient_of[images].tolist())) > 1 for images in identical),
        near_across=int(sum(patient_of[i] != patient_of[j] for i, j, _ in near)),
        joined=int(sizes[sizes > 1].sum()),
        largest=int(sizes.max()),
    )
    return groups, found


def _groups(pairs: NDArray[np.int64], patients: int) -> NDArray[np.int64]:
    """Patients connected by pairs have one number, the least of theirs."""
    groups = np.arange(patients)
    for members in groups_of_pairs(pairs.tolist(), patients):
        groups[members] = members.min()
    return groups


def _refuse_two_labels(dataset: Dataset, pairs: Iterable[tuple[int, int]]) -> None:
    labels, rows, classes = dataset.labels, dataset.rows, dataset.card.classes
    found = sorted(
        {(int(rows[i]), int(rows[j]), int(labels[i]), int(labels[j])) for i, j in pairs if labels[i] != labels[j]}
    )
    if found:
        named = "; ".join(f"rows {i} ({classes[a]}) and {j} ({classes[b]})" for i, j, a, b in found[:_NAMED])
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise InputError(
            f"{dataset.path}: one image, mirrored or not, stands under two labels: {named}{more}; correct the "
            "archive's table, or leave these rows out, and convert again"
        )
