"""A plan that was written down, kept to or changed in the open; and a test set that is closed until it is opened."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_studies import noise, weights_by_chance

from fastrad.errors import FormatError, InputError, OptionError
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.plan import make_plan
from fastrad.study.protocol.planned import (
    adherence,
    changes,
    check_plan,
    close_test,
    note_opening,
    opened,
    planned,
    write_plan,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> CompareConfig:
    root = tmp_path_factory.mktemp("planned")
    return CompareConfig(
        dataset=noise(root / "data", np.arange(40) % 2),
        out=root / "study",
        radimagenet=str(weights_by_chance(root / "radimagenet.safetensors")),
        imagenet=str(weights_by_chance(root / "imagenet.pth", seed=2)),
        tuning=Tuning(size=32),
        folds=2,
        test_fraction=0.4,
    )


def content(config: CompareConfig) -> dict:
    return planned(make_plan(config), config)


def test_a_study_that_keeps_to_its_plan_is_said_to(config, tmp_path):
    now = content(config)
    check_plan(tmp_path, now)  # none was made
    assert adherence(tmp_path) == []
    assert write_plan(tmp_path, now, scored=False) == f"{tmp_path / 'plan.json'}: written"
    written = (tmp_path / "plan.json").read_bytes()
    check_plan(tmp_path, content(config))
    (sentence,) = adherence(tmp_path)
    assert sentence.startswith("Planned at 20")
    assert sentence.endswith("(plan.json); done as planned.")
    assert "and stands" in write_plan(tmp_path, content(config), scored=True)
    assert (tmp_path / "plan.json").read_bytes() == written


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tuning": Tuning(size=32, learning_rate=1e-3)}, "recipe learning_rate 0.0003, now 0.001"),
        ({"seeds": 2}, r"seeds \[0, 1, 2\], now \[0, 1\]"),
        ({"split_seed": 7}, "splits_sha256 [0-9a-f]{12}, now [0-9a-f]{12}"),
        ({"null_arm": True}, ".*arms null sha256 none, now random"),
        ({"learning_curve": (6,)}, r"learning_curve \[\], now \[6\]"),
    ],
)
def test_what_differs_from_the_plan_is_refused_by_name_and_recorded_once_it_is_planned(config, tmp_path, change, said):
    write_plan(tmp_path, content(config), scored=False)
    other = content(replace(config, **change))
    with pytest.raises(InputError, match=rf"plan.json: the plan has {said}.*give --plan"):
        check_plan(tmp_path, other)
    write_plan(tmp_path, other, scored=True)
    check_plan(tmp_path, other)
    first, second = adherence(tmp_path)
    assert first.startswith("Planned at ")
    assert "as planned" not in first
    assert "after test patients had been scored: " in second
    assert changes(content(config), other)[0] in second


def test_a_plan_of_other_weights_is_another(config, tmp_path):
    other = str(weights_by_chance(tmp_path / "other.safetensors", seed=9))
    (difference,) = changes(content(config), content(replace(config, radimagenet=other)))
    assert difference.startswith("arms radimagenet sha256 ")


def test_a_plan_that_came_after_the_scores_is_no_plan_before_them(config, tmp_path):
    write_plan(tmp_path, content(config), scored=True)
    assert "after test patients had been scored" in adherence(tmp_path)[0]


@pytest.mark.parametrize("damage", ["", "[]", '{"plan": 3}', "[" * 100_000, '{"plan": {}, "written": "x"}'])
def test_a_damaged_plan_is_one_line(config, tmp_path, damage):
    (tmp_path / "plan.json").write_text(damage)
    with pytest.raises(FormatError, match=r"plan\.json: cut short or altered; put the file back"):
        check_plan(tmp_path, content(config))
    (tmp_path / "development.json").write_text(damage)
    with pytest.raises(FormatError, match=r"development\.json: cut short or altered"):
        opened(tmp_path)


def test_a_test_set_is_closed_and_opened_once(tmp_path):
    assert opened(tmp_path) is None
    with pytest.raises(InputError, match="have scored the test set already"):
        close_test(tmp_path, any_finished=True)
    close_test(tmp_path, any_finished=False)
    close_test(tmp_path, any_finished=True)  # goes on
    assert opened(tmp_path) == ""
    note_opening(tmp_path)
    when = json.loads((tmp_path / "development.json").read_text())["test_opened"]
    assert opened(tmp_path) == when
    assert adherence(tmp_path) == [
        f"No test patient was scored before the networks were finished, at {when} (--unlock-test)."
    ]
    with pytest.raises(InputError, match="was opened at 20"):
        close_test(tmp_path, any_finished=True)


def test_steps_are_given_one_at_a_time(config):
    with pytest.raises(OptionError, match="one at a time"):
        replace(config, plan=True, unlock_test=True)
