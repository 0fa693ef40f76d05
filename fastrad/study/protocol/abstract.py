"""The conference abstract that the study repeats: its arms, its proportions, its figures, and whether they apply.

Vahdati, Khosravi, Rouzrokh, Erickson: 721 patients with thyroid nodules, 145 of them held out, ResNet-18 from three
starts. The journal's version: JACR 2024, doi 10.1016/j.jacr.2024.06.011, 101 test patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NETWORK = "resnet18"
LABELS = {"none": "No transfer", "imagenet": "ImageNet", "radimagenet": "RadImageNet"}
TEST_AUROC = {"none": 0.74, "imagenet": 0.80, "radimagenet": 0.84}
JOURNAL_TEST_AUROC = {"none": 0.69, "imagenet": 0.79, "radimagenet": 0.83}
TEST_FRACTION = 145 / 721
UNNAMED = "images that the file does not name"  # what trained weights that say nothing of it
THYROID_LAYOUTS = ("ddti", "tn3k", "tn5000", "thyroidxl", "aimi")  # archives of thyroid nodules and of nothing else


def is_thyroid(study: Mapping[str, Any]) -> bool:
    """Whether a study's images are thyroid nodules, benign or malignant: then the abstract's figures stand beside it.

    By the archive's layout, or because the user's title says so; generated images are none.

    Parameters
    ----------
    study : mapping
        `study.json`.
    """
    dataset = study["dataset"]
    about = dataset["layout"] in THYROID_LAYOUTS or "thyroid" in str(study.get("title") or "").lower()
    return about and dataset["positive"] == "malignant" and not study["synthetic"]


def published_arms(study: Mapping[str, Any]) -> frozenset[str]:
    """The arms of a study that the abstract's figures may stand beside.

    Where the images are thyroid nodules: those that bear an arm's name of the abstract, and those of whose weights
    nothing but the option that gave them is known. Weights that say they were made from other images have no figure;
    where the network is another than the abstract's, no arm has one.

    Parameters
    ----------
    study : mapping
        `study.json`.
    """
    if not is_thyroid(study) or study["arms"][0]["architecture"] != NETWORK:
        return frozenset()
    return frozenset(
        arm["name"]
        for arm in study["arms"]
        if arm["label"] == LABELS.get(arm["name"]) or arm.get("trained_on", UNNAMED) == UNNAMED
    )
