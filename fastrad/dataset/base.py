"""`Dataset`: what every opened dataset has, whatever its format."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fastrad.dataset.card import Card


class Dataset(ABC):
    """An opened dataset: opened once, by `Dataset(path)` or `open_dataset(path)`, then passed on.

    Opening compares what it reads with the card; an image is compared with its checksum by `check`. What depends on a
    worker process opens its own by `reopened`.

    It is also a map-style dataset for `torch.utils.data.DataLoader`, shuffled, sampled and batched there: `dataset[i]`
    is (image, label, row), and PyTorch's default collation takes it.

    Parameters
    ----------
    path : Path or str
        A `.beton` file, the card of shards, or one of their tars.
    transform : callable, optional
        From a stored image, uint8 (height, width), to what stands in its place in `dataset[i]`.

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
    transform: Callable[[np.ndarray], Any] | None

    # which class opens a path; `opening` says it, since a format knows this module and not the other way round
    class_for: ClassVar[Callable[[Path | str], type[Dataset]]]

    def __new__(cls, path: Path | str, transform: Callable[[np.ndarray], Any] | None = None) -> Dataset:
        return super().__new__(Dataset.class_for(path) if cls is Dataset else cls)

    def __init__(self, path: Path | str, transform: Callable[[np.ndarray], Any] | None = None) -> None:
        self.path, self.transform = path, transform

    def __reduce__(self) -> tuple[type[Dataset], tuple[Any, ...]]:
        # another process opens the file itself: mapped bytes would be copied, and open files shared
        return type(self), (self.path, self.transform)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        """One sample, compared with its checksum.

        Returns
        -------
        (image, label, row)
            The image uint8, (1, height, width), the caller's own, or what `transform` makes of (height, width); the
            class index; the manifest row.

        Raises
        ------
        IndexError
            If there is no such sample.
        DamagedSampleError
            If it is damaged.
        """
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{self.path}: holds {len(self)} samples, and none is number {place}")
        place %= len(self)
        self.check(place)
        image = np.array(self.decode(place))
        shown = image[None] if self.transform is None else self.transform(image)
        return shown, int(self.labels[place]), int(self.rows[place])

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
