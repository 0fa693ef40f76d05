"""The conference abstract that the study repeats: its arms, its proportions, its figures.

Vahdati, Khosravi, Rouzrokh, Erickson: 721 patients with thyroid nodules, 145 of them held out, ResNet-18 from three
starts.
"""

from __future__ import annotations

LABELS = {"none": "No transfer", "imagenet": "ImageNet", "radimagenet": "RadImageNet"}
TEST_AUROC = {"none": 0.74, "imagenet": 0.80, "radimagenet": 0.84}
TEST_FRACTION = 145 / 721
