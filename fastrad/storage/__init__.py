"""Dataset formats: FFCV `.beton` files with one-channel images, WebDataset shards, and the card that describes them.

`GrayscaleImageField` is imported on first use, because FFCV takes seconds to import and is optional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastrad.storage.beton import BetonFile
from fastrad.storage.card import Card
from fastrad.storage.writer import write_beton

if TYPE_CHECKING:
    from fastrad.storage.field import GrayscaleImageField

__all__ = ["BetonFile", "Card", "GrayscaleImageField", "write_beton"]


def __getattr__(name: str) -> object:
    if name == "GrayscaleImageField":
        from fastrad.storage.field import GrayscaleImageField

        return GrayscaleImageField
    raise AttributeError(f"module 'fastrad.storage' has no attribute {name!r}")
