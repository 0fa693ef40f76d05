"""Converted WebDataset shards as the source of a conversion: a beton without decoding the archive again.

Rows, labels, patients, quarantine and source are the archive's, as card and shards say. JPEG become a JPEG beton as
they are; PNG, which lost nothing, become the raw or JPEG beton that the archive would become.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np

from fastrad.convert.sample import Encoded, ImageOptions, Sample
from fastrad.dataset.card import Card
from fastrad.dataset.fingerprints import MAX_BYTES, fingerprints_path
from fastrad.dataset.opening import datasets_in
from fastrad.dataset.pseudonym import without_values
from fastrad.dataset.tar.shards import Facts, ShardSet, TarSamples
from fastrad.errors import FormatError
from fastrad.system.place import Place
from fastrad.system.progress import track

_READ_AT_ONCE = 1 << 22


class TarImages:
    """A stretch of the samples in tars, as a worker needs it.

    Parameters
    ----------
    samples : TarSamples
    options : ImageOptions
        How the images are stored in the beton.
    kind : str
        How they are stored in the tars: "png" or "jpeg".
    classes, patients : tuple of str
        As the shards' card lists them.
    """

    def __init__(
        self,
        samples: TarSamples,
        options: ImageOptions,
        kind: str,
        classes: tuple[str, ...],
        patients: tuple[str, ...],
    ) -> None:
        self.samples, self.options, self.kind = samples, options, kind
        self.classes, self.patients = classes, patients
        self._numbers: dict[str, int] | None = None
        self._facts: tuple[int, np.ndarray, Facts] | None = None
        self._stamps: dict[str, tuple[int, int]] = {}

    @property
    def rows(self) -> np.ndarray:
        """Manifest rows, int64."""
        return self.samples.rows

    def stamp(self, index: int) -> tuple[int, int]:
        """Size and time of the last change (ns) of the tar that image `index` is in."""
        name = self.samples.tar(index)
        if name not in self._stamps:
            self._stamps[name] = Place(self.samples.place).stamp(name)
        return self._stamps[name]

    def sample(self, index: int) -> Sample:
        """What is stored beside image `index`."""
        _, facts = self._read(index)
        if self._numbers is None:
            self._numbers = {name: number for number, name in enumerate(self.patients)}
        label, patient = facts.label, facts.patient
        if label not in self.classes or not (patient is None or patient in self._numbers):
            raise self.samples.damaged(index, "its class or patient is none of the card's")
        number = -1 if patient is None else self._numbers[patient]
        return Sample(facts.row, self.classes.index(label), label, number, patient)

    def load(self, index: int) -> tuple[np.ndarray | None, Encoded]:
        """Image `index`: (size, size) uint8, or None where its bytes are taken as they are; and encoded.

        Raises
        ------
        DamagedSampleError
            If it is not what was written into the tar.
        """
        data, facts = self._read(index)
        options = self.options
        content, size = facts.content, options.size
        top, left, height, width = content
        if not (height and width and top + height <= size and left + width <= size):
            raise self.samples.damaged(index, "its .json places the image outside of its frame")
        if options.encode == self.kind:
            return None, Encoded(data, self.kind, options.size, content)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != (options.size, options.size):
            raise self.samples.damaged(index, "its image cannot be decoded")
        return image, Encoded(options.encoded(image), options.encode, options.size, content)

    def _read(self, index: int) -> tuple[np.ndarray, Facts]:
        if self._facts is None or self._facts[0] != index:
            self._facts = (index, *self.samples.read(index))
        return self._facts[1:]


@dataclass(frozen=True)
class TarSplit:
    """The shards of one split.

    Attributes
    ----------
    shards : ShardSet
    image : ImageOptions
        How the images are to be stored.
    """

    shards: ShardSet
    image: ImageOptions

    @property
    def name(self) -> str:
        """Of the files: "train", "val", "test" or "all"."""
        return self.shards.card.name

    @property
    def split(self) -> str:
        """ "" where the archive has none."""
        return self.shards.card.split

    @property
    def place(self) -> str:
        """Where the shards are."""
        return str(self.shards.place)

    @property
    def layout(self) -> str:
        """The archive's layout."""
        return self.shards.card.layout

    @property
    def manifest_sha256(self) -> str:
        """Of the archive's manifest."""
        return self.shards.card.manifest_sha256

    @property
    def synthetic(self) -> bool:
        """Whether the images are generated."""
        return self.shards.card.synthetic

    @property
    def notes(self) -> list[str]:
        """The archive's remarks."""
        return self.shards.card.notes

    @property
    def options(self) -> dict[str, Any]:
        """What the archive was read with."""
        return self.shards.card.source_options

    @property
    def rows(self) -> np.ndarray:
        """Manifest rows to store, int64."""
        return self.shards.samples.rows

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return tuple(self.shards.card.classes)

    @property
    def patient_names(self) -> tuple[str, ...]:
        """Pseudonyms in index order."""
        return tuple(self.shards.card.patients)

    @property
    def patient_ids(self) -> str:
        """ "pseudonym", "kept" or "none"."""
        return self.shards.card.patient_ids

    @property
    def statistics(self) -> Card | None:
        """What knows of the pixels, where the samples are taken as they are; else that follows from the pixels."""
        return self.shards.card if self.image.encode == self.shards.encoding else None

    def parameters(self) -> dict[str, Any]:
        """What the card says of the shards among its parameters."""
        card = self.shards.card
        about = {"card_sha256": card.sha256(), "encode": self.shards.encoding, "quality": card.parameters["quality"]}
        return {"from_shards": about}

    def images(self, positions: np.ndarray | slice, options: ImageOptions) -> TarImages:
        """The images at some positions in `rows`, for a worker."""
        samples = self.shards.samples.select(positions)
        return TarImages(samples, options, self.shards.encoding, self.classes, self.patient_names)

    def fingerprints(self) -> bytes | None:
        """The file of the images' fingerprints, which stay what they are; None where the shards have none.

        Raises
        ------
        FormatError
            If it was cut or altered.
        """
        about, path = self.shards.card.fingerprints, fingerprints_path(self.shards.path)
        content = self.shards.place.read(path.rpartition("/")[2], MAX_BYTES) if about else None
        if content is not None and hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise FormatError(f"{path}: was cut or altered; copy it again, or convert the archive again")
        return content

    def absent(self) -> list[int]:
        """Rows whose image is not there: none, since the index was compared with the shards."""
        return []

    def quarantine(self, found: list[tuple[int, str]]) -> list[dict[str, Any]]:
        """What the archive's conversion could not use, and what this one could not (`found`: row, reason)."""
        known = [(entry["row"], entry["reason"]) for entry in self.shards.card.quarantined]
        return [{"row": row, "reason": without_values(reason)} for row, reason in sorted([*known, *found])]

    def quarantined_paths(self, found: list[tuple[int, str]]) -> list[tuple[int, str, str]]:
        """None: where the archive's files were, shards do not say."""
        return []

    def unlabelled(self) -> dict[str, Any]:
        """The card's `unlabelled`."""
        return self.shards.card.unlabelled


def read_shards(place: str) -> tuple[ShardSet, ...]:
    """The shards of every split in a folder that `fastrad convert --format webdataset` wrote.

    Parameters
    ----------
    place : str
        A folder, or a URL that fsspec opens.

    Raises
    ------
    InputError
        If there are none.
    FormatError
        If one is missing, cut or altered.
    """
    return tuple(map(ShardSet, datasets_in(place)))


def split_shards(shards: Sequence[ShardSet], encode: str, quality: int) -> list[TarSplit]:
    """Each split's shards, and how its images are to be stored; JPEG that stay JPEG keep their quality."""
    splits = []
    for split in shards:
        before = split.card.parameters
        window = tuple(before["window"]) if before["window"] else None
        chosen = before["quality"] or quality
        splits.append(TarSplit(split, ImageOptions(before["size"], before["fit"], encode, chosen, window)))
    return splits


def refuse_altered_shards(shards: Sequence[ShardSet], threads: int) -> None:
    """Read every tar once and compare it with its hash, so that no altered label or image goes on.

    Raises
    ------
    FormatError
        If one differs.
    """
    tars = [(split, shard) for split in shards for shard in split.card.hashes["shards"]]
    with (
        track("check the shards", sum(shard["samples"] for _, shard in tars)) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        hashes = pool.map(lambda tar: _sha256(tar[0].place.open(tar[1]["name"])), tars)
        for (split, shard), found in zip(tars, hashes, strict=True):
            if found != shard["sha256"]:
                path = split.place.path(shard["name"])
                raise FormatError(
                    f"{path}: was altered; `fastrad verify {path}` names the samples; copy it again, or convert the "
                    "archive again"
                )
            progress.advance(shard["samples"])


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    with file:
        while content := file.read(_READ_AT_ONCE):
            digest.update(content)
    return digest.hexdigest()
