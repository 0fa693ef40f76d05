"""A plan that was written down, kept to or changed in the open; and a test set that is closed until it is opened."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_studies import noise, weights_by_chance

from fastrad.errors import FormatError, InputError, OptionError
from fastrad.study.compare import compare
from fastrad.study.networks.runs import _settings
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.ledger import enter, scoring_now, scorings_of
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
from fastrad.study.protocol.record import study_scoring, tuned_later
from fastrad.study.protocol.seals import sealed


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A configuration folder whose ledgers are empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


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
    with pytest.raises(FormatError, match=r"plan\.json: cut short or altered.*; put the file back"):
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
    (when,) = json.loads((tmp_path / "development.json").read_text())["test_opened"]
    assert opened(tmp_path) == when
    assert adherence(tmp_path) == [
        f"No test patient was scored before the networks were finished, at {when} (--unlock-test)."
    ]
    with pytest.raises(InputError, match="was opened at 20"):
        close_test(tmp_path, any_finished=True)
    note_opening(tmp_path)
    assert opened(tmp_path) == when, "the first time stays"
    assert adherence(tmp_path)[-1].startswith("The test set was opened again at 20")


def test_what_was_scored_before_the_opening_takes_the_sentence_away(tmp_path, monkeypatch):
    other, study = tmp_path / "other", tmp_path / "study"
    other.mkdir(), study.mkdir()
    ours = scoring_now("archive", range(10), {"rate": 1})
    theirs = scoring_now("archive", range(9, 20), {"rate": 2})  # one image is in both
    enter(other, replace(theirs, when="2026-01-02T03:04:05Z"))
    close_test(study, any_finished=False)
    note_opening(study)
    for _ in range(2):  # by the user's ledger, and by the study's
        (sentence,) = adherence(study, scorings_of(study, ours))
        assert "had been scored before the test set was opened, at 20" in sentence
        assert "1 earlier scoring, the first at 2026-01-02T03:04:05Z" in sentence
        enter(study, ours)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "empty"))
    assert "had been scored" in adherence(study, scorings_of(study, ours))[0]


@pytest.mark.parametrize(
    "scoring",
    [
        replace(scoring_now("archive", range(10), {}), when="2999-01-01T00:00:00Z"),  # later
        replace(scoring_now("archive", range(10, 20), {}), when="2026-01-02T03:04:05Z"),  # of other images
        replace(scoring_now("another", range(10), {}), when="2026-01-02T03:04:05Z"),
    ],
)
def test_other_scorings_leave_the_sentence(tmp_path, scoring):
    close_test(tmp_path, any_finished=False)
    note_opening(tmp_path)
    enter(tmp_path, scoring)
    (sentence,) = adherence(tmp_path, scorings_of(tmp_path, scoring_now("archive", range(10), {"rate": 1})))
    assert sentence.startswith("No test patient was scored before the networks were finished, at 20")


def test_networks_that_were_tuned_after_the_opening_take_the_sentence_away(config, tmp_path):
    networks = make_plan(config).networks[:3]
    for network, said in zip(networks, ({"test_scored": True}, {}, {}), strict=True):
        (tmp_path / network.name).mkdir()
        (tmp_path / network.name / "run.json").write_text(json.dumps(sealed(said, tmp_path, ())))
    assert tuned_later(networks, tmp_path) == 2
    close_test(tmp_path, any_finished=False)
    note_opening(tmp_path)
    (sentence,) = adherence(tmp_path, tuned_later=2)
    assert sentence.startswith("2 networks were tuned after the test set was opened, at 20")


def test_a_plan_looks_into_the_ledgers(config, tmp_path):
    plan = make_plan(config)
    written = []
    for name in ("before", "after"):
        compare(replace(config, out=tmp_path / name, plan=True))
        written.append(json.loads((tmp_path / name / "plan.json").read_text())["after_scoring"])
        enter(tmp_path, study_scoring(plan, plan.protocol.dataset))  # in another folder
    assert written == [False, True]


@pytest.mark.parametrize("name", ["plan.json", "development.json"])
def test_times_that_were_altered_are_found(config, tmp_path, name):
    write_plan(tmp_path, content(config), scored=False)
    close_test(tmp_path, any_finished=False)
    note_opening(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text().replace('"20', '"19'))
    with pytest.raises(FormatError, match=rf"{name}: was altered after it was written .*put the file back as it was"):
        adherence(tmp_path)


def test_a_closed_study_whose_file_is_gone_is_not_an_open_one(config, tmp_path):
    plan = make_plan(config)
    network = plan.networks[0]
    folder = tmp_path / "study" / "runs" / network.name
    folder.mkdir(parents=True)
    record = {"settings": {**_settings(network, plan.protocol), "precision": "float32"}, "test_scored": False}
    (folder / "run.json").write_text(json.dumps(sealed(record, folder, ())))
    with pytest.raises(InputError, match=r"development\.json: is missing, and networks here were tuned with"):
        compare(replace(config, out=tmp_path / "study"))


def test_steps_are_given_one_at_a_time(config):
    with pytest.raises(OptionError, match="one at a time"):
        replace(config, plan=True, unlock_test=True)
