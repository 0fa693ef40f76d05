"""Plans the conversion of a manifest: for each split its rows, its shards, and where each shard's pages go.

In: a `Manifest`, `ConvertOptions` and a function from patient ids to what is stored of them. Out: one `SplitPlan` a
split. A plan depends on source and options alone, so every run of the same command has the same plan and thereby the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.conversion.images import ImageOptions, SourceImages
from fastrad.conversion.shard import ShardTask
from fastrad.errors import InputError, OptionError
from fastrad.imaging import FIT_MODES
from fastrad.manifest import Manifest
from fastrad.storage import layout
from fastrad.storage.tar import BLOCK

MAX_SIZE = 8192
ENCODINGS = {"beton": ("raw", "jpeg"), "webdataset": ("png", "jpeg")}
ROWS_A_SHARD = 2048  # about a second of decoding: little is lost by a crash, and the journal stays small
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
        Put a source PNG into shards as it is, where it is gray, of the right size, and holds nothing but pixels.
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
        if self.window is not None and not self.window[1] > self.window[0]:
            raise OptionError(f"window {self.window}: its second value must exceed the first")
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
    name : str
        Of the file: "train", "val", "test" or "all".
    split : str
        "" where the source has none.
    manifest : Manifest
    manifest_sha256 : str
    rows, labels, patients : numpy.ndarray
        int64; the manifest rows to store, their class indices, and indices into `patient_names` (-1 unknown).
    classes, patient_names : tuple of str
    patient_ids : str
        "pseudonym", "kept" or "none".
    image : ImageOptions
    page_size : int
        Bytes; 0 where the split becomes tar files.
    shard_rows : int
        Images a shard of the work.
    tar_bytes : int
        Size of a tar file at most; 0 for a beton.
    source_options : mapping
        As in `ConvertOptions`.
    """

    name: str
    split: str
    manifest: Manifest
    manifest_sha256: str
    rows: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    classes: tuple[str, ...]
    patient_names: tuple[str, ...]
    patient_ids: str
    image: ImageOptions
    page_size: int
    shard_rows: int
    tar_bytes: int
    source_options: Mapping[str, Any]

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
        parameters = {"format": self.format, **asdict(self.image)}
        if self.image.encode != "jpeg":
            parameters["quality"] = None
        if self.image.window is not None:
            parameters["window"] = list(self.image.window)
        if self.tar_bytes:
            return {**parameters, "shard_bytes": self.tar_bytes, "shard_rows": self.shard_rows}
        del parameters["pass_png"]
        return {**parameters, "page_size": self.page_size, "shard_rows": self.shard_rows}

    def fingerprint(self) -> dict[str, Any]:
        """Everything that the bytes of file and card follow from, by name: what a resumed run must agree in."""
        return fingerprint(
            self.manifest.layout,
            self.manifest_sha256,
            self.classes,
            self.patient_names,
            self.patient_ids,
            self.parameters(),
        )

    def source_images(self, rows: np.ndarray) -> SourceImages:
        """Where the images of some manifest rows are, for a worker."""
        table = self.manifest.table
        return SourceImages(
            root=str(self.manifest.root),
            paths=table["path"].iloc[rows].tolist(),
            frames=table["frame"].iloc[rows].tolist(),
            boxes=table["box"].iloc[rows].tolist(),
            options=self.image,
        )

    @property
    def _names_beside(self) -> bool:
        return bool(self.tar_bytes and self.patient_names)

    def task(self, index: int, data: Path, record: Path, poison: dict[int, str], sync: bool) -> ShardTask:
        """The work on shard `index`: pages into `data`, the record at `record`."""
        here = slice(index * self.shard_rows, (index + 1) * self.shard_rows)
        rows = self.rows[here]
        pages = self.shard_pages(index)
        position = self.data_start + index * (self.shard_rows // self.images_a_page) * self.page_size if pages else 0
        return ShardTask(
            index=index,
            images=self.source_images(rows),
            rows=rows,
            labels=self.labels[here],
            patients=self.patients[here],
            classes=self.classes,
            patient_names=[self.patient_names[k] for k in self.patients[here]] if self._names_beside else None,
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


def page_and_shard(count: int, size: int, encode: str) -> tuple[int, int]:
    """Page size in bytes and rows a shard for `count` images of `size` x `size` pixels.

    Raw images are stored in whole shards of whole pages, so that each worker knows where its pages go. Small files and
    JPEG get FFCV's smallest pages, which waste less at a shard's end.
    """
    image = size * size
    page = layout.DEFAULT_PAGE_SIZE if encode == "raw" and count * image > _SMALL_FILE else layout.MIN_PAGE_SIZE
    while page < (image if encode == "raw" else 2 * image):  # a JPEG of noise can be larger than its pixels
        page *= 2
    if encode != "raw":
        return page, ROWS_A_SHARD
    a_page = page // image
    return page, -(-ROWS_A_SHARD // a_page) * a_page


def plan_splits(
    manifest: Manifest, options: ConvertOptions, name_patient: Callable[[str], str] | None
) -> tuple[SplitPlan, ...]:
    """One plan a split that occurs in the manifest, also where it has no usable row.

    Parameters
    ----------
    name_patient : callable or None
        From a patient id to its pseudonym; None stores the ids.

    Raises
    ------
    InputError
        If nothing is usable, a path leaves the root, or two patients get one pseudonym.
    """
    table, usable = manifest.table, manifest.usable
    if not usable.any():
        raise InputError(f"{manifest.root}: {_why_nothing(manifest)}")
    _refuse_outside_paths(manifest, usable)
    _refuse_rows_without_split(manifest, usable)
    classes = manifest.classes
    codes = {label: index for index, label in enumerate(classes)}
    labels = table["label"].map(codes).fillna(-1).to_numpy(dtype=np.int64)
    if (labels[usable] < 0).any():
        row = int(np.flatnonzero(usable & (labels < 0))[0])
        raise InputError(f"{manifest.root}: row {row} has a label that no row of the train split has")
    sha256 = manifest.sha256()
    plans = []
    for split in manifest.split_names:
        if split == "" and len(manifest.split_names) > 1:
            continue
        rows = np.flatnonzero(usable & (table["split"] == split).to_numpy())
        patients, names = _patients(manifest, rows, name_patient)
        page_size, shard_rows = page_and_shard(len(rows), options.size, options.encode)
        tar_bytes = options.shard_bytes if options.format == "webdataset" else 0
        kind = "none" if not names else "kept" if name_patient is None else "pseudonym"
        plans.append(
            SplitPlan(
                name=split or "all",
                split=split,
                manifest=manifest,
                manifest_sha256=sha256,
                rows=rows,
                labels=labels[rows],
                patients=patients,
                classes=classes,
                patient_names=names,
                patient_ids=kind,
                image=options.image,
                page_size=0 if tar_bytes else page_size,
                shard_rows=shard_rows,
                tar_bytes=tar_bytes,
                source_options=options.source_options,
            )
        )
    return tuple(plans)


def _why_nothing(manifest: Manifest) -> str:
    if len(manifest) == 0:
        return "the archive has no images"
    reasons = manifest.table["reason"][manifest.table["reason"] != ""]
    if len(reasons):
        return f"none of {len(manifest)} rows is usable; the first reason is: {reasons.iloc[0]}"
    return f"none of {len(manifest)} images has a label"


def _refuse_outside_paths(manifest: Manifest, usable: np.ndarray) -> None:
    path = manifest.table["path"]
    outside = usable & (path.str.startswith("/") | path.str.contains(r"(?:^|/)\.\.(?:/|$)", regex=True)).to_numpy()
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(f"{manifest.root}: row {row} leaves this folder; only files inside it are read")


def _refuse_rows_without_split(manifest: Manifest, usable: np.ndarray) -> None:
    if "" in manifest.split_names and len(manifest.split_names) > 1:
        stray = usable & (manifest.table["split"] == "").to_numpy()
        if stray.any():
            raise InputError(
                f"{manifest.root}: {stray.sum()} rows have no split while others do (first row "
                f"{np.flatnonzero(stray)[0]}); give each train, val or test, or none"
            )


def _patients(
    manifest: Manifest, rows: np.ndarray, name_patient: Callable[[str], str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices in order of first appearance (-1 unknown), and the name of each patient."""
    import pandas as pd

    ids = manifest.table["patient"].iloc[rows]
    codes, known = pd.factorize(ids.where(ids != "", None))
    names = [str(patient) if name_patient is None else name_patient(str(patient)) for patient in known]
    if len(set(names)) != len(names):
        raise InputError(f"{manifest.root}: two patients get the same pseudonym; use another --pseudonym-key")
    return codes.astype(np.int64), tuple(names)
