"""Can a study show an advantage that is there, and does it show none where there is none? Asked on generated images.

In: an output folder. Out: `controls.json`, and what each stage leaves in sub-folders. Features of five frozen networks
are compared under a logistic regression: two with random weights (the negative control), one pretrained on the very
task (the positive control), one on natural pictures, one on radiology. The numbers below were fixed after a pilot on
other seeds (100 and on) and are not tuned: the order of natural pictures and radiology is printed whichever way it
falls. The radiology archive holds the target organ, as RadImageNet does, and its classes are told apart by layout more
easily than real ones.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastrad import phantom
from fastrad.archives import read_source
from fastrad.archives.base import bounding_box
from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset.opening import open_dataset
from fastrad.errors import FastradError
from fastrad.phantom.archive import BOX_COLUMNS, TRUTH
from fastrad.system.files import write_json
from fastrad.system.progress import say

NETWORKS = {
    "random": "random weights",
    "random again": "other random weights",
    "natural": "pretrained on natural pictures",
    "radiology": "pretrained on radiology",
    "same task": "pretrained on the task itself, other patients",
}
# upper minus lower; the last three are the question, corrected together
CONTRASTS = (
    ("same task", "random"),
    ("random again", "random"),
    ("natural", "random"),
    ("radiology", "random"),
    ("radiology", "natural"),
)
QUESTION = slice(2, 5)


@dataclass(frozen=True)
class ControlsPlan:
    """How much the controls do; fixed after a pilot, see above.

    Attributes
    ----------
    size : int
        Side of the stored and trained images, pixels.
    margin : float
        Around the outlined nodule, as a part of its longer side.
    pretraining_images : int
        Of each of the three pretraining archives.
    pretraining_epochs, pretraining_batch_size : int
    pretraining_lr : float
        The peak learning rate.
    target_images : int
        About one and a half a patient.
    test_fraction : float
        Share of the target's patients that are scored.
    sets, set_patients : int
        Disjoint sets of training patients, and the patients of each.
    ridge : float
        Inverse strength of the penalty of the logistic regression on standardised features.
    least_advantage : float
        The positive control's lower limit must lie above it, the negative control's limits within it on both sides.
    seed : int
        Of images and networks.
    device : str or None
        cpu, cuda or cuda:N; by default a GPU where there is one.
    """

    size: int = 48
    margin: float = 0.25
    pretraining_images: int = 6000
    pretraining_epochs: int = 6
    pretraining_batch_size: int = 64
    pretraining_lr: float = 0.05
    target_images: int = 3000
    test_fraction: float = 0.6
    sets: int = 10
    set_patients: int = 40
    ridge: float = 1e-3
    least_advantage: float = 0.05
    seed: int = field(default=0, metadata={"min": 0, "max": 2**31 - 1})
    device: str | None = None


@dataclass(frozen=True)
class Contrast:
    """The difference between two networks' AUROCs, mean over the sets of training patients.

    Attributes
    ----------
    upper, lower : str
        Keys of `NETWORKS`.
    difference, standard_error, df, low, high, p_value : float
        With a 95 % interval from Student's t; p is two-sided and not corrected.
    """

    upper: str
    lower: str
    difference: float
    standard_error: float
    df: float
    low: float
    high: float
    p_value: float


def run_controls(out: Path, plan: ControlsPlan | None = None) -> dict:
    """Run the controls, or what is left of them.

    Parameters
    ----------
    out : Path
        Receives `archives/`, `datasets/`, `runs/` and `controls.json`.
    plan : ControlsPlan, optional

    Returns
    -------
    dict
        What `controls.json` holds.

    Raises
    ------
    FastradError
        As the stages do.
    """
    plan = plan or ControlsPlan()
    began = time.monotonic()
    for kind, images, seed in (
        ("radiology", plan.pretraining_images, plan.seed),
        ("natural", plan.pretraining_images, plan.seed),
        ("same task", plan.pretraining_images, plan.seed + 1_000_000),  # other patients
        ("target", plan.target_images, plan.seed),
    ):
        drawn = "thyroid" if kind in ("same task", "target") else kind
        archive = out / "archives" / kind.replace(" ", "-")
        phantom.write_phantom(drawn, archive, images=images, seed=seed, size=96)
        manifest = _cropped(archive, plan, splits=kind == "same task") if drawn == "thyroid" else None
        manifest = manifest or read_source(phantom.LAYOUTS[drawn], archive)
        convert(manifest, out / "datasets" / archive.name, ConvertOptions(size=plan.size, keep_patient_ids=True))
    weights = {name: _pretrain(out, name, plan) for name in ("radiology", "natural", "same task")}

    scores, labels = _scores(out / "datasets" / "target" / "all.beton", weights, plan)
    contrasts = [contrast(upper, lower, labels, scores[upper], scores[lower]) for upper, lower in CONTRASTS]
    found = report(labels, scores, contrasts, plan)
    found["seconds"] = round(time.monotonic() - began, 1)
    write_json(out / "controls.json", found)
    return found


def _cropped(archive: Path, plan: ControlsPlan, *, splits: bool) -> Manifest:
    """A thyroid archive's nodules with their margin; with `splits`, every seventh patient validates."""
    truth = pd.read_csv(archive / TRUTH)
    if not set(BOX_COLUMNS) <= set(truth.columns):
        raise FastradError(f"{archive}: was drawn by an earlier version, without outlines; choose another folder")
    table = pd.read_csv(archive / "labels.csv", dtype=str).merge(truth[["path", *BOX_COLUMNS]], on="path")
    edges = zip(*(table[name] for name in BOX_COLUMNS), strict=True)
    boxes = [bounding_box([(l, t), (r - 1, b - 1)], plan.margin) for l, t, r, b in edges]  # noqa: E741
    patient = pd.factorize(table["patient"])[0]
    split = np.where(patient % 7 == 0, "val", "train").tolist() if splits else ""
    return Manifest.from_columns(
        archive,
        "table",
        path=table["path"].tolist(),
        label=table["label"].tolist(),
        patient=table["patient"].tolist(),
        split=split,
        box=boxes,
        synthetic=True,
    )


def _pretrain(out: Path, name: str, plan: ControlsPlan) -> Path:
    from fastrad.loading.policy import Augmentation
    from fastrad.train import PretrainConfig, Recipe
    from fastrad.train.pretrain import pretrain

    folder = name.replace(" ", "-")
    dataset, run = out / "datasets" / folder, out / "runs" / folder
    say(f"controls: a network {NETWORKS[name]} ...")
    recipe = Recipe(
        epochs=plan.pretraining_epochs,
        batch_size=plan.pretraining_batch_size,
        lr=plan.pretraining_lr * 256 / plan.pretraining_batch_size,
        augment=Augmentation(),
    )
    config = PretrainConfig(
        train=dataset / "train.beton",
        val=dataset / "val.beton",
        out=run,
        recipe=recipe,
        seed=plan.seed,
        precision="amp",
        device=plan.device,
        resume=(run / "config.json").exists(),
    )
    return pretrain(config)


def _scores(
    target: Path, weights: dict[str, Path], plan: ControlsPlan
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Of each network, the scores of the test patients under each training set: (sets, patients); and their labels."""
    import torch

    from fastrad.imaging.normalisation import Normalisation
    from fastrad.models.resnet import resnet18
    from fastrad.models.weights import initialise, load_weights
    from fastrad.system.devices import choose_device
    from fastrad.train.outputs import outputs, whole_frames

    device = choose_device(plan.device)
    dataset = open_dataset(target)
    normalisation = Normalisation.gray(dataset.card.mean, dataset.card.std)
    images = whole_frames(dataset, None, plan.size, device)
    found = {}
    for number, name in enumerate(NETWORKS):
        torch.manual_seed(plan.seed * 10 + number)
        model = resnet18(1)
        if name in weights:
            initialise(model, load_weights(weights[name]), normalisation=normalisation)
        model.fc = torch.nn.Identity()
        features = outputs(model.to(device), images, normalisation, device, flip_average=True)
        found[name] = set_scores(features, dataset.labels, dataset.patients, plan)
    _, tested = draw_patients(dataset.labels, dataset.patients, plan)
    label_of = pd.Series(dataset.labels).groupby(dataset.patients).first()
    return found, label_of.loc[tested].to_numpy()


def draw_patients(
    labels: NDArray[np.int64], patients: NDArray[np.int64], plan: ControlsPlan
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Disjoint sets of training patients, and the test patients; each with the archive's share of malignant ones.

    Parameters
    ----------
    labels, patients : int arrays, (images,)

    Returns
    -------
    (list of int arrays, int array)
        Patients, sorted.
    """
    label_of = pd.Series(labels).groupby(patients).first()
    draw = np.random.default_rng([plan.seed, 40])
    sets: list[list[int]] = [[] for _ in range(plan.sets)]
    tested: list[int] = []
    share = float((label_of == 1).mean())
    for label in (0, 1):
        members = draw.permutation(label_of.index[label_of == label].to_numpy())
        held_out = round(plan.test_fraction * len(members))
        tested += members[:held_out].tolist()
        malignant = round(share * plan.set_patients)
        each = malignant if label == 1 else plan.set_patients - malignant
        taken = held_out
        for one in sets:
            one += members[taken : taken + each].tolist()
            taken += each
        if taken > len(members):
            raise FastradError(f"{len(label_of)} patients are too few for {plan.sets} sets of {plan.set_patients}")
    return [np.sort(one) for one in sets], np.sort(tested)


def set_scores(
    features: NDArray[np.float64], labels: NDArray[np.int64], patients: NDArray[np.int64], plan: ControlsPlan
) -> NDArray[np.float64]:
    """The test patients' scores (mean over their images) under each set's logistic regression: (sets, patients)."""
    from sklearn.linear_model import LogisticRegression

    sets, tested = draw_patients(labels, patients, plan)
    held_out = np.isin(patients, tested)
    scores = []
    for chosen in sets:
        training = np.isin(patients, chosen)
        mean, spread = features[training].mean(0), np.maximum(features[training].std(0), 1e-6)
        regression = LogisticRegression(C=plan.ridge, max_iter=2000)
        regression.fit((features[training] - mean) / spread, labels[training])
        of_images = regression.decision_function((features[held_out] - mean) / spread)
        scores.append(pd.Series(of_images).groupby(patients[held_out]).mean().to_numpy())
    return np.array(scores)


def contrast(
    upper: str, lower: str, labels: NDArray[np.int64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> Contrast:
    """Compare two networks whose scores were fitted on the same sets of training patients.

    The variance has two parts: of the test patients, from DeLong's components averaged over the sets (DeLong et al.,
    Biometrics 1988;44:837), and of the training patients, from the differences' variance between the disjoint sets.
    The degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946;2:110).

    Parameters
    ----------
    labels : int array, (patients,)
    a, b : float arrays, (sets, patients)
    """
    from scipy.special import stdtr, stdtrit

    from fastrad.study.inference.auroc import structural_components

    ours, theirs = structural_components(labels, *a), structural_components(labels, *b)
    of_sets = ours.auroc - theirs.auroc
    parts = []
    for above, below in ((ours.malignant, theirs.malignant), (ours.benign, theirs.benign)):
        averaged = (above - below).mean(0)
        parts.append((averaged.var(ddof=1) / averaged.size, averaged.size - 1))
    parts.append((of_sets.var(ddof=1) / of_sets.size, of_sets.size - 1))
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts) if variance else math.inf
    difference, error = float(of_sets.mean()), math.sqrt(variance)
    half = float(stdtrit(df, 0.975)) * error if variance else 0.0
    p_value = 2 * float(stdtr(df, -abs(difference) / error)) if variance else math.nan
    return Contrast(upper, lower, difference, error, float(df), difference - half, difference + half, p_value)


def report(
    labels: NDArray[np.int64], scores: dict[str, NDArray[np.float64]], contrasts: list[Contrast], plan: ControlsPlan
) -> dict:
    """Everything that was found, in JSON's types."""
    from fastrad.study.inference.auroc import structural_components
    from fastrad.study.inference.differences import holm

    aurocs = {name: structural_components(labels, *of_sets).auroc for name, of_sets in scores.items()}
    same, again = contrasts[0], contrasts[1]
    corrected = holm([each.p_value for each in contrasts[QUESTION]])
    return {
        "plan": asdict(plan),
        "test_patients": len(labels),
        "malignant": int(labels.sum()),
        "auroc": {name: {"mean": float(each.mean()), "sd": float(each.std(ddof=1))} for name, each in aurocs.items()},
        "contrasts": [asdict(each) for each in contrasts],
        "holm_p_values": {
            f"{each.upper} - {each.lower}": p_value
            for each, p_value in zip(contrasts[QUESTION], corrected, strict=True)
        },
        "positive_control": same.low > plan.least_advantage,
        "negative_control": again.low <= 0 <= again.high and max(-again.low, again.high) <= plan.least_advantage,
    }


def table(found: dict) -> str:
    """The result for a reader, as Markdown."""
    plan = found["plan"]
    lines = [
        f"{found['test_patients']} test patients ({found['malignant']} malignant), generated images; mean over "
        f"{plan['sets']} disjoint sets of {plan['set_patients']} training patients.",
        "",
        "| network, frozen | AUROC, mean | SD over sets |",
        "| --- | --- | --- |",
        *(f"| {NETWORKS[name]} | {each['mean']:.3f} | {each['sd']:.3f} |" for name, each in found["auroc"].items()),
        "",
        "| difference | AUROC | 95 % interval | p | Holm's p |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in found["contrasts"]:
        name = f"{each['upper']} - {each['lower']}"
        holm_p = found["holm_p_values"].get(name)
        shown = "" if holm_p is None else f"{holm_p:.2g}"
        interval = f"{each['low']:+.3f} to {each['high']:+.3f}"
        lines.append(f"| {name} | {each['difference']:+.3f} | {interval} | {each['p_value']:.2g} | {shown} |")
    least = plan["least_advantage"]
    for name, what in (
        ("positive_control", f"the task itself over random weights, lower limit above {least:g}"),
        ("negative_control", f"two random starts, an interval that holds 0 and lies within {least:g}"),
    ):
        lines += ["", f"{name.replace('_', ' ').capitalize()} ({what}): {'passed' if found[name] else 'FAILED'}."]
    return "\n".join(lines)
