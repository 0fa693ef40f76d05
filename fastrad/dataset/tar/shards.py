"""Reads converted WebDataset shards: any sample of them, by the index beside each tar. numpy and the standard library.

Opening compares the indexes with their hashes and the tars with their sizes; a sample is
compared with its CRC32 when it is read; all of a tar only `fastrad verify` compares.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np

from fastrad.dataset.base import Dataset
from fastrad.dataset.card import MAX_CARD_BYTES, Card
from fastrad.dataset.tar.layout import read_index
from fastrad.errors import DamagedSampleError, FormatError, InputError
from fastrad.system.json_file import Count, Word
from fastrad.system.place import Place

_TAR = re.compile(r"-\d{6}\.tar$")

MAX_INDEX_BYTES = 1 << 30  # of ten million samples


class Facts(msgspec.Struct, frozen=True):
    """What a sample's `.json` says: of its image the place that is not padding (top, left, height, width), and CRC32.

    `patient` is None where it is unknown.
    """

    row: Count
    label: Word
    patient: Word | None
    content: tuple[Count, Count, Count, Count]
    crc32: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]


_read_facts = msgspec.json.Decoder(Facts).decode


def facts_of(text: bytes | memoryview, row: int) -> Facts | None:
    """What a sample's `.json` says; None where it is damaged, or of another row."""
    try:
        facts = _read_facts(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return facts if facts.row == row else None


class TarSamples:
    """Samples in the tars of one folder; it can be sent to another process.

    Parameters
    ----------
    place : str
        The folder or URL.
    names : sequence of str
        The tars.
    where : numpy.ndarray
        `WHERE`, one a sample.
    """

    def __init__(self, place: str, names: tuple[str, ...], where: np.ndarray) -> None:
        self.place, self.names, self.where = place, names, where
        self._open: tuple[int, int, BinaryIO] | None = None  # process, tar

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def __len__(self) -> int:
        return len(self.where)

    @property
    def rows(self) -> np.ndarray:
        """Manifest rows, int64."""
        return self.where["row"]

    def select(self, positions: np.ndarray | slice) -> TarSamples:
        """Some of the samples."""
        return TarSamples(self.place, self.names, self.where[positions])

    def tar(self, index: int) -> str:
        """The name of the tar that a sample is in."""
        return self.names[self.where["tar"][index]]

    def read(self, index: int) -> tuple[np.ndarray, Facts]:
        """One sample: its image's bytes (uint8), and what is stored beside it.

        Raises
        ------
        DamagedSampleError
            If they contradict each other or the index.
        """
        _, tar, image, image_size, about, about_size = self.where[index].tolist()
        file = self._file(tar)
        file.seek(image)
        members = memoryview(file.read(about + about_size - image))
        return self.parse(index, members[:image_size], members[about - image :])

    def about(self, index: int) -> Facts:
        """What is stored beside one image, as of `read`, without the image."""
        _, tar, _, _, about, about_size = self.where[index].tolist()
        file = self._file(tar)
        file.seek(about)
        return self._facts(index, file.read(about_size))

    def parse(self, index: int, image: bytes | memoryview, about: bytes | memoryview) -> tuple[np.ndarray, Facts]:
        """As `read`, of bytes that are at hand already."""
        facts = self._facts(index, about)
        if zlib.crc32(image) != facts.crc32:
            raise self.damaged(index, "its checksum differs")
        return np.frombuffer(image, np.uint8), facts

    def _facts(self, index: int, about: bytes | memoryview) -> Facts:
        facts = facts_of(about, int(self.where["row"][index]))
        if facts is None:
            raise self.damaged(index, "its .json is damaged, or another row's")
        return facts

    def image_bytes(self, index: int) -> np.ndarray:
        """The stored image of one sample, compared with its checksum."""
        return self.read(index)[0]

    def damaged(self, index: int, reason: str) -> DamagedSampleError:
        """The error that names a sample."""
        return DamagedSampleError(f"{self.place}/{self.tar(index)}", int(self.where["row"][index]), reason)

    def _file(self, tar: int) -> BinaryIO:
        process = os.getpid()  # a file that a fork took over would be read from two places at once
        if self._open is None or self._open[:2] != (process, tar):
            if self._open is not None:
                self._open[2].close()
            self._open = process, tar, Place(self.place).open(self.names[tar])
        return self._open[2]


class ShardSet(Dataset):
    """The WebDataset shards of one split, opened for reading.

    Parameters
    ----------
    path : Path or str
        Their card, `NAME.card.json`, or one of the tars; a path or a URL.

    Attributes
    ----------
    path : str
        Of the card.
    place : Place
        The folder.
    card : Card
    samples : TarSamples
    encoding : str
        "png" or "jpeg".
    height, width : int
        Of every stored image, in pixels.

    Raises
    ------
    InputError
        If there is no such file.
    FormatError
        If it is no card of shards, or a tar or an index is missing, cut or altered.
    """

    path: str

    def __init__(self, path: Path | str, transform: Callable[[np.ndarray], Any] | None = None) -> None:
        super().__init__(card_path(path), transform)
        folder, _, name = self.path.rpartition("/")
        self.place = Place(folder or ".")
        text = self.place.read(name, MAX_CARD_BYTES)
        if text is None:
            raise InputError(f"{self.path}: there is no such file; `fastrad convert --format webdataset` makes one")
        self.card = Card.from_bytes(text, self.path)
        if self.card.format != "webdataset":
            raise FormatError(f"{self.path}: is not the card of WebDataset shards")
        shards = self.card.hashes["shards"]
        where = [self._read_index(number, shard) for number, shard in enumerate(shards)]
        names = tuple(shard["name"] for shard in shards)
        self.samples = TarSamples(str(self.place), names, np.concatenate(where))
        self.encoding = self.card.parameters["encode"]
        self.height = self.width = int(self.card.parameters["size"])

    def _read_index(self, number: int, shard: dict[str, Any]) -> np.ndarray:
        tar, index = shard["name"], shard["name"][: -len("tar")] + "idx"
        size, text = self.place.size(tar), self.place.read(index, MAX_INDEX_BYTES)
        if size is None or text is None:
            raise FormatError(f"{self.place.path(tar if size is None else index)}: is missing; copy it again")
        if size != shard["bytes"]:
            raise FormatError(
                f"{self.place.path(tar)}: has {size} bytes where its card says {shard['bytes']}: cut short or altered; "
                "copy it again, or convert again"
            )
        if hashlib.sha256(text).hexdigest() != shard["index_sha256"]:
            raise FormatError(f"{self.place.path(index)}: was altered; copy it again, or convert again")
        return read_index(text, number, name=self.place.path(index), size=size, samples=shard["samples"])

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def rows(self) -> np.ndarray:
        """Manifest rows, int64, shape (len(self),)."""
        return self.samples.rows

    @property
    def sizes(self) -> np.ndarray:
        """Length of each sample's image in bytes, int64, shape (len(self),)."""
        return self.samples.where["image_size"]

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, int64, shape (len(self),); the first call reads the `.json` of every sample."""
        return self._stored_beside[0]

    @cached_property
    def patients(self) -> np.ndarray:
        """Indices into `card.patients`, -1 where unknown, int64; the first call reads the `.json` of every sample."""
        return self._stored_beside[1]

    @cached_property
    def _stored_beside(self) -> tuple[np.ndarray, np.ndarray]:
        labels = {name: index for index, name in enumerate(self.card.classes)}
        patients = {None: -1} | {name: index for index, name in enumerate(self.card.patients)}
        columns = np.empty((2, len(self)), dtype=np.int64)
        for index in range(len(self)):
            facts = self.samples.about(index)
            if facts.label not in labels or facts.patient not in patients:
                raise self.samples.damaged(index, "its label or patient is not in the card")
            columns[:, index] = labels[facts.label], patients[facts.patient]
        columns.setflags(write=False)
        return columns[0], columns[1]

    def image_bytes(self, index: int) -> np.ndarray:
        """The stored bytes of one sample, uint8, compared with their checksum."""
        return self.samples.image_bytes(index)

    def check(self, index: int) -> None:
        """Compare one sample with its checksum; raises `DamagedSampleError`."""
        self.samples.read(index)

    def decode(self, index: int) -> np.ndarray:
        """One stored image, uint8, shape (height, width).

        Raises
        ------
        DamagedSampleError
            If its checksum differs, or it cannot be decoded to that shape.
        """
        import cv2

        image = cv2.imdecode(self.samples.image_bytes(index), cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != (self.height, self.width):
            raise self.samples.damaged(index, "its image cannot be decoded")
        return image


def card_path(path: Path | str) -> str:
    """The card that a dataset file or tar belongs to; a card's own path stays."""
    return re.sub(r"\.beton$", ".card.json", _TAR.sub(".card.json", str(path)))


def is_tar(path: Path | str) -> bool:
    """Whether this is the name of a converted tar."""
    return _TAR.search(str(path)) is not None
