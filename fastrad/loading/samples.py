"""The stored bytes of a dataset's samples, of a `.beton` file or of WebDataset shards.

In: positions, in any order. Out: bytes that were compared with their checksums, and labels. A sample is read by its
position in the file or tar, through a descriptor: no order is better than another where the page cache holds the data.
"""

from __future__ import annotations

import mmap
import os
import weakref
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

from fastrad.dataset import BetonFile, Card, Dataset
from fastrad.dataset.opening import open_dataset
from fastrad.dataset.tar.shards import Facts, ShardSet, facts_of
from fastrad.errors import DamagedSampleError, InputError
from fastrad.system.memory import available_memory
from fastrad.system.place import is_url

_CACHE_SHARE = 0.8  # of the available memory: a larger file is read ahead of the permutation


def open_samples(dataset: Path | str | Dataset, verify: str) -> Samples:
    """The samples of an opened dataset; or open a `.beton` file, or shards by their card or one of their tars.

    Parameters
    ----------
    verify : str
        "first" compares a sample's checksum when it is first touched, "always" each time, "never" not at all.

    Raises
    ------
    InputError
        If there is no such file, or it is not on this machine.
    FormatError
        If it is not a dataset file, or was cut or altered.
    """
    if isinstance(dataset, Path | str):
        if is_url(dataset):
            raise InputError(f"{dataset}: the loader reads local files only; copy the dataset to this machine")
        dataset = open_dataset(dataset)
    if isinstance(dataset, BetonFile):
        return BetonSamples(dataset, verify)
    assert isinstance(dataset, ShardSet)
    return ShardSamples(dataset, verify)


class Samples(Protocol):
    """The stored bytes of a dataset's samples, compared with their checksums; used by several threads at once.

    Attributes
    ----------
    path : Path
        What the loader was given.
    card : Card
    count : int
    encoding : str
        "raw", "jpeg" or "png".
    frame : tuple of two int
        Height and width of the stored frames, pixels.
    rows : np.ndarray
        Manifest row of each position, int64.
    """

    path: Path
    card: Card
    count: int
    encoding: str
    frame: tuple[int, int]
    rows: np.ndarray

    def labels(self, positions: np.ndarray) -> np.ndarray:
        """Class indices of samples that were read before, int64."""
        ...

    def all_labels(self) -> np.ndarray:
        """The class index of each position, int64."""
        ...

    def announce(self, positions: np.ndarray) -> None:
        """Start reading samples that will be asked for soon, where the page cache can't hold them all."""
        ...

    def read(self, position: int) -> np.ndarray:
        """One sample's stored bytes, uint8, compared with its checksum where that is due.

        Raises
        ------
        DamagedSampleError
            If the file ends too early or the checksum differs.
        OSError
            If the file cannot be read.
        """
        ...

    def damaged(self, position: int, reason: str) -> DamagedSampleError:
        """The error for a damaged sample."""
        ...


class BetonSamples:
    """`Samples` of a `.beton` file.

    Reads through a descriptor instead of the memory map: a file that is cut short while open then gives a short
    read, where touching the map would kill the process.

    Parameters
    ----------
    file : BetonFile
        The dataset file.
    verify : str
        "first" compares a sample's checksum when it is first touched, "always" each time, "never" not at all.
    """

    def __init__(self, file: BetonFile, verify: str) -> None:
        self.file = file
        self.path, self.card, self.count = Path(file.path), file.card, file.num_samples
        self.encoding, self.frame, self.rows = file.encoding, (file.height, file.width), file.rows
        self.descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self.reads_ahead = file.card.bytes > _CACHE_SHARE * available_memory()
        if self.reads_ahead:  # the kernel's guess that a reader goes on where it is would read what nobody asked for
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        _release_mapping(file)
        self._always = verify == "always"
        self._unchecked = np.full(file.num_samples, verify != "never")

    def labels(self, positions: np.ndarray) -> np.ndarray:
        """Class indices, int64."""
        return self.file.labels[positions]

    def all_labels(self) -> np.ndarray:
        """The class index of each position, int64."""
        return self.file.labels

    def announce(self, positions: np.ndarray) -> None:
        """Start reading samples that will be asked for soon."""
        if self.reads_ahead:
            for start, size in zip(self.file.offsets[positions], self.file.sizes[positions], strict=True):
                os.posix_fadvise(self.descriptor, int(start), int(size), os.POSIX_FADV_WILLNEED)

    def unchecked(self, positions: np.ndarray) -> np.ndarray:
        """Which of the positions are still to be compared with their checksums, bool."""
        return self._unchecked[positions]

    def read(self, position: int) -> np.ndarray:
        """One sample's stored bytes, uint8; raises `DamagedSampleError`, or `OSError`."""
        size = int(self.file.sizes[position])
        stored = os.pread(self.descriptor, size, int(self.file.offsets[position]))
        if len(stored) < size:
            length = os.fstat(self.descriptor).st_size
            raise self.damaged(position, f"the file now ends at byte {length}, before the sample does")
        if self._unchecked[position]:
            if zlib.crc32(stored) != self.file.crc32[position]:
                raise self.damaged(position, "its checksum differs")
            self._unchecked[position] = self._always
        return np.frombuffer(stored, dtype=np.uint8)

    def damaged(self, position: int, reason: str) -> DamagedSampleError:
        """The error for a damaged sample."""
        return DamagedSampleError(str(self.file.path), int(self.file.rows[position]), reason)


class ShardSamples:
    """`Samples` of WebDataset shards: one read takes a sample's image and its `.json`, which has label and checksum.

    Parameters
    ----------
    file : ShardSet
        The shards, local ones.
    verify : str
        As for `open_samples`.

    Raises
    ------
    InputError
        If there are more shards than this process may open files.
    """

    def __init__(self, file: ShardSet, verify: str) -> None:
        self.file = file
        self.path, self.card, self.count = Path(file.path), file.card, len(file)
        self.encoding, self.frame, self.rows = file.encoding, (file.height, file.width), file.rows
        self._where = file.samples.where
        self._names = [file.place.path(name) for name in file.samples.names]
        self._descriptors: list[int] = []
        weakref.finalize(self, _close_all, self._descriptors)
        for name in self._names:
            try:
                self._descriptors.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                raise InputError(f"{name}: {error.strerror}; with very many shards raise `ulimit -n`") from None
        self.reads_ahead = file.card.bytes > _CACHE_SHARE * available_memory()
        self._class_of = {name: index for index, name in enumerate(file.card.classes)}
        self._labels = np.full(self.count, -1)
        self._always = verify == "always"
        self._unchecked = np.full(self.count, verify != "never")

    def labels(self, positions: np.ndarray) -> np.ndarray:
        """Class indices of samples that were read before, int64."""
        return self._labels[positions]

    def all_labels(self) -> np.ndarray:
        """The class index of each position, int64; this reads every sample's `.json`."""
        for position in np.flatnonzero(self._labels < 0).tolist():
            _, tar, _, _, about, size = self._where[position].tolist()
            text = self._pread(position, tar, about, size)
            self._labels[position] = self._label(position, self._facts(position, text))
        return self._labels

    def announce(self, positions: np.ndarray) -> None:
        """Start reading samples that will be asked for soon."""
        if self.reads_ahead:
            for _, tar, image, _, about, size in self._where[positions].tolist():
                os.posix_fadvise(self._descriptors[tar], image, about + size - image, os.POSIX_FADV_WILLNEED)

    def read(self, position: int) -> np.ndarray:
        """One sample's stored bytes, uint8; raises `DamagedSampleError`, or `OSError`."""
        _, tar, image, length, about, size = self._where[position].tolist()
        stored = self._pread(position, tar, image, about + size - image)
        if self._unchecked[position] or self._labels[position] < 0:
            facts = self._facts(position, stored[about - image :])
            if self._unchecked[position] and zlib.crc32(stored[:length]) != facts.crc32:
                raise self.damaged(position, "its checksum differs")
            self._labels[position] = self._label(position, facts)
            self._unchecked[position] &= self._always
        return np.frombuffer(stored, dtype=np.uint8, count=length)

    def damaged(self, position: int, reason: str) -> DamagedSampleError:
        """The error for a damaged sample."""
        name = self._names[self._where["tar"][position]]
        return DamagedSampleError(name, int(self.rows[position]), reason)

    def _pread(self, position: int, tar: int, start: int, size: int) -> bytes:
        stored = os.pread(self._descriptors[tar], size, start)
        if len(stored) < size:
            length = os.fstat(self._descriptors[tar]).st_size
            raise self.damaged(position, f"the file now ends at byte {length}, before the sample does")
        return stored

    def _facts(self, position: int, text: bytes) -> Facts:
        """What the `.json` says, of this row."""
        facts = facts_of(text, int(self.rows[position]))
        if facts is None:
            raise self.damaged(position, "its .json is damaged, or another row's")
        return facts

    def _label(self, position: int, facts: Facts) -> int:
        if facts.label not in self._class_of:
            raise self.damaged(position, "its label is no class of the card")
        return self._class_of[facts.label]


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _release_mapping(file: BetonFile) -> None:
    """Take the columns into memory, once, and let go of the mapped pages: 76 MB for 1.35 million samples."""
    for column in (file.offsets, file.sizes, file.labels, file.rows, file.crc32):
        assert len(column) == file.num_samples
    mapping: mmap.mmap = file.data._mmap  # type: ignore[attr-defined]
    mapping.madvise(mmap.MADV_DONTNEED)
