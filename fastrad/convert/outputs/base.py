"""What formats share: the data file of a chunk, and the contract `Output`."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from fastrad.convert.destination import Destination
from fastrad.convert.folder import WorkFolder
from fastrad.convert.sample import Encoded, ImageOptions, Sample
from fastrad.convert.totals import Totals
from fastrad.dataset.card import Card
from fastrad.errors import InputError

ROWS_A_CHUNK = 2048  # about a second of decoding: little is lost by a crash, and the journal stays small
_FEW_ROWS, _MANY_CHUNKS = 256, 32
_WRITTEN_AT_ONCE = 1 << 17  # bytes; to hold more costs page faults at every image
_PIECES = 512  # Linux takes 1024 in one call


def rows_a_chunk(count: int) -> int:
    """Images a chunk of a split of `count`: fewer in small ones, so that all workers end at about the same time."""
    return min(ROWS_A_CHUNK, max(_FEW_ROWS, -(-count // _MANY_CHUNKS)))


class DataFile:
    """A chunk's data file, open for writing at a position. What is appended is held until there is enough of it.

    It follows no link: what stands under its name in the work folder is ours, or nothing is written.
    """

    def __init__(self, path: str, position: int) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self.position = position  # with what is held
        self._held: list[memoryview] = []
        self._bytes_held = 0

    def append(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        self._held.append(view)
        self._bytes_held += len(view)
        self.position += len(view)
        if self._bytes_held >= _WRITTEN_AT_ONCE or len(self._held) >= _PIECES:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        while self._bytes_held:
            with naming(self.path):
                written = _some(os.pwritev(self.descriptor, self._held, self.position - self._bytes_held))
            self._bytes_held -= written
            while self._held and written >= len(self._held[0]):
                written -= len(self._held.pop(0))
            if written:
                self._held[0] = self._held[0][written:]

    def truncate(self) -> None:
        """Cut off what an earlier attempt left behind the end."""
        self.flush()
        with naming(self.path):
            os.ftruncate(self.descriptor, self.position)

    def close(self, sync: bool) -> None:
        try:
            self.flush()
            if sync:
                with naming(self.path):
                    os.fdatasync(self.descriptor)
        finally:
            os.close(self.descriptor)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Let a failing system call on a descriptor say which file it was about."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_whole(descriptor: int, content: bytes, position: int) -> int:
    """Write all of `content` at `position`, however little a call takes; return where it ends."""
    view = memoryview(content)
    while view:
        written = _some(os.pwrite(descriptor, view, position))
        view, position = view[written:], position + written
    return position


def too_short(part: Path | str, folder: Path) -> InputError:
    """What to say of a file in the work folder that holds less than was noted of it."""
    return InputError(
        f"{part}: is shorter than its record says; choose another OUT_DIR, or move {folder} away to start anew"
    )


def _some(written: int) -> int:
    """A count of written bytes; none at all would be asked for again for ever."""
    if written <= 0:
        raise OSError(errno.EIO, "a write took no byte")
    return written


class Sink(Protocol):
    """Takes a chunk's encoded images, one after another.

    Attributes
    ----------
    hashes : list of str
        What `Output.is_whole` compares: SHA-256 of each finished page, or of a stretch of a tar its CRC-32.
    """

    hashes: list[str]

    def store(self, encoded: Encoded, sample: Sample) -> None:
        """Store one image."""

    def records(self) -> np.ndarray:
        """One record per stored image, with the fields that `Output.columns` names among its own."""

    def close(self, finished: bool, sync: bool) -> None:
        """Write what is held; `finished` says that the chunk is whole, `sync` to wait for the disk."""


@dataclass(frozen=True)
class DoneSplit:
    """A split whose chunks are all done.

    Attributes
    ----------
    name : str
    work : WorkFolder
        The chunks.
    totals : Totals
        What they add up to.
    make_card : callable
        From the card's `hashes` and the files' size in bytes to the card.
    """

    name: str
    work: WorkFolder
    totals: Totals
    make_card: Callable[[dict[str, Any], int], Card]


@dataclass(frozen=True)
class Output(ABC):
    """How one split is stored in one format; small, as it is sent to workers.

    Attributes
    ----------
    rows : int
        Images that are planned.
    image : ImageOptions
    chunk_rows : int
        Images a chunk.
    format : str
        The format's name.
    encodings : tuple of str
        How it stores images; the first is the default.
    columns : (str, str)
        What its records call class and patient index.
    takes_url : bool
        Whether it can be written to a URL.
    """

    rows: int
    image: ImageOptions
    chunk_rows: int

    format: ClassVar[str]
    encodings: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[str, str]]
    takes_url: ClassVar[bool]

    @classmethod
    @abstractmethod
    def plan(cls, rows: int, image: ImageOptions, shard_bytes: int) -> Self:
        """How a split of `rows` images is stored; follows from the arguments alone."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.rows // self.chunk_rows)

    def chunk_size(self, index: int) -> int:
        """Number of images in chunk `index`."""
        return min(self.chunk_rows, self.rows - index * self.chunk_rows)

    @property
    def in_place(self) -> bool:
        """Whether chunks are written where they stay, in one file of known size; else each into a file of its own."""
        return False

    @property
    @abstractmethod
    def estimated_bytes(self) -> int:
        """Size of what is written: exact where `in_place`, else a cautious guess."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What the card says of the format among its parameters."""

    @abstractmethod
    def sink(self, index: int, data: str) -> Sink:
        """Where a worker puts the images of chunk `index`; `data` is the file that gets them."""

    def is_whole(self, index: int, data: Path, hashes: list[str]) -> bool:
        """Whether the images of chunk `index`, in `data`, are those whose `Sink.hashes` these are; what a format cannot
        prove is converted again."""
        return False

    @abstractmethod
    def finish(self, split: DoneSplit, destination: Destination) -> Card:
        """Make the files of a split and put them in place; return their card."""

    @abstractmethod
    def last_file(self, name: str) -> str:
        """The file that is put in place last: where it exists, the split called `name` is complete."""
