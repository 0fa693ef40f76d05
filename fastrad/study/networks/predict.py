"""Scores of patients that a study has not seen, from its finished networks: a dataset file's, or of images in files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from fastrad.dataset import Dataset, write_beton
from fastrad.dataset.fingerprints import Fingerprints, read_own
from fastrad.dataset.opening import open_dataset
from fastrad.dataset.pixels import FingerprintMaker, stored_digests
from fastrad.errors import InputError
from fastrad.imaging import ImageError, fit, make_square, read_values
from fastrad.imaging.frames import first_frames_alone
from fastrad.imaging.normalisation import Normalisation
from fastrad.imaging.walk import SUFFIXES, is_image_file, walk_images
from fastrad.models.metadata import Tuned, as_written
from fastrad.models.resnet import HEAD, resnet
from fastrad.models.weights import Weights, load_weights
from fastrad.study.networks.score import score_images
from fastrad.study.networks.seen import marks, seen_by, summary
from fastrad.system.devices import choose_device
from fastrad.system.progress import say
from fastrad.train.outputs import whole_frames

_AT_ONCE = 1024  # images of a folder that are held in memory


@dataclass(frozen=True)
class StudyNetwork:
    """A finished network and what its images must look like.

    Attributes
    ----------
    model : nn.Module
        One logit, evaluation mode.
    normalisation : Normalisation
    size : int
        Input side, pixels.
    flip_average : bool
    stored_size, fit_mode, window : int, str, tuple or None
        How the study's dataset was converted: images from a folder are treated alike.
    crop : str
        What of an image was stored, "nodule" say; "" for all of it.
    storage : dict
        How pixels were stored: `encode`, and `quality` where that loses some.
    arm : str
    about : Weights
        What the file says of itself, without its tensors.
    """

    model: nn.Module
    normalisation: Normalisation
    size: int
    flip_average: bool
    stored_size: int
    fit_mode: str
    window: tuple[float, float] | None
    crop: str
    storage: dict[str, Any]
    arm: str
    about: Weights


def load_network(path: Path) -> StudyNetwork:
    """Load one network of a study.

    Raises
    ------
    InputError
        If the file is of another origin: it lacks what a study writes.
    """
    weights = load_weights(path)
    metadata = weights.metadata
    head = weights.state.get(HEAD[0])
    if "flip_average" not in metadata or weights.normalisation is None or head is None or len(head) != 1:
        raise InputError(f"{path}: is not a network of a study; give OUT/runs/ARM-*/weights.safetensors of compare")
    as_written(metadata, Tuned, str(path))
    model = resnet(weights.architecture, 1)
    model.load_state_dict(weights.state)
    parameters = metadata["parameters"]
    window = parameters.get("window")
    return StudyNetwork(
        model.eval(),
        weights.normalisation,
        int(metadata["size"]),
        bool(metadata["flip_average"]),
        int(parameters["size"]),
        str(parameters["fit"]),
        None if window is None else tuple(window),
        str(metadata.get("source_options", {}).get("crop") or ""),
        _storage(parameters),
        str(metadata["arm"]),
        replace(weights, state={}),
    )


def _storage(parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters.get("encode") == "jpeg":
        return {"encode": "jpeg", "quality": int(parameters["quality"])}
    return {"encode": "raw"}


def score_dataset(networks: Sequence[StudyNetwork], dataset: Dataset, device: torch.device) -> NDArray[np.float64]:
    """Logits (networks, images) of every image of a dataset."""
    return np.stack(
        [
            score_images(
                network.model.to(device),
                whole_frames(dataset, None, network.size, device),
                network.normalisation,
                device,
                flip_average=network.flip_average,
            )
            for network in networks
        ]
    )


def predict(weights: Sequence[Path], source: Path, device: str | None = None) -> pd.DataFrame:
    """Score a dataset file, the folder of an `all.beton`, one image, or every image below a folder.

    Returns
    -------
    table
        `patient`, `row` and the class `label` (dataset), or `path` and `reason` (images; an unreadable one has no
        score), and `score`, `probability`, `networks`; `seen` says whether the image has trained or chosen one of the
        networks, or the weights that they began with: yes, possibly, no, unknown.

    Raises
    ------
    InputError
        If weights or source cannot be used, or the networks expect images converted differently.
    """
    where = choose_device(device)
    networks = [load_network(path) for path in weights]
    arms = sorted({network.arm for network in networks})
    if len(arms) > 1:
        raise InputError(f"the networks are of several arms ({', '.join(arms)}); give those of one, runs/ARM-*")
    if (source / "all.beton").is_file():
        source = source / "all.beton"
    if source.suffix == ".beton":
        file = open_dataset(source)
        say_if_converted_otherwise(file, networks[0])
        known = file.card.patients
        table = pd.DataFrame(
            {
                "patient": [
                    known[index] if index >= 0 else f"image-{row}"
                    for index, row in zip(file.patients, file.rows, strict=True)
                ],
                "row": np.asarray(file.rows),
                "label": [file.card.classes[index] for index in file.labels],
            }
        )
        own, (_, stored) = read_own(file), stored_digests(file)
        asked = [Fingerprints.of(stored), *([] if own is None else [own])]
        table = _with_scores(table, score_dataset(networks, file, where))
        return table.assign(seen=_seen(weights, networks, asked, len(table)))
    if source.is_dir() and (files := sorted(path.name for path in source.iterdir() if path.suffix == ".beton")):
        raise InputError(
            f"{source}: holds dataset files, {', '.join(files[:5])}{' ...' if len(files) > 5 else ''}, and no "
            "all.beton; give the one that is to be scored, or a folder of images alone"
        )
    return _predict_images(weights, networks, source, where)


def say_if_converted_otherwise(file: Dataset, network: StudyNetwork) -> None:
    """A notice where a dataset's images were not made like those that a network learned from."""
    parameters, window = file.card.parameters, file.card.parameters.get("window")
    theirs = {
        "fit": str(parameters.get("fit", network.fit_mode)),
        "window": None if window is None else tuple(window),
        "crop": str(file.card.source_options.get("crop") or ""),
        **_storage(parameters),
    }
    ours = {"fit": network.fit_mode, "window": network.window, "crop": network.crop, **network.storage}
    different = [
        f"{name} {theirs.get(name) or 'none'}, not {ours.get(name) or 'none'}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if different:
        say(f"notice: {file.path}: was converted otherwise than the study's images ({'; '.join(different)})")


def _predict_images(
    weights: Sequence[Path], networks: Sequence[StudyNetwork], source: Path, device: torch.device
) -> pd.DataFrame:
    first = networks[0]
    if any(_conversion(network) != _conversion(first) for network in networks):
        raise InputError("the networks come from datasets that were converted differently; give those of one study")
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder")
    if first.crop:
        raise InputError(
            f"{source}: the study's images were cropped (--crop {first.crop}), these files are whole frames; convert "
            "them alike and give the dataset file"
        )
    root, found = _images_in(source)
    parts = [found[start : start + _AT_ONCE] for start in range(0, len(found), _AT_ONCE)]
    maker = FingerprintMaker(len(found))
    scored = [_score_files(networks, root, part, source.is_dir(), device, maker) for part in parts]
    reasons = [reason for _, of_part in scored for reason in of_part]
    read = np.array([not reason for reason in reasons])
    seen = np.full(len(found), "", dtype=object)
    seen[read] = _seen(weights, networks, [Fingerprints.of(maker.table)], int(read.sum()))
    table = pd.DataFrame({"path": [path for path, _ in found], "reason": reasons})
    return _with_scores(table, np.concatenate([scores for scores, _ in scored], axis=1)).assign(seen=seen)


def _images_in(source: Path) -> tuple[Path, list[tuple[str, str]]]:
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


def _score_files(
    networks: Sequence[StudyNetwork],
    root: Path,
    files: Sequence[tuple[str, str]],
    inside: bool,
    device: torch.device,
    maker: FingerprintMaker,
) -> tuple[NDArray[np.float64], list[str]]:
    """Logits (networks, files), NaN where a file cannot be read or is a link out of `root`, and why not.

    `maker` gets those that can be read.
    """
    first = networks[0]
    images, reasons = [], []
    for path, reason in files:
        try:
            if not reason:
                values = read_values(root / path, window=first.window, within=root if inside else None)
                gray = make_square(values.to_uint8(first.window, path), values.aspect, path)
                images.append(fit(np.ascontiguousarray(gray), first.stored_size, first.fit_mode)[0])
                maker.add(values.pixels if values.source is None else values.source)
            reasons.append(reason)
        except ImageError as error:
            reasons.append(str(error))
    scores = np.full((len(networks), len(files)), np.nan)
    if images:
        # Through a dataset file like the study's, so that every pixel goes the same way.
        with tempfile.TemporaryDirectory() as folder:
            dataset = Path(folder) / "images.beton"
            write_beton(dataset, np.stack(images), np.zeros(len(images), dtype=np.int64), **first.storage)
            scores[:, [not reason for reason in reasons]] = score_dataset(networks, open_dataset(dataset), device)
    return scores, reasons


def _seen(
    weights: Sequence[Path], networks: Sequence[StudyNetwork], asked: Sequence[Fingerprints], images: int
) -> list[str]:
    """The marks of images by their fingerprints; what they mean is said, and what could not be looked up."""
    known = seen_by([(str(path), network.about) for path, network in zip(weights, networks, strict=True)])
    found = marks(known, asked, images)
    for line in (*known.notices, summary(found)):
        if line:
            say(f"notice: {line}")
    return found


def _conversion(network: StudyNetwork) -> tuple:
    return network.stored_size, network.fit_mode, network.window, network.storage


def _with_scores(table: pd.DataFrame, scores: NDArray[np.float64]) -> pd.DataFrame:
    mean = scores.mean(axis=0)
    return table.assign(score=mean, probability=expit(mean), networks=len(scores))
