"""A pretrained network on a dataset that it has not seen: every metric of pretraining, with intervals.

In: weights of `fastrad pretrain` and a dataset file with the same classes. Out: an `Evaluation`; `save` leaves it in a
folder, with a picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastrad.dataset import Dataset
from fastrad.dataset.lookup import CONFIRMED, POSSIBLE
from fastrad.dataset.opening import open_dataset
from fastrad.errors import InputError
from fastrad.models.seen import asked_of, levels_among, read_seen
from fastrad.models.weights import Weights, load_weights
from fastrad.system.devices import choose_device
from fastrad.system.files import write_atomically, write_json
from fastrad.train import metrics
from fastrad.train.config import EvaluateConfig
from fastrad.train.intervals import Interval, bootstrap
from fastrad.train.outputs import outputs, whole_frames
from fastrad.train.pictures import draw_classes
from fastrad.train.pretrained import classifier


@dataclass(frozen=True)
class Evaluation:
    """What a network reaches on a dataset.

    Attributes
    ----------
    classes : tuple of str
        The network's, in its order.
    counts : tuple of int
        Images of each class.
    found : Metrics
    intervals : dict of str to Interval
        By the metric's name: percentiles 2.5 and 97.5 over draws of patients, or of images where patients are unknown.
    class_intervals : tuple of Interval
        Of each class's AUROC; NaN where it has none.
    resampled : str
        "patients" or "images".
    confusion : int array, (C, C)
        True class by class with the highest logit.
    logits : float array, (N, C)
        In the dataset's order.
    rows, labels : int arrays, (N,)
        Manifest rows; the network's class indices.
    notices : tuple of str
        What the reader should be told, a line each.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    found: metrics.Metrics
    intervals: dict[str, Interval]
    class_intervals: tuple[Interval, ...]
    resampled: str
    confusion: NDArray[np.int64]
    logits: NDArray[np.float64]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    notices: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Everything but the logits, in JSON's types; null for what is not finite."""
        numbers = {name: value for name, value in asdict(self.found).items() if name != "class_auroc"}
        return {
            "samples": len(self.rows),
            "resampled": self.resampled,
            "metrics": {
                name: {"value": _number(value), "interval": _pair(self.intervals.get(name))}
                for name, value in numbers.items()
            },
            "classes": {
                name: {
                    "samples": count,
                    "auroc": _number(auroc),
                    "interval": _pair(interval),
                    "recall": _number(self.confusion[index, index] / count if count else float("nan")),
                }
                for index, (name, count, auroc, interval) in enumerate(
                    zip(self.classes, self.counts, self.found.class_auroc, self.class_intervals, strict=True)
                )
            },
            "confusion": self.confusion.tolist(),
            "notices": list(self.notices),
        }


def evaluate(source: Path, file: Path | str, config: EvaluateConfig | None = None) -> Evaluation:
    """Test a pretrained network.

    Parameters
    ----------
    source : Path
        Weights of `fastrad pretrain`.
    file : path
        A dataset file, or the card of shards; its classes are among the network's, in any order.
    config : EvaluateConfig, optional

    Raises
    ------
    InputError
        If the weights lack classes or normalisation, or the dataset has other classes or no samples.
    FormatError, DamagedSampleError
        If a file is damaged.
    """
    config = config or EvaluateConfig()
    weights, dataset = load_weights(source), open_dataset(file)
    network = classifier(weights, source)
    classes, size = network.classes, network.size
    order = _order(classes, dataset, file)
    device = choose_device(config.device)
    images = whole_frames(dataset, None, size, device)
    logits = outputs(network.model.to(device), images, network.normalisation, device, flip_average=network.flip_average)
    labels = order[dataset.labels]
    if not np.isfinite(logits).all():
        raise InputError(f"{source}: its outputs on {file} are not finite numbers: training has diverged")
    found = metrics.evaluate(torch.from_numpy(logits), torch.from_numpy(labels))
    confusion = metrics.confusion(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
    patients = dataset.patients
    known = bool((patients >= 0).all())
    intervals, class_intervals = bootstrap(
        logits, labels, patients if known else np.arange(len(labels)), config.resamples, config.seed
    )
    result = Evaluation(
        classes=classes,
        counts=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
        found=found,
        intervals=intervals,
        class_intervals=class_intervals,
        resampled="patients" if known else "images",
        confusion=confusion,
        logits=logits,
        rows=dataset.rows,
        labels=labels,
        notices=(*weights.notices, *_notices(weights, dataset, file, size, known=known)),
    )
    if config.out is not None:
        save(result, config.out, source, dataset)
    return result


def save(result: Evaluation, out: Path, source: Path, dataset: Dataset) -> None:
    """Write evaluation.json, classes.png and logits.csv into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    about = {
        "weights": source.name,
        "weights_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "dataset": dataset.card.name,
        "card_sha256": dataset.card.sha256(),
        "synthetic": dataset.card.synthetic,
    }
    lines = [",".join(["row", "label", *(f"logit_{index}" for index in range(len(result.classes)))])]
    for row, label, values in zip(result.rows, result.labels, result.logits, strict=True):
        lines.append(",".join([str(row), str(label), *(f"{value:.9g}" for value in values)]))
    write_atomically(out / "logits.csv", ("\n".join(lines) + "\n").encode())
    kind = "synthetic images, " if dataset.card.synthetic else ""
    title = f"{kind}{dataset.card.name}: macro AUROC {result.found.macro_auroc:.4f}, top-1 {result.found.top1:.4f}"
    draw_classes(out / "classes.png", result.classes, result.found.class_auroc, result.confusion, title=title)
    write_json(out / "evaluation.json", {**about, **result.record()})


def _order(classes: tuple[str, ...], dataset: Dataset, file: Path | str) -> NDArray[np.int64]:
    """The network's index of each of the dataset's classes; -1 for one without an image that the network lacks."""
    if not len(dataset):
        raise InputError(f"{file}: holds no samples")
    place = {name: index for index, name in enumerate(classes)}
    others = [name for name, count in dataset.card.class_counts.items() if count and name not in place]
    if others:
        raise InputError(
            f"{file}: {len(others)} of its classes are none of the network's {len(classes)} (first: {others[0]!r}); "
            "convert the images with the network's class names"
        )
    return np.array([place.get(name, -1) for name in dataset.card.classes], dtype=np.int64)


def _seen(weights: Weights, dataset: Dataset, file: Path | str) -> list[str]:
    """Whether the network knows images of the dataset, and where that cannot be told; nothing where all are new."""
    if weights.seen & set(dataset.card.identities()):
        return [f"{file}: the network was trained or chosen on these very images; its figures are too good"]
    known = read_seen(weights, "the network")
    levels = levels_among(known, asked_of(dataset), len(dataset))
    confirmed, possible = int((levels >= CONFIRMED).sum()), int((levels == POSSIBLE).sum())
    said = [f"{file}: {notice}" for notice in known.notices]
    if confirmed:
        said.append(
            f"{file}: {confirmed:,} of its {len(dataset):,} images have trained or chosen the network; its figures are "
            "too good"
        )
    if possible:
        said.append(f"{file}: {possible:,} of its {len(dataset):,} images have possibly trained or chosen the network")
    return said


def _notices(weights: Weights, dataset: Dataset, file: Path | str, size: int, *, known: bool) -> list[str]:
    said = _seen(weights, dataset, file)
    stored = int(dataset.card.parameters["size"])
    if stored < size:
        said.append(f"{file}: stored at {stored} px, and enlarged to the {size} px that the network was validated at")
    if not known:
        said.append(
            f"{file}: patients are not known of every image, so images are resampled; intervals may be too narrow"
        )
    absent = len(weights.metadata["classes"]) - sum(1 for count in dataset.card.class_counts.values() if count)
    if absent:
        said.append(f"{file}: {absent} of the network's classes have no image here and are left out of the means")
    return said


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _pair(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_number(interval.low), _number(interval.high)]
