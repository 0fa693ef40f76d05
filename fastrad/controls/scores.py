"""The test patients' scores: frozen networks' features under a logistic regression, and tuned networks.

In: the target's dataset file and pretrained weights. Out: scores by network, (sets of training patients, test
patients).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastrad.controls.plan import NETWORKS, ControlsPlan
from fastrad.dataset.opening import open_dataset
from fastrad.errors import FastradError
from fastrad.system.files import write_json
from fastrad.system.progress import track


def frozen_scores(
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


def tuned_scores(
    target: Path, weights: dict[str, Path], plan: ControlsPlan, folder: Path
) -> tuple[dict[str, NDArray[np.float64]], dict[str, list[str]]]:
    """As `frozen_scores`, of networks tuned on the first sets: (sets, patients); and each set's recipe."""
    from fastrad.imaging.normalisation import Normalisation
    from fastrad.models.weights import load_weights
    from fastrad.study.networks.tune import Task
    from fastrad.study.networks.within import parts_of, search_and_tune
    from fastrad.study.protocol.config import Tuning
    from fastrad.study.protocol.search import grid_recipes
    from fastrad.system.devices import choose_device

    device = choose_device(plan.device)
    dataset = open_dataset(target)
    sets, tested = draw_patients(dataset.labels, dataset.patients, plan)
    label_of = pd.Series(dataset.labels).groupby(dataset.patients).first()
    test = np.flatnonzero(np.isin(dataset.patients, tested))
    nobody = np.zeros(0, np.int64)
    normalisation = Normalisation.gray(dataset.card.mean, dataset.card.std)
    task = Task(dataset, 1, normalisation, dataset.labels, dataset.patients, nobody, nobody, test)
    tuning = Tuning(epochs=plan.tuned_epochs, size=plan.size, batch_size=plan.tuned_batch_size)
    settings = json.loads(json.dumps(asdict(plan)))  # as they are read again
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in NETWORKS}
    recipes: dict[str, list[str]] = {name: [] for name in NETWORKS}
    folder.mkdir(parents=True, exist_ok=True)
    with track("tuning", plan.tuned_sets * len(NETWORKS), "networks") as progress:
        for number, chosen in enumerate(sets[: plan.tuned_sets]):
            parts = parts_of(chosen, label_of.loc[chosen].to_numpy(), plan.seed)
            for name in NETWORKS:
                place = folder / f"{name.replace(' ', '-')}-set{number}.json"
                kept = json.loads(place.read_text()) if place.exists() else {}
                if kept.get("plan") != settings:
                    tuned, recipe = search_and_tune(
                        task,
                        load_weights(weights[name]) if name in weights else None,
                        tuning,
                        parts,
                        seed=plan.seed,
                        number=number,
                        device=device,
                        redrawn=name == "random again",
                        recipes=grid_recipes(plan.tuned_recipes),
                    )
                    kept = {"plan": settings, "recipe": recipe, "scores": tuned.test_scores.tolist()}
                    write_json(place, kept)
                of_patients = pd.Series(kept["scores"]).groupby(dataset.patients[test]).mean()
                found[name].append(of_patients.to_numpy())
                recipes[name].append(kept["recipe"])
                progress.advance(1)
    return {name: np.array(each) for name, each in found.items()}, recipes


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
