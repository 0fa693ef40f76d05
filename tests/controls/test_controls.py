"""The controls: their patients, their test, and the whole of them on few images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fastrad.controls import ControlsPlan, run_controls, table
from fastrad.controls.comparison import contrast
from fastrad.controls.plan import CONTRASTS, NETWORKS
from fastrad.controls.scores import draw_patients
from fastrad.errors import FastradError
from fastrad.study.networks.within import parts_of

SMALL = ControlsPlan(
    size=32, pretraining_images=96, pretraining_epochs=1, target_images=130, sets=2, set_patients=12, device="cpu"
)


def _patients(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    of_patient = (np.arange(count) % 20 < 9).astype(np.int64)
    images = draw.integers(1, 4, count)
    return np.repeat(of_patient, images), np.repeat(np.arange(count), images)


def test_training_sets_are_disjoint_and_as_malignant_as_the_archive():
    labels, patients = _patients(2000)
    sets, tested = draw_patients(labels, patients, ControlsPlan())
    everyone = np.concatenate([*sets, tested])
    assert len(everyone) == len(set(everyone.tolist()))
    assert len(tested) == 1200
    malignant = np.arange(2000) % 20 < 9
    assert [(len(one), int(malignant[one].sum())) for one in sets] == [(40, 18)] * 10
    assert malignant[tested].mean() == pytest.approx(0.45)


def test_too_few_patients_are_refused():
    with pytest.raises(FastradError, match="100 patients are too few for 10 sets of 40"):
        draw_patients(*_patients(100), ControlsPlan())


def test_a_contrast_by_hand():
    """Components pair by pair, from the definition, against the fast form."""
    draw = np.random.default_rng(1)
    labels = (np.arange(30) % 3 == 0).astype(np.int64)
    a, b = (draw.normal(labels, 1, (4, 30)).round(1) for _ in range(2))  # rounded: with ties
    found = contrast("a", "b", labels, a, b)
    of_sets = [roc_auc_score(labels, one) - roc_auc_score(labels, two) for one, two in zip(a, b, strict=True)]
    wins = np.zeros((10, 20))
    for scores, sign in ((a, 1), (b, -1)):
        for one in scores:
            higher, lower = one[labels == 1][:, None], one[labels == 0][None]
            wins += sign * ((higher > lower) + 0.5 * (higher == lower)) / 4
    parts = [
        (wins.mean(1).var(ddof=1) / 10, 9),
        (wins.mean(0).var(ddof=1) / 20, 19),
        (np.var(of_sets, ddof=1) / 4, 3),
    ]
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    low, high = stats.t.interval(0.95, df, np.mean(of_sets), np.sqrt(variance))
    p_value = 2 * stats.t.sf(abs(np.mean(of_sets)) / np.sqrt(variance), df)
    expected = (np.mean(of_sets), np.sqrt(variance), df, low, high, p_value)
    assert (found.difference, found.standard_error, found.df, found.low, found.high, found.p_value) == pytest.approx(
        expected
    )


def test_equal_networks_are_told_apart_no_more_often_than_the_level():
    """400 draws of two networks' scores, of a patient's part, a set's part and noise, without a difference."""
    draw, labels = np.random.default_rng(2), (np.arange(200) % 2).astype(np.int64)
    rejected = 0
    for _ in range(400):
        patient = draw.normal(0, 1, 200)
        a, b = (
            draw.normal(0.8, 0.25, (6, 1)) * labels + 0.7 * patient + 0.7 * draw.normal(0, 1, (6, 200))
            for _ in range(2)
        )
        rejected += contrast("a", "b", labels, a, b).p_value < 0.05
    assert rejected / 400 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_a_set_is_parted_by_patient_with_its_share_of_malignant_ones():
    patients, labels = np.arange(40) * 7, (np.arange(40) < 18).astype(np.int64)
    parts = parts_of(patients, labels, 0)
    assert sorted(np.concatenate(parts).tolist()) == patients.tolist()
    assert [len(part) for part in parts] == [8] * 5
    assert all(3 <= int(labels[part // 7].sum()) <= 4 for part in parts)


@pytest.mark.slow
def test_the_whole_on_few_images_and_nothing_twice(tmp_path):
    recipes = ("1e-3", "frozen")
    plan = replace(SMALL, tuned=True, tuned_sets=2, tuned_epochs=1, tuned_recipes=recipes)
    found = run_controls(tmp_path, plan)
    kept = json.loads((tmp_path / "controls.json").read_text())
    assert kept == json.loads(json.dumps(found))
    for each in (kept, kept["tuned"]):
        assert set(each["auroc"]) == set(NETWORKS)
        assert [(one["upper"], one["lower"]) for one in each["contrasts"]] == list(CONTRASTS)
    assert all(len(chosen) == 2 and set(chosen) <= set(recipes) for chosen in kept["tuned"]["recipes"].values())
    assert kept["test_patients"] == pytest.approx(0.6 * 130 / 1.5, rel=0.1)
    shown = table(found)
    assert all(shown.count(f"| {upper} - {lower} |") == 2 for upper, lower in CONTRASTS)

    tuned = {path: path.stat().st_mtime_ns for path in (tmp_path / "tuned").iterdir()}
    assert len(tuned) == 2 * len(NETWORKS)
    again = run_controls(tmp_path, plan)
    assert (again["contrasts"], again["tuned"]) == (found["contrasts"], found["tuned"])
    assert {path: path.stat().st_mtime_ns for path in tuned} == tuned
    with pytest.raises(FastradError, match="seed"):
        run_controls(tmp_path, replace(SMALL, seed=1))
