"""`fastrad compare` in steps: planned, tuned without the test set, opened; and by parts that share a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_studies import noise, weights_by_chance

from fastrad.cli import main


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
    files = [weights_by_chance(root / f"{seed}.safetensors", seed=seed) for seed in (1, 2)]
    words = ["compare", data, "--radimagenet", files[0], "--imagenet", files[1]]
    return [*words, "--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 16, "--test-fraction", 0.4]


@pytest.fixture(scope="module")
def parts(words, tmp_path_factory) -> Path:
    """A whole study, made in two parts."""
    out = tmp_path_factory.mktemp("parts") / "study"
    assert run(*words, "--out", out, "--only", "1/2") == 0
    assert not (out / "report.html").exists()
    assert len(list((out / "runs").iterdir())) == 3
    assert run(*words, "--out", out, "--only", "2/2") == 0
    return out


@pytest.mark.slow
def test_a_planned_study_keeps_its_test_set_closed_until_it_is_opened(words, parts, tmp_path, capfd):
    out = tmp_path / "study"
    words = [*words, "--out", out]
    assert run(*words, "--unlock-test") == 1
    assert "has no study that was begun with --development-only" in capfd.readouterr().err
    assert run(*words, "--plan") == 0
    assert [path.name for path in out.iterdir()] == ["plan.json"]
    assert run(*words, "--development-only", "--learning-rate", 0.01) == 1
    assert "the plan has recipe learning_rate 0.0003, now 0.01" in capfd.readouterr().err

    assert run(*words, "--development-only") == 0
    said = capfd.readouterr().err
    assert "6 networks to tune, " in said
    assert "1.safetensors (--radimagenet): cross-validated AUROC " in said
    runs = [pd.read_csv(path) for path in (out / "runs").glob("*/predictions.csv")]
    assert len(runs) == 6
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


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--only", "3/2"], 2, "--only 3/2: give K/N, the K-th of N parts"),
        (["--only", "0/2"], 2, "--only 0/2"),
        (["--only", "half"], 2, "--only half"),
        (["--jobs", "0"], 2, "--jobs"),
        (["--plan", "--development-only"], 2, "give one at a time"),
    ],
)
def test_words_that_cannot_be_meant_are_one_line(words, tmp_path, capfd, more, status, said):
    assert run(*words, "--out", tmp_path / "study", *more) == status
    assert said in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "study").exists()
