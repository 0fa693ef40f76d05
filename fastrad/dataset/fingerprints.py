"""`NAME.fingerprints`: what each image of a dataset is known by where its pixels are not at hand.

It lies beside a card, and beside weights that these images have trained or chosen; card and weights hold its SHA-256.
All that can be seen in it of an image is which of 32 x 32 cells are brighter than those around them.

The file, little endian: `fastrad\\0`, the version as uint32, four zero bytes, the numbers of images and of sketches as
uint64; the digest of each image (uint64; 0 where it shows next to nothing), then of each sketch the image that it is of
(uint32), its hash (uint64) and its code (16 uint64). An image has a sketch of the whole frame, and one without a dark
border where it has such.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastrad.dataset.base import Dataset
from fastrad.dataset.card import Card
from fastrad.dataset.tar.shards import card_path
from fastrad.errors import FormatError
from fastrad.system.files import new_file_beside, sync_folder, write_atomically
from fastrad.system.place import is_url
from fastrad.system.reading import open_regular

SUFFIX = ".fingerprints"
MAX_BYTES = 1 << 34  # of 55 million images
_MAGIC, _VERSION = b"fastrad\0", 1
_HEAD = struct.Struct("<8sIIQQ")
_CODE = 128  # bytes
_READ_AT_ONCE = 1 << 22  # bytes
_SKETCHES_AT_ONCE = 1 << 15
_SHOWN = 16  # digits of a hash in a name
WAVES_OF_AN_AXIS = 9  # the lowest frequencies of the cosine transform behind a hash
_BY_LENGTH = sorted((u * u + v * v, u, v) for u in range(WAVES_OF_AN_AXIS) for v in range(WAVES_OF_AN_AXIS) if u or v)
WAVES = tuple((u, v) for _, u, v in _BY_LENGTH[:64])  # down and across, of each bit of a hash from the lowest on


class Sketches(NamedTuple):
    """A stretch of sketches: `images` (n,) the image of each, `hashes` (n,) uint64, `codes` (n, 16) uint64."""

    images: np.ndarray
    hashes: np.ndarray
    codes: np.ndarray


class Fingerprints:
    """The fingerprints of many images, in memory or in a file that is read as somebody asks.

    Parameters
    ----------
    digests : (images,) uint64
    sketches : Sketches or Path
    """

    def __init__(self, digests: np.ndarray, sketches: Sketches | Path) -> None:
        self.digests, self._sketches = digests, sketches

    def __len__(self) -> int:
        return len(self.digests)

    @classmethod
    def of(cls, table: np.ndarray) -> Fingerprints:
        """Of an array of `pixels.FINGERPRINT`."""
        return cls(np.ascontiguousarray(table["digest"]), _sketches(table))

    def sketches(self) -> Iterator[Sketches]:
        """All sketches, in stretches."""
        if isinstance(self._sketches, Sketches):
            yield from (
                Sketches(*(column[at : at + _SKETCHES_AT_ONCE] for column in self._sketches))
                for at in range(0, len(self._sketches.images), _SKETCHES_AT_ONCE)
            )
            return
        with open(self._sketches, "rb") as file:
            _, _, _, images, count = _HEAD.unpack(file.read(_HEAD.size))
            begin = _HEAD.size + 8 * images
            for at in range(0, count, _SKETCHES_AT_ONCE):
                some = min(_SKETCHES_AT_ONCE, count - at)
                yield Sketches(
                    _column(file, begin + 4 * at, "<u4", some),
                    _column(file, begin + 4 * count + 8 * at, "<u8", some),
                    _column(file, begin + 12 * count + _CODE * at, "<u8", 16 * some).reshape(some, 16),
                )


def selected(fingerprints: Fingerprints, images: np.ndarray) -> bytes:
    """The file of some images' fingerprints.

    Parameters
    ----------
    fingerprints : Fingerprints
    images : (n,) int64
        Which, sorted.
    """
    place = np.full(len(fingerprints), -1, dtype=np.int64)
    place[images] = np.arange(len(images))
    parts = [Sketches(*(column[place[part.images] >= 0] for column in part)) for part in fingerprints.sketches()]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.empty(0)] * 3
    owners = place[columns[0].astype(np.int64)].astype("<u4")
    head = _HEAD.pack(_MAGIC, _VERSION, 0, len(images), len(owners))
    return b"".join(
        (head, fingerprints.digests[images].tobytes(), *(each.tobytes() for each in (owners, *columns[1:])))
    )


def _sketches(table: np.ndarray) -> Sketches:
    images, numbers = np.nonzero(np.arange(2) < table["sketches"][:, None])
    return Sketches(images.astype("<u4"), table["hash"][images, numbers], table["code"][images, numbers])


def _column(file: BinaryIO, position: int, kind: str, count: int) -> np.ndarray:
    file.seek(position)
    return np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind)


def to_bytes(table: np.ndarray) -> bytes:
    """The file of an array of `pixels.FINGERPRINT`."""
    sketches = _sketches(table)
    head = _HEAD.pack(_MAGIC, _VERSION, 0, len(table), len(sketches.images))
    return b"".join((head, table["digest"].tobytes(), *(column.tobytes() for column in sketches)))


def read_fingerprints(path: Path, sha256: str) -> Fingerprints:
    """Read a file and hold it against its hash.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    FormatError
        If it was cut or altered.
    """
    with open_regular(path, MAX_BYTES, "a file of fingerprints") as file:
        digest = hashlib.sha256()
        while content := file.read(_READ_AT_ONCE):
            digest.update(content)
        if digest.hexdigest() != sha256:
            raise FormatError(
                f"{path}: was cut or altered (its hash is not the one that card or weights hold); copy it again"
            )
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(_HEAD.size)
        known = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, 0, 0, 0)
        magic, version, _, images, count = known
        if (magic, version) != (_MAGIC, _VERSION) or size != _HEAD.size + 8 * images + (12 + _CODE) * count:
            raise FormatError(f"{path}: holds no fingerprints of version {_VERSION}; convert the archive again")
        return Fingerprints(_column(file, _HEAD.size, "<u8", images), path)


@dataclass(frozen=True)
class SeenImages:
    """What weights say of a dataset that trained or chose them.

    Attributes
    ----------
    dataset : str
        Its name for a reader, "train" say.
    images : int
        How many.
    sha256 : str
        Of the file with their fingerprints; "" where there was none.
    """

    dataset: str
    images: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Of the file beside weights: by its content, so that weights may share it and none replaces another's."""
        return f"seen-{self.sha256[:_SHOWN]}{SUFFIX}"

    def to_json(self) -> dict[str, Any]:
        """As weights hold it."""
        return asdict(self)

    @classmethod
    def from_json(cls, about: Any) -> SeenImages | None:
        """Out of weights' metadata; None where it is nothing that was written there."""
        if not isinstance(about, dict):
            return None
        dataset, images, sha256 = (about.get(name) for name in ("dataset", "images", "sha256"))
        if not isinstance(dataset, str) or type(images) is not int or not isinstance(sha256, str):
            return None
        return cls(dataset, images, sha256) if not sha256 or _is_sha256(sha256) else None


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def fingerprints_path(dataset: Path | str) -> str:
    """The file beside the card of a dataset, a path or a URL, by the dataset's own, its card's or one of its tars."""
    return card_path(dataset).removesuffix(".card.json") + SUFFIX


def own_file(dataset: Path | str, card: Card) -> Path | None:
    """Where the fingerprints of a dataset's sources are; None where it has none, or they lie afar."""
    path = fingerprints_path(dataset)
    return Path(path) if card.fingerprints and not is_url(path) and Path(path).is_file() else None


def read_own(dataset: Dataset) -> Fingerprints | None:
    """The fingerprints of a dataset's sources, in its order; None where they are not at hand.

    Raises
    ------
    FormatError
        If the file was cut or altered.
    """
    path = own_file(dataset.path, dataset.card)
    if path is None:
        return None
    found = read_fingerprints(path, dataset.card.fingerprints["sha256"])
    if len(found) != len(dataset):
        raise FormatError(f"{path}: is of {len(found)} images, the dataset has {len(dataset)}; convert again")
    return found


def write_beside(content: bytes, dataset: str, images: int, folder: Path) -> SeenImages:
    """Write a file of fingerprints beside weights, unless it is there, and return what the weights say of it."""
    seen = SeenImages(dataset, images, hashlib.sha256(content).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / seen.file_name).is_file():
        write_atomically(folder / seen.file_name, content)
    return seen


def hand_on(source: Path, seen: SeenImages, folder: Path) -> None:
    """Copy a file of fingerprints beside weights, unless it is there; whole or not at all."""
    target = folder / seen.file_name
    if target.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as content, new_file_beside(target) as (file, temporary):
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, target)
    sync_folder(folder)
