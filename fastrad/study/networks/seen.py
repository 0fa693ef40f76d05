"""What a study's network has seen, for whoever scores images with it later, and whether those images are among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrad.dataset.fingerprints import Fingerprints, selected, write_beside
from fastrad.dataset.lookup import CONFIRMED, POSSIBLE
from fastrad.models.seen import Seen, hand_seen_on, levels_among, read_seen
from fastrad.models.weights import Weights
from fastrad.study.protocol.patients import StudyDataset

YES, POSSIBLY, NO, UNKNOWN = "yes", "possibly", "no", "unknown"


def study_images_seen(
    dataset: StudyDataset, images: NDArray[np.int64], weights: Weights | None, folder: Path
) -> list[dict[str, Any]]:
    """What a network says of the images that have trained and chosen it, and that its initial weights have seen.

    Parameters
    ----------
    dataset : StudyDataset
    images : int64 array
        Positions of the images of its training and validation patients.
    weights : Weights or None
        What it began with.
    folder : Path
        Gets the fingerprints; networks of one study share it.
    """
    images = np.sort(images)
    own = write_beside(
        selected(dataset.fingerprints[0], images), f"{dataset.card.name} of a study", len(images), folder
    )
    return [own.to_json(), *(hand_seen_on(weights, folder) if weights is not None else [])]


def seen_by(networks: Sequence[tuple[str, Weights]]) -> Seen:
    """What is known of all images that some networks have seen; each is given with its name for notices."""
    parts: dict[str, Seen] = {}
    for name, weights in networks:
        parts.setdefault(str(weights.metadata.get("seen_images", name)), read_seen(weights, name))
    return Seen(
        tuple(part for each in parts.values() for part in each.parts),
        tuple(dict.fromkeys(notice for each in parts.values() for notice in each.notices)),
    )


def marks(known: Seen, asked: Sequence[Fingerprints], images: int) -> list[str]:
    """Of each image "yes", "possibly", "no", or "unknown" where something could not be looked up."""
    levels = levels_among(known, asked, images)
    otherwise = UNKNOWN if known.notices or not known.parts else NO
    return [YES if level >= CONFIRMED else POSSIBLY if level == POSSIBLE else otherwise for level in levels.tolist()]


def summary(found: Sequence[str]) -> str:
    """In one line, what the marks mean; "" where every image is new."""
    count = {mark: list(found).count(mark) for mark in (YES, POSSIBLY, UNKNOWN)}
    if count[YES]:
        return (
            f"{count[YES]} of {len(found)} images were seen in training, or chose the networks: their scores are no "
            "test (column seen)"
        )
    if count[UNKNOWN]:
        return f"whether {count[UNKNOWN]} of {len(found)} images were seen in training is not known (column seen)"
    return f"{count[POSSIBLY]} of {len(found)} images were possibly seen (column seen)" if count[POSSIBLY] else ""
