"""Compares what a dataset stores with the archive that it was made from: rows, labels, patients, pixels."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.convert.archive import ArchiveSplit
from fastrad.convert.options import ConvertOptions
from fastrad.convert.plan import SplitPlan, plan_splits
from fastrad.convert.pool import LocalWorkers
from fastrad.convert.stored import BetonImages, differing_images
from fastrad.dataset import Card
from fastrad.dataset.tar.shards import TarSamples
from fastrad.system.progress import track
from fastrad.verify.findings import Problem

_COMPARED_AT_ONCE = 512
_WORKER_DIED = "a worker process died; give the command again with fewer --workers"


@dataclass(frozen=True)
class Stored:
    """What a dataset says of its samples.

    Attributes
    ----------
    rows, labels, patients : numpy.ndarray
        int64; manifest rows, class indices, and indices into the card's patients (-1 unknown).
    images : BetonImages or TarSamples
        The stored images, in the same order.
    whole : bool
        Whether these are all samples of the card.
    """

    rows: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    images: BetonImages | TarSamples
    whole: bool


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes
    ----------
    compared : int
        Images that were converted again and compared.
    differ : list of Problem
    not_compared : list of Problem
        What could not be compared, and why.
    """

    compared: int
    differ: list[Problem]
    not_compared: list[Problem]


def compare_with_source(card: Card, stored: Stored, manifest: Manifest, workers: int) -> Comparison:
    """Convert every image again and compare it with what is stored."""
    if manifest.sha256() != card.manifest_sha256:
        reason = (
            f"the table of {manifest.root} is not the one that was converted (its hash differs): files or labels were "
            "added, removed or changed, or it is another archive"
        )
        return Comparison(0, [], [Problem("source", None, reason)])
    plan = _plan_again(card, manifest)
    if plan is None:
        return Comparison(0, [], [Problem("source", None, "the source has no split of the card's name")])
    split = plan.source
    assert isinstance(split, ArchiveSplit)
    rows, quarantined = stored.rows, [entry["row"] for entry in card.quarantined]
    kept = ~np.isin(split.rows, quarantined)
    # the card lists, in the plan's order, only patients of whom an image is stored
    used = np.unique(split.patients[kept & (split.patients >= 0)])
    numbers = np.full(len(split.patient_names) + 1, -1, dtype=np.int64)
    numbers[used] = np.arange(len(used))
    positions = np.minimum(np.searchsorted(split.rows, rows), len(split.rows) - 1)
    known = split.rows[positions] == rows
    wrong = {
        "is no row to be stored of the source": ~known,
        "its label differs from the source's": known & (split.labels[positions] != stored.labels),
        "its patient differs from the source's": known & (numbers[split.patients[positions]] != stored.patients),
    }
    problems = [Problem("source", int(row), reason) for reason, mask in wrong.items() for row in rows[mask]]
    if stored.whole:
        missing = np.setdiff1d(split.rows[kept], rows)
        problems += [Problem("source", int(row), "is neither stored nor quarantined") for row in missing]
    compared = np.flatnonzero(known)
    failed: list[Problem] = []
    count = len(compared)
    pool = LocalWorkers(workers)
    try:
        with track("compare with the source", len(compared)) as progress:
            parts = [
                compared[first : first + _COMPARED_AT_ONCE] for first in range(0, len(compared), _COMPARED_AT_ONCE)
            ]
            futures = [
                pool.submit(
                    differing_images,
                    split.images(positions[part], plan.image),
                    stored.images.select(part),
                    card.parameters["encode"],
                )
                for part in parts
            ]
            for part, future in zip(parts, futures, strict=True):
                try:
                    for found in future.result():
                        (problems if found.compared else failed).append(Problem("source", found.row, found.reason))
                        count -= not found.compared
                except BrokenProcessPool:
                    count -= len(part)
                    failed.append(Problem("source", None, f"{len(part)} images: {_WORKER_DIED}"))
                except OSError as error:  # pointers that lead out of the file, say
                    count -= len(part)
                    failed.append(Problem("source", None, f"{len(part)} images: {error}"))
                progress.advance(len(part), differing=len(problems))
    finally:
        pool.close()
    return Comparison(count, problems, failed)


def _plan_again(card: Card, manifest: Manifest) -> SplitPlan | None:
    """The plan of the card's split, where the source has it; pixels that were JPEG on their way are made JPEG again."""
    parameters: dict[str, Any] = card.parameters
    last = parameters
    if "from_shards" in parameters and parameters["encode"] == "raw" and parameters["from_shards"]["encode"] == "jpeg":
        last = parameters["from_shards"]
    options = ConvertOptions(
        size=parameters["size"],
        fit=parameters["fit"],
        format=card.format,
        encode=last["encode"],
        quality=last["quality"] or 90,
        pass_png=parameters.get("pass_png", False),
        window=tuple(parameters["window"]) if parameters["window"] else None,
        # files of 0.1.0 do not know their gray levels, and were made without a look at the pixels' shape
        pixel_aspect=parameters.get("pixel_aspect", "header" if card.gray_levels else "ignore"),
    )
    plans = plan_splits(manifest, options, None)
    return next((plan for plan in plans if plan.source.split == card.split), None)
