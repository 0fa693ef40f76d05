"""Plans a conversion: for each split its rows, its shards, and where each shard's pages go.

In: a `Manifest` (or shards that were converted before), `ConvertOptions` and a function from patient ids to what is
stored of them. Out: one `SplitPlan` a split. A plan depends on source and options alone, so every run of the same
command has the same plan and thereby the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.convert.archive import ArchiveSplit, split_archive
from fastrad.convert.chunk import ShardTask
from fastrad.convert.from_shards import TarSplit, split_shards
from fastrad.convert.images import ImageOptions
from fastrad.dataset.beton import layout
from fastrad.dataset.tar.layout import BLOCK
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import OptionError
from fastrad.imaging import FIT_MODES

MAX_SIZE = 8192
ENCODINGS = {"beton": ("raw", "jpeg"), "webdataset": ("png", "jpeg")}
ROWS_A_SHARD = 2048  # about a second of decoding: little is lost by a crash, and the journal stays small
_FEW_ROWS, _MANY_SHARDS = (
    256,
    32,
)  # in small archives shards are smaller, so that all workers end at about the same time
_SMALL_FILE = 8 * layout.DEFAULT_PAGE_SIZE


@dataclass(frozen=True)
class ConvertOptions:
    """What the user chooses about a conversion.

    Attributes
    ----------
    size : int
        Side of the stored square, in pixels.
    fit : str
        "pad" (keeps the aspect ratio), "squash" or "crop".
    format : str
        "beton" or "webdataset".
    encode : str
        For betons "raw" or "jpeg", for shards "png" or "jpeg".
    quality : int
        Of the JPEG, 1 to 100.
    pass_png : bool
        Put the bytes of a source PNG into shards as they are, where it is gray, of the right size, and holds nothing
        but pixels. It is decoded to prove that, and for mean and standard deviation; what is saved is the encoding.
    shard_bytes : int
        Size of a shard at most.
    window : (float, float) or None
        Stored values that become black and white; None for the whole range of the file's type.
    workers : int or None
        Processes; None for one a core that this process may use.
    scheduler : str or None
        Address of a Dask scheduler whose workers convert instead, over a shared file system.
    pseudonym_key : Path or None
        File with the key of the pseudonyms; None for the one in the user's configuration folder.
    keep_patient_ids : bool
        Store the patient ids themselves.
    source_options : mapping
        What `read_source` was given, kept in the card so that the source can be read again; no absolute paths.
    """

    size: int = 224
    fit: str = "pad"
    format: str = "beton"
    encode: str = "raw"
    quality: int = 90
    pass_png: bool = False
    shard_bytes: int = 1 << 30
    window: tuple[float, float] | None = None
    workers: int | None = None
    scheduler: str | None = None
    pseudonym_key: Path | None = None
    keep_patient_ids: bool = False
    source_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise OptionError(f"size {self.size}: choose 1 to {MAX_SIZE} pixels")
        if self.fit not in FIT_MODES:
            raise OptionError(f"fit {self.fit!r}: choose one of {', '.join(FIT_MODES)}")
        if self.format not in ENCODINGS:
            raise OptionError(f"format {self.format!r}: choose one of {', '.join(ENCODINGS)}")
        if self.encode not in ENCODINGS[self.format]:
            raise OptionError(f"encode {self.encode!r}: {self.format} stores {' or '.join(ENCODINGS[self.format])}")
        if self.pass_png and self.encode != "png":
            raise OptionError("PNG are passed through into shards of PNG only: choose format webdataset, encode png")
        if self.shard_bytes < 1:
            raise OptionError(f"a shard of {self.shard_bytes} bytes: at least one is needed")
        if not 1 <= self.quality <= 100:
            raise OptionError(f"quality {self.quality}: choose 1 to 100")
        if self.window is not None and not 0 < self.window[1] - self.window[0] < math.inf:
            raise OptionError(f"window {self.window}: its second value must exceed the first, and both be finite")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers {self.workers}: at least one is needed")

    @property
    def image(self) -> ImageOptions:
        """The part that decides about pixels."""
        return ImageOptions(self.size, self.fit, self.encode, self.quality, self.window, self.pass_png)


@dataclass(frozen=True)
class SplitPlan:
    """How one split becomes one file.

    Attributes
    ----------
    source : ArchiveSplit or TarSplit
    image : ImageOptions
    page_size : int
        Bytes; 0 where the split becomes tar files.
    shard_rows : int
        Images a shard of the work.
    tar_bytes : int
        Size of a tar file at most; 0 for a beton.
    """

    source: ArchiveSplit | TarSplit
    image: ImageOptions
    page_size: int
    shard_rows: int
    tar_bytes: int

    @property
    def name(self) -> str:
        """Of the file: "train", "val", "test" or "all"."""
        return self.source.name

    @property
    def rows(self) -> np.ndarray:
        """Manifest rows to store, int64."""
        return self.source.rows

    @property
    def format(self) -> str:
        """ "beton" or "webdataset"."""
        return "webdataset" if self.tar_bytes else "beton"

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.rows) // self.shard_rows)

    def shard_size(self, index: int) -> int:
        """Number of images in shard `index`."""
        return min(self.shard_rows, len(self.rows) - index * self.shard_rows)

    @property
    def data_start(self) -> int:
        """Byte position of the first page."""
        return layout.data_start(len(self.rows), self.page_size)

    @property
    def images_a_page(self) -> int:
        """How many raw images fit into a page."""
        return self.page_size // self.image.size**2

    def shard_pages(self, index: int) -> int:
        """Pages that a raw shard fills when nothing is damaged; 0 for JPEG, whose size nobody knows before."""
        if self.image.encode != "raw":
            return 0
        return -(-self.shard_size(index) // self.images_a_page)

    @property
    def estimated_bytes(self) -> int:
        """Size of what is written: exact for raw, cautious guesses for JPEG (a quarter of raw) and PNG (as raw)."""
        if self.image.encode == "raw":
            pages = sum(self.shard_pages(index) for index in range(self.shards))
            return self.data_start + pages * self.page_size + len(self.rows) * layout.ALLOCATION.itemsize
        image = self.image.size**2 // (4 if self.image.encode == "jpeg" else 1)
        beside = 5 * BLOCK if self.tar_bytes else layout.METADATA.itemsize + layout.ALLOCATION.itemsize
        return len(self.rows) * (image + beside) + (self.shards + 1) * self.page_size

    def parameters(self) -> dict[str, Any]:
        """The card's `parameters`."""
        parameters = {"format": self.format, **asdict(self.image), **self.source.parameters()}
        if self.image.encode != "jpeg":
            parameters["quality"] = None
        if self.image.window is not None:
            parameters["window"] = list(self.image.window)
        if self.tar_bytes:
            return {**parameters, "shard_bytes": self.tar_bytes, "shard_rows": self.shard_rows}
        del parameters["pass_png"]
        return {**parameters, "page_size": self.page_size, "shard_rows": self.shard_rows}

    def fingerprint(self, stored_patients: Sequence[str] | None = None) -> dict[str, Any]:
        """Everything that the bytes of file and card follow from, by name: what a resumed run must agree in.

        A finished card lists `stored_patients` alone, those of whom an image could be stored.
        """
        source = self.source
        patients = source.patient_names
        if stored_patients is not None:
            stored = set(stored_patients)
            patients = tuple(name for name in patients if name in stored)
        return fingerprint(
            source.layout,
            source.manifest_sha256,
            source.classes,
            patients,
            source.patient_ids,
            self.parameters(),
        )

    def task(self, index: int, data: Path, record: Path, poison: dict[int, str], sync: bool) -> ShardTask:
        """The work on shard `index`: pages into `data`, the record at `record`."""
        pages = self.shard_pages(index)
        position = self.data_start + index * (self.shard_rows // self.images_a_page) * self.page_size if pages else 0
        return ShardTask(
            index=index,
            images=self.source.images(slice(index * self.shard_rows, (index + 1) * self.shard_rows), self.image),
            page_size=self.page_size,
            pages=pages,
            data=str(data.absolute()),
            position=position,
            record=str(record.absolute()),
            poison=poison,
            sync=sync,
        )


def fingerprint(
    source_layout: str,
    manifest_sha256: str,
    classes: Sequence[str],
    patient_names: Sequence[str],
    patient_ids: str,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """What decides on a file's bytes, by the name that a user knows it by."""
    return {
        "the source's layout": source_layout,
        "the source's table": manifest_sha256,
        "the list of classes": hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest(),
        "the list of patients": hashlib.sha256(json.dumps(list(patient_names)).encode()).hexdigest(),
        "the kind of patient ids": patient_ids,
        **parameters,
    }


def page_and_shard(count: int, size: int, encode: str, pages: bool) -> tuple[int, int]:
    """Page size in bytes and rows a shard for `count` images of `size` x `size` pixels.

    Raw images are stored in whole shards of whole pages, so that each worker knows where its pages go. Small files and
    JPEG get FFCV's smallest pages, which waste less at a shard's end. Without `pages` shards become tar files.
    """
    image = size * size
    page = layout.DEFAULT_PAGE_SIZE if encode == "raw" and count * image > _SMALL_FILE else layout.MIN_PAGE_SIZE
    while page < (image if encode == "raw" else 2 * image):  # a JPEG of noise can be larger than its pixels
        page *= 2
    if encode != "raw" and pages:  # every shard ends with a page that is partly empty
        return page, ROWS_A_SHARD
    rows = min(ROWS_A_SHARD, max(_FEW_ROWS, -(-count // _MANY_SHARDS)))
    a_page = page // image if encode == "raw" else 1
    return page, -(-rows // a_page) * a_page


def plan_splits(
    source: Manifest | Sequence[ShardSet], options: ConvertOptions, name_patient: Callable[[str], str] | None
) -> tuple[SplitPlan, ...]:
    """One plan a split that occurs in the source, also where it has no usable row.

    Parameters
    ----------
    source : Manifest or sequence of ShardSet
        An archive, or what an earlier conversion made of one; sizes, fit and window are then those of the shards.
    name_patient : callable or None
        From a patient id to its pseudonym; None stores the ids. Shards have pseudonyms already.

    Raises
    ------
    InputError
        If nothing is usable, a path leaves the root, or two patients get one pseudonym.
    """
    splits: list[tuple[ArchiveSplit | TarSplit, ImageOptions]]
    if isinstance(source, Manifest):
        splits = [(split, options.image) for split in split_archive(source, options.source_options, name_patient)]
    else:
        splits = [(split, split.image) for split in split_shards(source, options.encode, options.quality)]
    tar_bytes = options.shard_bytes if options.format == "webdataset" else 0
    plans = []
    for split, image in splits:
        page_size, shard_rows = page_and_shard(len(split.rows), image.size, image.encode, not tar_bytes)
        plans.append(SplitPlan(split, image, 0 if tar_bytes else page_size, shard_rows, tar_bytes))
    return tuple(plans)
