"""Plans a conversion: for each split its rows, and how they are cut into chunks and stored.

A plan depends on source and options alone, so every run of the same command has the same plan and thereby the same
bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import fastrad
from fastrad.archives.manifest import Manifest
from fastrad.convert.archive import ArchiveSplit, split_archive
from fastrad.convert.chunk import ChunkTask
from fastrad.convert.from_shards import TarSplit, split_shards
from fastrad.convert.options import ConvertOptions
from fastrad.convert.outputs import FORMATS
from fastrad.convert.outputs.base import Output
from fastrad.convert.sample import ImageOptions
from fastrad.convert.totals import Totals
from fastrad.dataset.card import Card
from fastrad.dataset.tar.shards import ShardSet


@dataclass(frozen=True)
class SplitPlan:
    """How one split becomes files.

    Attributes
    ----------
    source : ArchiveSplit or TarSplit
    output : Output
        Chunks and format.
    """

    source: ArchiveSplit | TarSplit
    output: Output

    @property
    def name(self) -> str:
        """Of the file: "train", "val", "test" or "all"."""
        return self.source.name

    @property
    def rows(self) -> np.ndarray:
        """Manifest rows to store, int64."""
        return self.source.rows

    @property
    def image(self) -> ImageOptions:
        """How images are stored."""
        return self.output.image

    @property
    def bytes_needed(self) -> int:
        """On disk during the conversion: where chunks lie in files of their own, they are there twice at its end."""
        return self.output.estimated_bytes * (1 if self.output.in_place else 2)

    def parameters(self) -> dict[str, Any]:
        """The card's `parameters`."""
        parameters = {"format": self.output.format, **asdict(self.image), **self.source.parameters()}
        if self.image.encode != "jpeg":
            parameters["quality"] = None
        if self.image.window is not None:
            parameters["window"] = list(self.image.window)
        if "png" not in self.output.encodings:
            del parameters["pass_png"]
        if self.image.pixel_aspect == "header":  # as before there was a choice
            del parameters["pixel_aspect"]
        if not self.image.window_from:
            del parameters["window_from"]
        return {**parameters, **self.output.parameters()}

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

    def card(self, totals: Totals, hashes: dict[str, Any], size: int, fingerprints: dict[str, Any]) -> Card:
        """The card of a finished split of `size` bytes."""
        source = self.source
        known = source.statistics
        mean, std = (known.mean, known.std) if known else totals.mean_and_std()
        return Card(
            name=self.name,
            format=self.output.format,
            synthetic=source.synthetic,
            layout=source.layout,
            split=source.split,
            samples=totals.stored,
            classes=list(source.classes),
            class_counts=dict(zip(source.classes, totals.class_counts.tolist(), strict=True)),
            patients=[source.patient_names[index] for index in totals.patients.tolist()],
            patient_ids=source.patient_ids,
            manifest_sha256=source.manifest_sha256,
            parameters=self.parameters(),
            mean=mean,
            std=std,
            gray_levels=known.gray_levels if known else totals.gray_levels,
            made_square=known.made_square if known else totals.made_square,
            fingerprints=fingerprints,
            bytes=size,
            hashes=hashes,
            quarantined=source.quarantine(totals.quarantined),
            unlabelled=source.unlabelled(),
            notes=source.notes,
            source_options=dict(source.options),
            versions={
                "fastrad": fastrad.__version__,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
        )

    def task(self, index: int, data: Path, record: Path, poison: dict[int, str], sync: bool) -> ChunkTask:
        """The work on chunk `index`: images into `data`, the record at `record`."""
        rows = slice(index * self.output.chunk_rows, (index + 1) * self.output.chunk_rows)
        return ChunkTask(
            index=index,
            images=self.source.images(rows, self.image),
            output=self.output,
            data=data.absolute(),
            record=record.absolute(),
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


def plan_splits(
    source: Manifest | Sequence[ShardSet], options: ConvertOptions, name_patient: Callable[[str], str] | None
) -> tuple[SplitPlan, ...]:
    """One plan per split that occurs in the source, also where it has no usable row.

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
        splits = [
            (split, options.image)
            for split in split_archive(source, options.source_options, name_patient, options.drop)
        ]
    else:
        splits = [(split, split.image) for split in split_shards(source, options.encode, options.quality)]
    output = FORMATS[options.format]
    return tuple(SplitPlan(split, output.plan(len(split.rows), image, options.shard_bytes)) for split, image in splits)
