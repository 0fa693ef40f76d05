"""The classes of the radiology archive: which body part and finding is drawn by what.

In: a class and a generator. Out: a uint8 picture. The classes are named as RadImageNet's are: CT and MR by anatomy
and pathology, ultrasound by organ alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastrad.phantom import thyroid, tomography
from fastrad.phantom.organs import ORGANS, organ_picture

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _thyroid(rng: np.random.Generator, size: int) -> np.ndarray:
    """A neck with a nodule of any kind in three of four pictures; benign and malignant share the class."""
    if rng.random() < 0.25:
        return thyroid.normal_picture(rng, size)
    patient = int(rng.integers(1 << 31))
    number = int(rng.integers(3))
    nodule = thyroid.draw_nodule(_OTHER_PATIENTS, patient)
    return thyroid.nodule_picture(nodule, _OTHER_PATIENTS, patient, number, size)


_OTHER_PATIENTS = 1 << 40  # a seed out of the reach of the thyroid archives', so that no patient is in both


def _organ(organ: str) -> Draw:
    return lambda rng, size: organ_picture(organ, rng, size)


# folder below radiology_ai/ -> label in the CSV files, how it is drawn
CLASSES: dict[str, tuple[str, Draw]] = {
    "CT/abd/normal": ("abd_normal", lambda rng, size: tomography.ct_abdomen(rng, size, False)),
    "CT/abd/liver_lesion": ("liver_lesion", lambda rng, size: tomography.ct_abdomen(rng, size, True)),
    "CT/lung/normal": ("lung_normal", lambda rng, size: tomography.ct_lung(rng, size, False)),
    "CT/lung/Nodule": ("lung_nodule", lambda rng, size: tomography.ct_lung(rng, size, True)),
    "CT/head/normal": ("head_normal", lambda rng, size: tomography.ct_head(rng, size, False)),
    "CT/head/hemorrhage": ("head_hemorrhage", lambda rng, size: tomography.ct_head(rng, size, True)),
    "MR/brain/normal": ("brain_normal", lambda rng, size: tomography.mr_brain(rng, size, False)),
    "MR/brain/lesion": ("brain_lesion", lambda rng, size: tomography.mr_brain(rng, size, True)),
    "MR/knee/normal": ("knee_normal", lambda rng, size: tomography.mr_knee(rng, size, False)),
    "MR/knee/effusion": ("knee_effusion", lambda rng, size: tomography.mr_knee(rng, size, True)),
    "US/thyroid": ("usn_thyroid", _thyroid),
    **{f"US/{organ}": (f"usn_{organ}", _organ(organ)) for organ in ORGANS},
}
