"""Tune one network on a set of patients by the recipe that a search within the set prefers.

In: an opened dataset, who is in the set, who is tested. Out: scores of the tested images. The set is parted in five as
a study's development patients are parted in folds: the first part chooses the epoch, each recipe of the grid is tried
on two of the others (`protocol.search`), and the one with the lowest mean log loss tunes the network. The tested
patients have no say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from fastrad.errors import InputError
from fastrad.models.weights import Weights
from fastrad.study.networks.frozen import fit_head
from fastrad.study.networks.score import DivergedError
from fastrad.study.networks.tune import Task, Tuned, fine_tune
from fastrad.study.protocol.config import Tuning
from fastrad.study.protocol.search import FROZEN, GRID, inner_parts
from fastrad.train.precision import choose_precision

FOLDS = 5


def parts_of(patients: NDArray[np.int64], labels: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Patients in five parts, each with its share of malignant ones.

    Parameters
    ----------
    patients, labels : int64 arrays, (patients,)
    seed : int
    """
    draw = np.random.default_rng(seed)
    order = np.concatenate([draw.permutation(np.flatnonzero(labels == label)) for label in (0, 1)])
    return [np.sort(patients[order[part::FOLDS]]) for part in range(FOLDS)]


def search_and_tune(
    task: Task,
    weights: Weights | None,
    tuning: Tuning,
    parts: Sequence[NDArray[np.int64]],
    *,
    seed: int,
    number: int,
    device: torch.device,
    redrawn: bool = False,
    recipes: Sequence[str] = tuple(GRID),
) -> tuple[Tuned, str]:
    """Choose a recipe within the set, tune with it, and score the test images.

    Parameters
    ----------
    task : Task
        `training` and `validation` are not looked at; `test` is scored.
    weights, tuning, seed, device, redrawn
        As in `fine_tune`; a recipe changes the tuning.
    parts : sequence of int64 arrays
        The set's patients, from `parts_of`.
    number : int
        Of the set: what a fold is to a study.
    recipes : sequence of str
        Names in `GRID`.

    Returns
    -------
    (Tuned, str)
        The network, and the recipe that was chosen.

    Raises
    ------
    InputError
        If every recipe diverges.
    """

    def run(name: str, training: Sequence[int], validation: int, test: NDArray[np.int64]) -> Tuned:
        members = np.concatenate([parts[part] for part in training])
        part = replace(
            task,
            training=np.flatnonzero(np.isin(task.patient_of, members)),
            validation=np.flatnonzero(np.isin(task.patient_of, parts[validation])),
            test=test,
        )
        changed = replace(tuning, **GRID[name])  # type: ignore[arg-type]
        tuned = partial(fine_tune, precision=choose_precision("amp", device, changed.size))
        how = fit_head if name == FROZEN else tuned
        return how(part, weights, changed, seed=seed, fold=number, device=device, redrawn=redrawn)

    nobody = np.zeros(0, np.int64)
    others = set(range(1, len(parts)))
    losses = dict.fromkeys(recipes, 0.0)
    for name in recipes:
        for inner in inner_parts(0, len(parts)):
            try:
                tried = run(name, sorted(others - {inner}), inner, nobody)
                loss = tried.history[tried.best_epoch - 1].val_loss
            except DivergedError:
                loss = math.inf
            losses[name] += loss if math.isfinite(loss) else math.inf
    chosen = min(losses, key=losses.__getitem__)
    if math.isinf(losses[chosen]):
        raise InputError(f"set {number}: every recipe of the grid diverged")
    return run(chosen, sorted(others), 0, task.test), chosen
