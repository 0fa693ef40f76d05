"""Images in files, scored by finished networks as if they had been converted like what these learned from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fastrad.dataset import write_beton
from fastrad.dataset.fingerprints import Fingerprints
from fastrad.dataset.opening import open_dataset
from fastrad.dataset.pixels import FingerprintMaker
from fastrad.errors import InputError
from fastrad.imaging import ImageError, fit, make_square, read_values
from fastrad.imaging.frames import first_frames_alone
from fastrad.imaging.walk import SUFFIXES, is_image_file, walk_images
from fastrad.study.networks.scorer import Scorer, class_logits, conversion
from fastrad.system.progress import say

_AT_ONCE = 1024  # images of a folder that are held in memory


@dataclass(frozen=True)
class ScoredFiles:
    """What networks say of files.

    Attributes
    ----------
    paths, reasons : list of str, (files,)
        Each file, relative to its folder, and why it could not be read; "" where it could.
    logits : float64 array, (networks, files, outputs)
        NaN where a file could not be read.
    fingerprints : Fingerprints
        Of those that could, in their order.
    """

    paths: list[str]
    reasons: list[str]
    logits: NDArray[np.float64]
    fingerprints: Fingerprints


def score_files(networks: Sequence[Scorer], source: Path, device: torch.device) -> ScoredFiles:
    """Score one image, or every image below a folder.

    Raises
    ------
    InputError
        If there is none, or the networks expect images converted differently, or cropped.
    """
    first = networks[0]
    if any(conversion(network) != conversion(first) for network in networks):
        raise InputError(
            "the networks come from datasets that were converted differently; give those of one study, or of datasets "
            "that were converted alike"
        )
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder")
    if first.crop:
        whose = "images that the network learned from" if first.classes else "study's images"
        raise InputError(
            f"{source}: the {whose} were cropped (--crop {first.crop}), these files are whole frames; convert them "
            "alike and give the dataset file"
        )
    if "parameters" not in first.about.metadata:
        say(
            "notice: the weights do not say how their images were converted; files are read as `convert --size "
            f"{first.size}` would by default: padded to a square, no window"
        )
    root, found = images_in(source)
    parts = [found[start : start + _AT_ONCE] for start in range(0, len(found), _AT_ONCE)]
    maker = FingerprintMaker(len(found))
    scored = [_score_part(networks, root, part, source.is_dir(), device, maker) for part in parts]
    return ScoredFiles(
        [path for path, _ in found],
        [reason for _, reasons in scored for reason in reasons],
        np.concatenate([logits for logits, _ in scored], axis=1),
        Fingerprints.of(maker.table),
    )


def images_in(source: Path) -> tuple[Path, list[tuple[str, str]]]:
    """A folder, and each image file in it, relative, with a reason where it can't be used: what `convert` finds."""
    if source.is_dir():
        root, found = source, walk_images(source)
        images = list(found)
        for note in found.notes:
            say(f"notice: {source}: {note}")
    else:
        root, images = source.parent, [(source.name, "")] if is_image_file(source) else []
    if not images:
        raise InputError(f"{source}: holds no image ({', '.join(SUFFIXES)}, DICOM) and is no .beton file")
    clips, frames = first_frames_alone(root / path for path, reason in images if not reason)
    if clips:
        say(f"notice: {source}: {clips} files hold several frames; the first of each is scored: {clips} of {frames}")
    return root, images


def _score_part(
    networks: Sequence[Scorer],
    root: Path,
    files: Sequence[tuple[str, str]],
    inside: bool,
    device: torch.device,
    maker: FingerprintMaker,
) -> tuple[NDArray[np.float64], list[str]]:
    """Logits (networks, files, outputs), NaN where a file cannot be read or is a link out of `root`, and why not.

    `maker` gets those that can be read.
    """
    first = networks[0]
    images, reasons = [], []
    for path, reason in files:
        try:
            if not reason:
                values = read_values(root / path, window=first.window, within=root if inside else None)
                gray = values.to_uint8(first.window, path)
                if first.square:
                    gray = make_square(gray, values.aspect, path)
                images.append(fit(np.ascontiguousarray(gray), first.stored_size, first.fit_mode)[0])
                maker.add(values.pixels if values.source is None else values.source)
            reasons.append(reason)
        except ImageError as error:
            reasons.append(str(error))
    logits = np.full((len(networks), len(files), max(len(first.classes), 1)), np.nan)
    if images:
        # Through a dataset file like the one learned from, so that every pixel goes the same way.
        with tempfile.TemporaryDirectory() as folder:
            dataset = Path(folder) / "images.beton"
            write_beton(dataset, np.stack(images), np.zeros(len(images), dtype=np.int64), **first.storage)
            logits[:, [not reason for reason in reasons]] = class_logits(networks, open_dataset(dataset), device)
    return logits, reasons
