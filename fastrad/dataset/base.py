"""`Dataset`: what every opened dataset has, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from fastrad.dataset.card import Card


class Dataset(ABC):
    """An opened dataset: opened once by `open_dataset`, then passed on.

    Opening compares what it reads with the card; an image is compared with its checksum by `check`. What depends on a
    worker process opens its own by `reopened`.

    Attributes
    ----------
    path : Path or str
        Of the file; of the card for shards, which may be a URL.
    card : Card
    encoding : str
        "raw", "jpeg" or "png".
    height, width : int
        Of every stored image, in pixels.
    """

    path: Path | str
    card: Card
    encoding: str
    height: int
    width: int

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of every stored image, in pixels."""
        return self.height, self.width

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @property
    @abstractmethod
    def labels(self) -> np.ndarray:
        """Class indices, int64, shape (len(self),)."""

    @property
    @abstractmethod
    def patients(self) -> np.ndarray:
        """Indices into `card.patients`, -1 where unknown; int64, shape (len(self),)."""

    @property
    @abstractmethod
    def rows(self) -> np.ndarray:
        """Manifest rows, int64, shape (len(self),)."""

    @property
    @abstractmethod
    def sizes(self) -> np.ndarray:
        """Length of each sample's stored image in bytes, integers, shape (len(self),)."""

    @abstractmethod
    def image_bytes(self, index: int) -> np.ndarray:
        """The stored bytes of one sample, uint8."""

    @abstractmethod
    def check(self, index: int) -> None:
        """Compare one sample with its checksum.

        Raises
        ------
        DamagedSampleError
            If they differ.
        """

    @abstractmethod
    def decode(self, index: int) -> np.ndarray:
        """One stored image, uint8, shape (height, width).

        Raises
        ------
        DamagedSampleError
            If it cannot be decoded to that shape.
        """
