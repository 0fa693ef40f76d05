"""A search of recipes: the same grid for each arm, inner parts inside the training patients, the lowest loss wins."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_studies import noise, weights_by_chance

from fastrad.errors import FormatError, InputError, OptionError
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.plan import Network, make_plan
from fastrad.study.protocol.search import GRID, Search, grid_recipes, inner_parts, trial_rows


@pytest.fixture
def search(tmp_path) -> Search:
    return Search(tmp_path, ("3e-4", "1e-3x0.1", "frozen"), Tuning(size=32), {"seed": 0}, {"none": "", "mine": "ab"})


def leave(search: Search, arm: str, fold: int, losses: dict[str, tuple]) -> None:
    """Put trials' files where a search leaves them; three folds."""
    for trial in search.trials(arm, fold, 3):
        loss = losses[trial.recipe][inner_parts(fold, 3).index(trial.part)]
        record = {"settings": search.settings(trial), "log_loss": loss}
        search.path(trial).write_text(json.dumps(record))


def test_the_grid_is_rates_shares_head_first_and_frozen():
    rates = {GRID[name]["learning_rate"] for name in GRID if name != "frozen"}
    assert rates == {1e-4, 3e-4, 1e-3, 3e-3}
    assert len(GRID) == 4 * (3 + 1) + 1
    assert {GRID[name]["backbone_rate"] for name in GRID if "x" in name} == {0.1, 0.03}
    assert grid_recipes(()) == tuple(GRID)
    assert grid_recipes(("frozen", "1e-4")) == ("1e-4", "frozen")
    with pytest.raises(OptionError, match=r"--grid: '2e-4' is no recipe of the grid; there are 1e-4, .*frozen"):
        grid_recipes(("1e-4", "2e-4"))


def test_the_lowest_mean_log_loss_wins_and_what_diverged_has_lost(search):
    assert search.chosen("none", 0, 3) is None
    leave(search, "none", 0, {"3e-4": (0.70, 0.60), "1e-3x0.1": (0.50, 0.78), "frozen": (0.2, None)})
    assert search.losses("none", 0, 3) == pytest.approx({"3e-4": 0.65, "1e-3x0.1": 0.64, "frozen": float("inf")})
    assert search.chosen("none", 0, 3) == "1e-3x0.1"
    assert search.chosen("mine", 0, 3) is None, "each arm has its own"
    search.path(search.trials("none", 0, 3)[3]).unlink()
    assert search.chosen("none", 0, 3) is None, "all have to be there"
    leave(search, "mine", 1, dict.fromkeys(search.recipes, (None, None)))
    with pytest.raises(InputError, match="every recipe of the grid diverged for the arm mine in fold 1"):
        search.chosen("mine", 1, 3)


def test_every_trial_is_in_the_record(search):
    for fold in range(3):
        leave(search, "none", fold, {"3e-4": (0.7, 0.6), "1e-3x0.1": (0.5, 0.5), "frozen": (None, None)})
    rows = trial_rows(search, ["none"], 3)
    assert len(rows) == 9
    assert rows[0] == {"arm": "none", "fold": 0, "recipe": "3e-4", "log_loss": 0.65, "chosen": False}
    assert [row["chosen"] for row in rows[:3]] == [False, True, False]
    assert rows[2]["log_loss"] is None


def test_trials_of_other_settings_and_damaged_ones_are_refused(search):
    leave(search, "mine", 0, dict.fromkeys(search.recipes, (0.5, 0.5)))
    other = replace(search, weights={**search.weights, "mine": "cd"})
    with pytest.raises(InputError, match=r"mine-fold0-part1-3e-4.json: was made with weights_sha256 ab, now cd"):
        other.chosen("mine", 0, 3)
    with pytest.raises(InputError, match="was made with tuning"):
        replace(search, tuning=Tuning(size=32, epochs=9)).chosen("mine", 0, 3)
    for damage in ("", "[]", '{"settings": {}}', '{"settings": {}, "log_loss": "low"}', "[" * 100_000):
        search.path(search.trials("mine", 0, 3)[0]).write_text(damage)
        with pytest.raises(FormatError, match=r"part1-3e-4.json: cut short or altered"):
            search.chosen("mine", 0, 3)


@pytest.mark.parametrize("folds", [3, 4, 5, 10])
def test_inner_parts_are_other_folds(folds):
    for fold in range(folds):
        parts = inner_parts(fold, folds)
        assert len(set(parts)) == 2
        assert fold not in parts
        assert set(parts) < set(range(folds))


def test_a_plan_with_a_search_has_the_fixed_recipe_too_and_enough_folds(tmp_path):
    config = CompareConfig(
        dataset=noise(tmp_path / "data", np.arange(40) % 2),
        out=tmp_path / "study",
        radimagenet=str(weights_by_chance(tmp_path / "radimagenet.safetensors")),
        imagenet=str(weights_by_chance(tmp_path / "imagenet.pth", seed=2)),
        frozen=(("probe", str(tmp_path / "imagenet.pth")),),
        tuning=Tuning(size=32),
        folds=3,
        seeds=1,
        test_fraction=0.4,
        search=True,
        grid=("3e-4",),
    )
    plan = make_plan(config)
    assert [network.name for network in plan.fixed] == [
        f"fixed-{arm}-seed0-fold{fold}" for fold in range(3) for arm in ("none", "imagenet", "radimagenet")
    ]
    protocol = plan.protocol
    assert protocol.recipe(plan.networks[0]) == (None, None), "not chosen yet"
    assert protocol.recipe(plan.fixed[0])[1] == (config.tuning, False)
    probe = next(network for network in plan.networks if network.arm.name == "probe")
    assert protocol.recipe(probe)[1] == (config.tuning, True), "it is not searched for"
    assert isinstance(plan.fixed[0], Network)
    with pytest.raises(InputError, match=r"--search .* needs at least 3 folds, there are 2"):
        make_plan(replace(config, folds=2))
    with pytest.raises(OptionError, match="give --search too"):
        replace(config, search=False)
