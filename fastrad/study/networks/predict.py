"""What finished networks say of images that they have not seen: a dataset file's, or those of files.

In: networks of a study, or pretrained ones, and images. Out: a table, a line an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax

from fastrad.dataset import Dataset
from fastrad.dataset.fingerprints import Fingerprints
from fastrad.dataset.opening import open_dataset
from fastrad.errors import InputError
from fastrad.models.seen import asked_of
from fastrad.study.networks.files import score_files
from fastrad.study.networks.scorer import Scorer, class_logits, load_scorer, say_if_converted_otherwise
from fastrad.study.networks.seen import marks, seen_by, summary
from fastrad.system.devices import choose_device
from fastrad.system.progress import say


def predict(weights: Sequence[Path], source: Path, device: str | None = None) -> pd.DataFrame:
    """Score a dataset file, the folder of an `all.beton`, one image, or every image below a folder.

    Parameters
    ----------
    weights : sequence of Path
        Networks of one arm of a study, or of `fastrad pretrain` with the same classes in the same order. Logits are
        averaged over them.
    source : Path
    device : str, optional

    Returns
    -------
    table
        `patient`, `row` and the class `label` (dataset), or `path` and `reason` (images; an unreadable one has no
        score). Of a study's networks `score` (the mean logit) and `probability`; of pretrained ones `top` (the class
        with the highest probability), `top_probability`, and at the end `probability_CLASS` of each class, the softmax
        of the mean logits. Of both `networks`, and `seen`: whether the image has trained or chosen one of the
        networks, or the weights that they began with: yes, possibly, no, unknown.

    Raises
    ------
    InputError
        If weights or source cannot be used, or the networks expect images converted differently.
    """
    where = choose_device(device)
    networks = [load_scorer(path) for path in weights]
    _refuse_mixture(networks)
    if (source / "all.beton").is_file():
        source = source / "all.beton"
    if source.suffix == ".beton":
        file = open_dataset(source)
        say_if_converted_otherwise(file, networks[0])
        logits = class_logits(networks, file, where)
        return _with_scores(_lines(file), networks, logits, _seen(weights, networks, asked_of(file), len(file)))
    if source.is_dir() and (files := sorted(path.name for path in source.iterdir() if path.suffix == ".beton")):
        raise InputError(
            f"{source}: holds dataset files, {', '.join(files[:5])}{' ...' if len(files) > 5 else ''}, and no "
            "all.beton; give the one that is to be scored, or a folder of images alone"
        )
    scored = score_files(networks, source, where)
    read = np.array([not reason for reason in scored.reasons])
    seen = np.full(len(read), "", dtype=object)
    seen[read] = _seen(weights, networks, [scored.fingerprints], int(read.sum()))
    table = pd.DataFrame({"path": scored.paths, "reason": scored.reasons})
    return _with_scores(table, networks, scored.logits, list(seen))


def _refuse_mixture(networks: Sequence[Scorer]) -> None:
    if len({bool(network.classes) for network in networks}) > 1:
        raise InputError("the networks are a study's and pretrained ones; give those of one kind")
    arms = sorted({network.arm for network in networks})
    if len(arms) > 1:
        raise InputError(f"the networks are of several arms ({', '.join(arms)}); give those of one, runs/ARM-*")
    if len({network.classes for network in networks}) > 1:
        raise InputError(
            "the networks tell other classes apart, or the same ones in another order; give those of one dataset"
        )


def _lines(file: Dataset) -> pd.DataFrame:
    known = file.card.patients
    return pd.DataFrame(
        {
            "patient": [
                known[index] if index >= 0 else f"image-{row}"
                for index, row in zip(file.patients, file.rows, strict=True)
            ],
            "row": np.asarray(file.rows),
            "label": [file.card.classes[index] for index in file.labels],
        }
    )


def _seen(weights: Sequence[Path], networks: Sequence[Scorer], asked: Sequence[Fingerprints], images: int) -> list[str]:
    """The marks of images by their fingerprints; what they mean is said, and what could not be looked up."""
    known = seen_by([(str(path), network.about) for path, network in zip(weights, networks, strict=True)])
    found = marks(known, asked, images)
    for line in (*known.notices, summary(found)):
        if line:
            say(f"notice: {line}")
    return found


def _with_scores(
    table: pd.DataFrame, networks: Sequence[Scorer], logits: NDArray[np.float64], seen: Sequence[str]
) -> pd.DataFrame:
    """The columns that networks give; `logits` is (networks, images, outputs), NaN for an image that has none."""
    mean, classes = logits.mean(axis=0), networks[0].classes
    if not classes:
        score = mean[:, 0]
        return table.assign(score=score, probability=expit(score), networks=len(networks), seen=seen)
    chances = softmax(mean, axis=1)
    read, best = ~np.isnan(mean).any(axis=1), mean.argmax(axis=1)
    columns = {
        "top": [classes[index] if known else "" for index, known in zip(best, read, strict=True)],
        "top_probability": chances[np.arange(len(best)), best],
        "networks": len(networks),
        "seen": seen,
    }
    each = {f"probability_{name}": chances[:, index] for index, name in enumerate(classes)}
    return pd.concat([table.assign(**columns), pd.DataFrame(each, index=table.index)], axis=1)
