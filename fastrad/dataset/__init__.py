"""Datasets: FFCV `.beton` files with one-channel images, WebDataset shards, and the card that describes them.

    opening.py    finds and opens them, whatever their format
    base.py       `Dataset`, what each of them has when it is open
    card.py       the card
    pixels.py     what "the same image" means
    pseudonym.py  what is stored of a patient's id
    inspect.py    a dataset for the eye
    beton/, tar/  the formats

`GrayscaleImageField` is imported on first use, because FFCV takes seconds to import and is optional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastrad.dataset.base import Dataset
from fastrad.dataset.beton.file import BetonFile
from fastrad.dataset.beton.writer import write_beton
from fastrad.dataset.card import Card

if TYPE_CHECKING:
    from fastrad.dataset.beton.field import GrayscaleImageField

__all__ = ["BetonFile", "Card", "Dataset", "GrayscaleImageField", "write_beton"]


def __getattr__(name: str) -> object:
    if name == "GrayscaleImageField":
        from fastrad.dataset.beton.field import GrayscaleImageField

        return GrayscaleImageField
    raise AttributeError(f"module 'fastrad.dataset' has no attribute {name!r}")
