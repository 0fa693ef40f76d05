"""`fastrad compare` in steps: planned, tuned without the test set, opened; and by parts that share a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_studies import noise, weights_by_chance

from fastrad.cli import main
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.plan import make_plan


def run(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list:
    root = tmp_path_factory.mktemp("steps")
    data = noise(root / "data", np.arange(40) % 2)
    files = [weights_by_chance(root / f"{seed}.safetensors", seed=seed) for seed in (1, 2, 3)]
    words = ["compare", data, "--radimagenet", files[0], "--imagenet", files[1]]
    return [*words, "--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 16, "--test-fraction", 0.4]


@pytest.fixture(scope="module")
def several(words) -> list:
    """With a second start of one arm, and a second arm without transfer."""
    return [*words, "--radimagenet", words[3].with_name("3.safetensors"), "--null-arm"]


@pytest.fixture(scope="module")
def parts(several, tmp_path_factory) -> Path:
    """A whole study, made in two parts."""
    words, out = several, tmp_path_factory.mktemp("parts") / "study"
    assert run(*words, "--out", out, "--only", "1/2") == 0
    assert not (out / "report.html").exists()
    assert len(list((out / "runs").iterdir())) == 5
    assert run(*words, "--out", out, "--only", "2/2") == 0
    return out


@pytest.mark.slow
def test_a_planned_study_keeps_its_test_set_closed_until_it_is_opened(several, parts, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # `parts` has scored the same patients
    out = tmp_path / "study"
    words = [*several, "--out", out]
    assert run(*words, "--unlock-test") == 1
    assert "has no study that was begun with --development-only" in capfd.readouterr().err
    assert run(*words, "--plan") == 0
    assert [path.name for path in out.iterdir()] == ["plan.json"]
    assert run(*words, "--development-only", "--learning-rate", 0.01) == 1
    assert "the plan has recipe learning_rate 0.0003, now 0.01" in capfd.readouterr().err

    assert run(*words, "--development-only") == 0
    said = capfd.readouterr().err
    assert "10 networks to tune, " in said
    assert "1.safetensors (--radimagenet): cross-validated AUROC " in said
    runs = [pd.read_csv(path) for path in (out / "runs").glob("*/predictions.csv")]
    assert len(runs) == 10
    assert {name for table in runs for name in table["set"]} == {"val"}
    assert not (out / "predictions.csv").exists()
    assert run(*words) == 1
    assert "its test set is closed (--development-only)" in capfd.readouterr().err

    assert run(*words, "--unlock-test") == 0
    assert (out / "predictions.csv").read_bytes() == (parts / "predictions.csv").read_bytes()
    notices = json.loads((out / "study.json").read_text())["notices"]
    assert any("done as planned" in notice for notice in notices)
    assert any("No test patient was scored before" in notice for notice in notices)
    assert run(*words, "--development-only") == 1
    assert "its test set was opened at 20" in capfd.readouterr().err
    first = (out / "development.json").read_bytes()
    assert run(*words, "--unlock-test") == run(*words) == 0
    assert (out / "development.json").read_bytes() == first


@pytest.mark.slow
def test_starts_of_an_arm_are_told_apart_and_scored_again(words, parts, capfd):
    predictions = (parts / "predictions.csv").read_bytes()
    table = pd.read_csv(parts / "predictions.csv", keep_default_na=False)
    assert list(table.columns)[-1] == "start"
    assert {arm: sorted(set(part["start"])) for arm, part in table.groupby("arm")} == {
        "none": [0],
        "imagenet": [0],
        "radimagenet": [0, 1],
        "null": [0],
    }
    scores = {arm: part["score"].to_numpy() for arm, part in table[table["start"] == 0].groupby("arm")}
    assert not np.allclose(scores["none"], scores["null"]), "another random start"
    networks = {path.name for path in (parts / "runs").iterdir()}
    assert {"radimagenet-seed0-fold1", "radimagenet-start1-seed0-fold1", "null-seed0-fold0"} < networks
    arms = json.loads((parts / "study.json").read_text())["arms"]
    assert [len(arm.get("starts", [0])) for arm in arms] == [1, 1, 2, 1]
    assert run("report", parts, "--rescore", words[1]) == 0
    assert "10 networks scored again" in capfd.readouterr().err
    assert (parts / "predictions.csv").read_bytes() == predictions


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--only", "3/2"], 2, "--only 3/2: give K/N, the K-th of N parts"),
        (["--only", "0/2"], 2, "--only 0/2"),
        (["--only", "half"], 2, "--only half"),
        (["--jobs", "0"], 2, "--jobs"),
        (["--plan", "--development-only"], 2, "give one at a time"),
        (["--grid", "1e-4"], 2, "give --search too"),
        (["--search", "--grid", "1e-4,2e-4"], 2, "'2e-4' is no recipe of the grid"),
        (["--search"], 1, "needs at least 3 folds, there are 2"),
    ],
)
def test_words_that_cannot_be_meant_are_one_line(words, tmp_path, capfd, more, status, said):
    assert run(*words, "--out", tmp_path / "study", *more) == status
    assert said in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_search_has_every_trial_in_the_report_and_the_fixed_recipe_beside_it(words, tmp_path, capfd):
    """Nearly all trials are there already: the grid's best is known, and only one arm's fold is really searched."""
    out = tmp_path / "study"
    words = [*words, "--folds", 3, "--out", out, "--search", "--grid", "frozen,1e-3"]
    config = CompareConfig(
        words[1],
        out,
        str(words[3]),
        str(words[5]),
        tuning=Tuning(epochs=1, size=32, batch_size=16),
        folds=3,
        seeds=1,
        test_fraction=0.4,
        search=True,
        grid=("frozen", "1e-3"),
    )
    search = make_plan(config).protocol.search
    assert search is not None
    search.folder.mkdir(parents=True)
    arms = ("none", "imagenet", "radimagenet")
    best = {(arm, fold): ("frozen", "1e-3")[(arms.index(arm) + fold) % 2] for arm in arms for fold in range(3)}
    for arm, fold in list(best)[1:]:
        for trial in search.trials(arm, fold, 3):
            loss = 0.5 if trial.recipe == best[arm, fold] else 0.6
            search.path(trial).write_text(json.dumps({"settings": search.settings(trial), "log_loss": loss}))

    assert run(*words) == 0
    captured = capfd.readouterr()
    assert "18 networks to tune after 4 trials of the search, " in captured.err
    assert "Recipes chosen in inner validation" in captured.out
    study, table = (json.loads((out / name).read_text()) for name in ("study.json", "table.json"))
    rows = {(row["arm"], row["fold"], row["recipe"]): row for row in study["protocol"]["search"]["trials"]}
    assert len(rows) == 3 * 3 * 2
    losses = {}
    for recipe in ("frozen", "1e-3"):
        found = [json.loads((out / f"search/none-fold0-part{part}-{recipe}.json").read_text()) for part in (1, 2)]
        losses[recipe] = sum(each["log_loss"] for each in found) / 2
        assert rows["none", 0, recipe]["log_loss"] == pytest.approx(losses[recipe], abs=1e-6)
    best["none", 0] = min(losses, key=losses.__getitem__)
    for (arm, fold), recipe in best.items():
        assert [name for name in losses if rows[arm, fold, name]["chosen"]] == [recipe]
        settings, fixed = (
            json.loads((out / "runs" / f"{kind}{arm}-seed0-fold{fold}" / "run.json").read_text())["settings"]
            for kind in ("", "fixed-")
        )
        assert (settings["recipe"], settings["frozen"]) == (recipe, recipe == "frozen")
        assert (fixed["learning_rate"], fixed["frozen"]) == (3e-4, False)
    assert [arm["arm"] for arm in table["fixed_recipe"]["arms"]] == list(arms)
    page = (out / "report.html").read_text()
    assert page.count("<td>frozen</td>") == page.count("<td>1e-3</td>") == 3
    assert run(*words) == 0
    assert "18 of 18 runs are finished already" in capfd.readouterr().err
    assert run(*words[:-3]) == 1
    assert "give the study another --out" in capfd.readouterr().err.splitlines()[-1]
