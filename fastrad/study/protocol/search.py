"""Fair tuning: the same grid of recipes and the same budget for every arm, and who is chosen.

Of each arm and fold every recipe of the grid is tried inside the fold's training patients: on two inner validation
parts, which are two of the other folds, so that patients who belong together stay together. The recipe with the lowest
mean log loss over the two parts tunes the arm's networks of that fold. Neither the fold's own validation patients nor
the test patients have a say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from fastrad.errors import FormatError, InputError, MissingDependencyError, OptionError
from fastrad.study.protocol.config import Tuning
from fastrad.study.protocol.splits import Splits

PARTS = 2
FROZEN = "frozen"
_RATES = ("1e-4", "3e-4", "1e-3", "3e-3")
_SHARES = ("0.1", "0.03")
_HEAD_FIRST = 0.2  # of the epochs


def _grid() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for rate in _RATES:
        found[rate] = {"learning_rate": float(rate), "backbone_rate": 1.0, "head_first": 0.0}
        for share in _SHARES:
            found[f"{rate}x{share}"] = {**found[rate], "backbone_rate": float(share)}
        found[f"{rate}-head-first"] = {**found[rate], "head_first": _HEAD_FIRST}
    return {**found, FROZEN: {}}


GRID = _grid()
"""Recipes by name: a rate; `x` and the backbone's share of it; `-head-first`; and frozen features."""


class Recipe(NamedTuple):
    """How a network is tuned: by `tuning`, or not at all, its features going into a logistic regression."""

    tuning: Tuning
    frozen: bool


class Trial(NamedTuple):
    """One recipe of the grid on one inner validation part of one arm and fold."""

    arm: str
    fold: int
    part: int
    recipe: str

    @property
    def name(self) -> str:
        """The name of its file, without the suffix."""
        return f"{self.arm}-fold{self.fold}-part{self.part}-{self.recipe}"


def grid_recipes(wanted: Sequence[str]) -> tuple[str, ...]:
    """The names of the recipes that are asked for, all where none is, in the grid's order.

    Raises
    ------
    OptionError
        If one is not in the grid.
    """
    for name in wanted:
        if name not in GRID:
            raise OptionError(f"--grid: {name!r} is no recipe of the grid; there are {', '.join(GRID)}")
    return tuple(name for name in GRID if name in wanted or not wanted)


def require_regression(purpose: str) -> None:
    """Look for the logistic regression of frozen features before anything is computed.

    Raises
    ------
    MissingDependencyError
        If scikit-learn, which an extra installs, is not there; `purpose` says what needs it.
    """
    if find_spec("sklearn") is None:
        raise MissingDependencyError("scikit-learn", purpose, "pip install 'fastrad[frozen]'")


@dataclass(frozen=True)
class Search:
    """A study's search.

    Attributes
    ----------
    folder : Path
        Where each trial leaves a JSON file.
    recipes : tuple of str
        Names in `GRID`.
    tuning : Tuning
        The fixed recipe, which the grid's recipes change.
    about : dict
        What the trials depend on beside recipe, arm and fold; a trial of something else is refused.
    weights : mapping of arm to str
        The hash of the weights that the arm's trials start from.
    """

    folder: Path
    recipes: tuple[str, ...]
    tuning: Tuning
    about: Mapping[str, Any]
    weights: Mapping[str, str]

    def recipe(self, name: str) -> Recipe:
        """A recipe of the grid."""
        return Recipe(replace(self.tuning, **GRID[name]), name == FROZEN)  # type: ignore[arg-type]

    def trials(self, arm: str, fold: int, folds: int) -> list[Trial]:
        """All trials of an arm and fold."""
        return [Trial(arm, fold, part, name) for name in self.recipes for part in inner_parts(fold, folds)]

    def path(self, trial: Trial) -> Path:
        """Where a trial is kept."""
        return self.folder / f"{trial.name}.json"

    def settings(self, trial: Trial) -> dict[str, Any]:
        """Everything that a trial's result depends on, but the precision."""
        tuning, frozen = self.recipe(trial.recipe)
        return {
            **self.about,
            **trial._asdict(),
            "weights_sha256": self.weights[trial.arm],
            "frozen": frozen,
            "tuning": asdict(tuning),
        }

    def result(self, trial: Trial) -> dict[str, Any] | None:
        """What a trial left; None where it is not done.

        Raises
        ------
        InputError
            If it was made with other settings.
        FormatError
            If it was cut short or altered.
        """
        path = self.path(trial)
        try:
            found = json.loads(path.read_bytes())
            settings, loss = found["settings"], found["log_loss"]
            if not (isinstance(settings, dict) and (loss is None or math.isfinite(loss))):
                raise TypeError
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise FormatError(
                f"{path}: cut short or altered; move it away and give the same command again: the trial is repeated"
            ) from None
        for name, value in self.settings(trial).items():
            if settings.get(name) != value:
                raise InputError(
                    f"{path}: was made with {name} {settings.get(name)}, now {value}; give the study another --out, or "
                    "repeat the former options"
                )
        return dict(found)

    def losses(self, arm: str, fold: int, folds: int) -> dict[str, float] | None:
        """Each recipe's mean log loss over the inner parts, infinite where it diverged; None before all are done."""
        found: dict[str, float] = {}
        for trial in self.trials(arm, fold, folds):
            result = self.result(trial)
            if result is None:
                return None
            loss = math.inf if result["log_loss"] is None else float(result["log_loss"])
            found[trial.recipe] = found.get(trial.recipe, 0.0) + loss / PARTS
        return found

    def chosen(self, arm: str, fold: int, folds: int) -> str | None:
        """The recipe with the lowest mean log loss, of equal ones the first; None before all trials are done.

        Raises
        ------
        InputError
            If every recipe diverged.
        """
        losses = self.losses(arm, fold, folds)
        if losses is None:
            return None
        best = min(losses, key=losses.__getitem__)
        if math.isinf(losses[best]):
            raise InputError(f"{self.folder}: every recipe of the grid diverged for the arm {arm} in fold {fold}")
        return best


def inner_parts(fold: int, folds: int) -> list[int]:
    """The folds that serve as inner validation parts of a fold: the two that follow it."""
    return [(fold + step) % folds for step in range(1, PARTS + 1)]


def check_folds(splits: Splits) -> None:
    """Refuse a search where a fold's training patients cannot be parted again.

    Raises
    ------
    InputError
        If there are fewer than three folds.
    """
    if splits.folds <= PARTS:
        raise InputError(
            f"--search parts each fold's training patients again and needs at least {PARTS + 1} folds, there are "
            f"{splits.folds}; give more --folds"
        )


def trial_rows(search: Search, arms: Sequence[str], folds: int) -> list[dict[str, Any]]:
    """Each arm's and fold's recipes with their mean log loss (None: diverged), and which was chosen: for the report."""
    rows = []
    for arm in arms:
        for fold in range(folds):
            losses, best = search.losses(arm, fold, folds), search.chosen(arm, fold, folds)
            assert losses is not None
            rows += [
                {
                    "arm": arm,
                    "fold": fold,
                    "recipe": name,
                    "log_loss": None if math.isinf(loss) else round(loss, 6),
                    "chosen": name == best,
                }
                for name, loss in losses.items()
            ]
    return rows
