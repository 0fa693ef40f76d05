"""Which images weights have seen: what they say of the datasets that trained or chose them, and fingerprints beside.

In: weights. Out: fingerprints to look images up in, and notices of what is not known; and, for whoever makes weights
out of others, the same files in another folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.dataset import Card, Dataset
from fastrad.dataset.fingerprints import Fingerprints, SeenImages, hand_on, own_file, read_fingerprints, read_own
from fastrad.dataset.lookup import Lookup
from fastrad.dataset.pixels import stored_digests
from fastrad.models.weights import Weights

KEY = "seen_images"
STUDY_FOLDER = "seen"  # of a study: its networks, two folders deeper, share the files there


@dataclass(frozen=True)
class Seen:
    """What is known of the images that weights have seen.

    Attributes
    ----------
    parts : tuple of Fingerprints
    notices : tuple of str
        What is not known, a line each.
    images : int
        In `parts`.
    says : bool
        False where the weights say nothing at all of what trained them.
    missing : int
        Images whose fingerprints the weights name, but the file is not beside them.
    unkept : bool
        True where of all images, or of some, there never were fingerprints.
    """

    parts: tuple[Fingerprints, ...] = ()
    notices: tuple[str, ...] = ()
    says: bool = True
    missing: int = 0
    unkept: bool = False

    @property
    def images(self) -> int:
        """How many images the fingerprints are of."""
        return sum(map(len, self.parts))


def levels_among(known: Seen, asked: Iterable[Fingerprints], images: int) -> np.ndarray:
    """Of each image `UNSEEN` to `SAME` (`dataset.lookup`), whichever is most among all parts; (images,) uint8.

    Parameters
    ----------
    known : Seen
    asked : iterable of Fingerprints
        Of the images: as they are stored, and of their sources where these are kept.
    images : int
    """
    levels = np.zeros(images, np.uint8)
    for each in asked:
        lookup = Lookup(each)
        for part in known.parts:
            levels = np.maximum(levels, lookup.among(part))
    return levels


def asked_of(dataset: Dataset) -> list[Fingerprints]:
    """The fingerprints by which a dataset's images are looked up: of what is stored, and of their sources."""
    own, (_, stored) = read_own(dataset), stored_digests(dataset)
    return [Fingerprints.of(stored), *([] if own is None else [own])]


def read_seen(weights: Weights, origin: str) -> Seen:
    """The fingerprints that belong to weights; `origin` stands for them in notices.

    Raises
    ------
    FormatError
        If a file of fingerprints was cut or altered.
    """
    if not _listed(weights):
        if weights.seen:
            return Seen(
                unkept=True,
                notices=(
                    f"{origin}: an earlier version wrote it, without fingerprints: the images that trained it are "
                    "known by their archive alone, not one by one",
                ),
            )
        return Seen(
            says=KEY in weights.metadata,
            unkept=True,
            notices=(f"{origin} doesn't say which images trained it: nobody can look whether these are new to it",),
        )
    parts, notices, missing, unkept = [], [], 0, False
    for listed in _listed(weights):
        path = _file_of(weights, listed)
        if path is not None:
            parts.append(read_fingerprints(path, listed.sha256))
        elif listed.sha256:
            missing += listed.images
            notices.append(
                f"{origin}: {listed.file_name}, the fingerprints of {listed.images:,} images that it has seen "
                f"({listed.dataset}), is not beside it: copy it there, or whether these are new to it is not known"
            )
        else:
            unkept = True
            notices.append(
                f"{origin}: the images that it has seen ({listed.dataset}) have no fingerprints; whether others are "
                "among them is not known"
            )
    return Seen(tuple(parts), tuple(notices), missing=missing, unkept=unkept)


def datasets_seen(datasets: Iterable[tuple[Path, Card]], folder: Path) -> list[dict[str, Any]]:
    """What weights say that these datasets train and choose; their fingerprints are copied into the weights' folder."""
    said = []
    for path, card in datasets:
        file = own_file(path, card)
        sha256 = card.fingerprints["sha256"] if file is not None else ""
        seen = SeenImages(card.split or card.name, card.samples, sha256)
        if file is not None:
            hand_on(file, seen, folder)
        said.append(seen.to_json())
    return said


def hand_seen_on(weights: Weights, folder: Path) -> list[dict[str, Any]]:
    """What weights made of these have seen through them; the fingerprints are copied into the folder."""
    if KEY not in weights.metadata and weights.path is not None:  # torchvision's own saw no medical image
        return [SeenImages("what trained the initial weights", 0, "").to_json()]
    for listed in _listed(weights):
        path = _file_of(weights, listed)
        if path is not None:
            hand_on(path, listed, folder)
    return [listed.to_json() for listed in _listed(weights)]


def _listed(weights: Weights) -> list[SeenImages]:
    said = weights.metadata.get(KEY)
    found = [SeenImages.from_json(each) for each in said] if isinstance(said, list) else []
    return [each for each in found if each is not None]


def _file_of(weights: Weights, listed: SeenImages) -> Path | None:
    if weights.path is None or not listed.sha256:
        return None
    folder = weights.path.absolute().parent
    for place in (folder, folder.parent.parent / STUDY_FOLDER):
        if (place / listed.file_name).is_file():
            return place / listed.file_name
    return None
