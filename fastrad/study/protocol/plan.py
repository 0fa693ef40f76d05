"""The whole study before anything is trained: who is held out, what starts from what, and which networks there are.

Whatever can be refused is refused here: the first hour of training must not be spent on a study that cannot end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fastrad.errors import InputError, OptionError
from fastrad.imaging.normalisation import Normalisation
from fastrad.study.protocol.arms import Arm, make_arms
from fastrad.study.protocol.attributes import attribute_columns, characteristics, read_attributes
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.external import check_external
from fastrad.study.protocol.patients import StudyDataset, read_patients
from fastrad.study.protocol.search import FROZEN, Recipe, Search, check_folds, grid_recipes, require_regression
from fastrad.study.protocol.seen import Seen, external_seen, without_seen
from fastrad.study.protocol.splits import Splits, make_splits, read_splits, training_subset


@dataclass(frozen=True)
class Network:
    """One run of the plan.

    `arm` is one start of an arm; `patients` limits the training patients (learning curve), None takes all of the fold;
    `fixed` keeps to the fixed recipe where others' are chosen by a search.
    """

    arm: Arm
    seed: int
    fold: int
    patients: int | None = None
    fixed: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        limited = "" if self.patients is None else f"patients{self.patients}-"  # in front: ARM-* finds whole ones alone
        start = f"-start{self.arm.start}" if self.arm.start else ""
        fixed = "fixed-" if self.fixed else ""
        return f"{limited}{fixed}{self.arm.name}{start}-seed{self.seed}-fold{self.fold}"

    @property
    def label(self) -> str:
        """For a reader."""
        several = f" ({self.arm.source})" if self.arm.start or self.arm.further else ""
        limited = "" if self.patients is None else f", {self.patients} training patients"
        fixed = ", fixed recipe" if self.fixed else ""
        return f"{self.arm.label}{several}, seed {self.seed}, fold {self.fold}{limited}{fixed}"


@dataclass(frozen=True)
class Protocol:
    """What all networks share.

    `test` is False where no test patient may be scored yet; `search` is there where recipes are chosen from a grid.
    """

    dataset: StudyDataset
    splits: Splits
    tuning: Tuning
    normalisation: Normalisation
    test: bool = True
    search: Search | None = None

    def recipe(self, network: Network) -> tuple[str | None, Recipe | None]:
        """How a network is tuned, and the recipe's name in the grid; None for both before it is chosen."""
        if self.search is None or network.arm.frozen or network.fixed:
            return None, Recipe(self.tuning, network.arm.frozen)
        name = self.search.chosen(network.arm.name, network.fold, self.splits.folds)
        return name, None if name is None else self.search.recipe(name)


@dataclass(frozen=True)
class Plan:
    """Everything that a study is made of.

    Attributes
    ----------
    protocol : Protocol
    arms : tuple of Arm
        The abstract's three first.
    networks : tuple of Network
        With all training patients, in the order in which they are tuned: seed, fold, arm.
    limited : tuple of Network
        With fewer training patients, for the learning curve.
    externals : tuple of StudyDataset
    attributes : table or None
        Of the test patients, where subgroups are asked for.
    notices : tuple of str
        What the reader of the study must know, a line each.
    characteristics : tuple of dict
        Attributes of development and test patients, counted.
    seen : tuple of Seen
        What looking every image up among those of weights and study found.
    fixed : tuple of Network
        Those of the fixed recipe again, where the others' recipes are chosen by a search: a sensitivity analysis.
    """

    protocol: Protocol
    arms: tuple[Arm, ...]
    networks: tuple[Network, ...]
    limited: tuple[Network, ...]
    externals: tuple[StudyDataset, ...]
    attributes: pd.DataFrame | None
    notices: tuple[str, ...]
    characteristics: tuple[dict, ...] = ()
    seen: tuple[Seen, ...] = ()
    fixed: tuple[Network, ...] = ()

    @property
    def everything(self) -> list[Network]:
        """All networks, in the order in which they are tuned."""
        return [*self.networks, *self.limited, *self.fixed]


def make_plan(config: CompareConfig) -> Plan:
    """Open the datasets and weights of a study, split its patients, and list its networks.

    Raises
    ------
    InputError
        If dataset, weights, splits or options cannot be used.
    MissingDependencyError
        If features are to be used frozen, and scikit-learn is not installed.
    """
    if config.frozen:
        require_regression("--frozen")
    if config.search and FROZEN in grid_recipes(config.grid):
        require_regression(f"the recipe {FROZEN} of --search (--grid chooses others)")
    dataset = read_patients(config.dataset, config.positive)
    arms = make_arms(config.radimagenet, config.imagenet, config.arms, config.frozen, null_arm=config.null_arm)
    _refuse_seen(arms, dataset, "this very dataset, test patients and labels included: a leak")
    splits = _splits(config, dataset)
    splits, seen, seen_notices = without_seen(config, arms, dataset, splits)
    externals = tuple(read_patients(path, dataset.positive) for path in config.external)
    for external in externals:
        check_external(external, dataset)
        _refuse_seen(arms, external, f"{external.path}: it is not external")
        of_external, more_notices = external_seen(config, arms, external, dataset)
        seen, seen_notices = (*seen, *of_external), (*seen_notices, *more_notices)
    table = _attributes(config, dataset)
    studied = splits.test() | splits.development()
    counted = () if table is None else tuple(characteristics(table[studied], splits.test()[studied]))
    attributes = table[list(config.subgroups)][splits.test()] if table is not None and config.subgroups else None
    seeds = range(config.seed, config.seed + config.seeds)
    starts = [start for arm in arms for start in arm.starts]
    networks = tuple(Network(start, seed, fold) for seed in seeds for fold in range(splits.folds) for start in starts)
    limited = tuple(
        Network(start, config.seed, fold, patients)
        for patients in sorted(set(config.learning_curve))
        for fold in range(splits.folds)
        for start in starts
    )
    for network in limited:
        training_subset(splits, network.fold, network.patients, network.seed)
    normalisation = development_normalisation(dataset, splits)
    search = _search(config, dataset, splits, arms) if config.search else None
    protocol = Protocol(dataset, splits, config.tuning, normalisation, not config.development_only, search)
    fixed = tuple(replace(network, fixed=True) for network in networks if search and not network.arm.frozen)
    notices = (*dataset.notices, *_weights_notices(arms), *dict.fromkeys(seen_notices))
    return Plan(protocol, arms, networks, limited, externals, attributes, notices, counted, seen, fixed)


def development_normalisation(dataset: StudyDataset, splits: Splits) -> Normalisation:
    """Mean and standard deviation of pixel / 255 over the development images; the test images have no say."""
    values = np.arange(256) / 255
    histogram = np.zeros(256, dtype=np.int64)
    for image in np.flatnonzero(splits.development()[dataset.patient_of]):
        histogram += np.bincount(dataset.dataset.decode(int(image)).ravel(), minlength=256)
    mean = float((histogram * values).sum() / histogram.sum())
    spread = float(np.sqrt((histogram * (values - mean) ** 2).sum() / histogram.sum()))
    return Normalisation.gray(mean, max(spread, 1 / 255))


def _search(config: CompareConfig, dataset: StudyDataset, splits: Splits, arms: tuple[Arm, ...]) -> Search:
    recipes = grid_recipes(config.grid)
    check_folds(splits)
    about = {
        "dataset_sha256": dataset.card.sha256(),
        "positive": dataset.positive,
        "splits_sha256": splits.sha256,
        "seed": config.seed,
    }
    weights = {arm.name: arm.identity for arm in arms}
    return Search(config.out / "search", recipes, config.tuning, about, weights)


def _splits(config: CompareConfig, dataset: StudyDataset) -> Splits:
    seed = config.seed if config.split_seed is None else config.split_seed
    if config.splits is None:
        return make_splits(dataset, test_fraction=config.test_fraction, folds=config.folds, seed=seed)
    return read_splits(config.splits, dataset, folds=config.folds, seed=seed, key_path=config.pseudonym_key)


def _refuse_seen(arms: tuple[Arm, ...], dataset: StudyDataset, what: str) -> None:
    """No arm may begin with weights that these images trained, or chose."""
    for arm in [start for each in arms for start in each.starts]:
        if arm.weights is not None and arm.weights.seen.intersection(dataset.card.identities()):
            raise InputError(
                f"the weights of the {arm.name} arm ({arm.source}) were trained or chosen on {what}; give weights of "
                "other images"
            )


def _attributes(config: CompareConfig, dataset: StudyDataset) -> pd.DataFrame | None:
    """The columns of --subgroup and all others of --attributes, of every patient."""
    path = config.attributes or config.splits
    if config.attributes is None and not config.subgroups:
        return None
    if path is None:
        raise OptionError("--subgroup needs --attributes FILE, a CSV with the columns patient and those of --subgroup")
    others = attribute_columns(path) if config.attributes is not None else []
    columns = list(dict.fromkeys([*config.subgroups, *others]))
    return read_attributes(path, columns, dataset, config.pseudonym_key) if columns else None


def _weights_notices(arms: tuple[Arm, ...]) -> Iterator[str]:
    starts = [start for arm in arms for start in arm.starts]
    for index, arm in enumerate(starts):
        if arm.weights is None:
            continue
        yield from arm.weights.notices
        for other in starts[:index]:
            if other.sha256 == arm.sha256:
                yield (
                    f"the arms {other.label} and {arm.label} begin with the same weights: a difference between them is "
                    "not one of initialisation"
                )
