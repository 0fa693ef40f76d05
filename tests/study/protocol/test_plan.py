"""A study's plan: its networks, and everything that is refused before anything is trained."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from small_studies import noise, weights_by_chance

from fastrad.controls import run_controls
from fastrad.dataset import Card
from fastrad.errors import InputError, MissingDependencyError
from fastrad.models.resnet import resnet18
from fastrad.models.weights import save_weights
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.plan import development_normalisation, make_plan
from fastrad.study.protocol.record import study_record


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> CompareConfig:
    """Forty patients, twenty malignant; sixteen of them held out."""
    root = tmp_path_factory.mktemp("plan")
    return CompareConfig(
        dataset=noise(root / "data", np.arange(40) % 2, patient_ids="pseudonym"),
        out=root / "study",
        radimagenet=str(weights_by_chance(root / "radimagenet.safetensors")),
        imagenet=str(weights_by_chance(root / "imagenet.pth", seed=2)),
        tuning=Tuning(size=32),
        folds=2,
        seeds=2,
        seed=5,
        test_fraction=0.4,
    )


def test_networks_are_tuned_seed_by_seed_and_fold_by_fold(config):
    plan = make_plan(replace(config, learning_curve=(8, 4, 8)))
    assert [network.name for network in plan.networks] == [
        f"{arm}-seed{seed}-fold{fold}"
        for seed in (5, 6)
        for fold in (0, 1)
        for arm in ("none", "imagenet", "radimagenet")
    ]
    assert [network.name for network in plan.limited] == [
        f"patients{patients}-{arm}-seed5-fold{fold}"
        for patients in (4, 8)
        for fold in (0, 1)
        for arm in ("none", "imagenet", "radimagenet")
    ]
    assert not config.out.exists()


def test_the_record_counts_patients_and_names_everything_that_decides(config):
    plan = make_plan(replace(config, frozen=(("probe", config.radimagenet),)))
    record = study_record(plan, config, [])
    assert record["test"] == {"patients": 16, "images": 16, "malignant": 8}
    assert record["development"] == {"patients": 24, "images": 24, "malignant": 12}
    assert record["dataset"]["source_options"] == plan.protocol.dataset.card.source_options
    assert record["protocol"]["seeds"] == [5, 6]
    assert record["protocol"]["recipe"]["size"] == 32
    assert [arm["label"] for arm in record["arms"]] == [
        "No transfer",
        "imagenet.pth (--imagenet)",
        "radimagenet.safetensors (--radimagenet)",
        "probe (frozen features)",
    ]
    assert record["arms"][1]["source"] == "imagenet.pth"
    assert any("(--radimagenet) and probe" in notice and "same weights" in notice for notice in record["notices"])


def test_test_images_have_no_say_in_the_normalisation(config):
    plan = make_plan(config)
    dataset, splits = plan.protocol.dataset, plan.protocol.splits
    held_out = splits.test()[dataset.patient_of]
    pixels = np.stack([dataset.dataset.decode(index) for index in np.flatnonzero(~held_out)]) / 255
    found = development_normalisation(dataset, splits)
    assert found.mean == pytest.approx((pixels.mean(),))
    assert found.std == pytest.approx((pixels.std(),))


def _metadata(config: CompareConfig, route: str) -> dict:
    """Of weights that know the study's images."""
    card = Card.read(config.dataset / "all.beton")
    if route == "this file, in an earlier version's words":
        return {"card_sha256": card.sha256()}
    if route == "the same archive at another size":
        return {"seen": replace(card, parameters={**card.parameters, "size": 40}).identities()}
    return {"seen": card.identities()}


@pytest.mark.parametrize(
    "route", ["this file, in an earlier version's words", "this file", "the same archive at another size"]
)
def test_weights_that_have_seen_the_study_are_refused(config, tmp_path, route):
    save_weights(tmp_path / "leak.safetensors", resnet18(2).state_dict(), _metadata(config, route))
    with pytest.raises(InputError, match=r"radimagenet arm .* were trained or chosen on this very dataset"):
        make_plan(replace(config, radimagenet=str(tmp_path / "leak.safetensors")))


def test_weights_that_have_seen_an_external_dataset_are_refused(config, tmp_path):
    other = noise(tmp_path / "other", [0, 1, 0, 1])
    metadata = {"seen": Card.read(other / "all.beton").identities()}
    save_weights(tmp_path / "leak.safetensors", resnet18(2).state_dict(), metadata)
    with pytest.raises(InputError, match="it is not external"):
        make_plan(replace(config, radimagenet=str(tmp_path / "leak.safetensors"), external=(other,)))


def test_the_studys_own_patients_and_images_are_not_external(config, tmp_path):
    again = noise(tmp_path / "again", [0, 1, 0, 1], names=["data1", "data2", "x", "y"], patient_ids="pseudonym")
    with pytest.raises(InputError, match="2 of its patients are in the study: it is not external"):
        make_plan(replace(config, external=(again,)))
    with pytest.raises(InputError, match="converted from the archive of the study itself"):
        make_plan(replace(config, external=(noise(tmp_path / "whole", np.arange(40) % 2),)))
    renamed = noise(tmp_path / "renamed", np.arange(40) % 2, manifest_sha256="0" * 64)
    with pytest.raises(InputError, match=r"study's own dataset has images of 40 of 40 .*it is not external"):
        make_plan(replace(config, external=(renamed,)))
    with pytest.raises(InputError, match="1 malignant patients; an interval needs at least 2"):
        make_plan(replace(config, external=(noise(tmp_path / "few", [0, 1, 0]),)))


def test_a_third_class_counts_as_benign_only_when_that_is_asked_for(config, tmp_path):
    three = noise(tmp_path / "three", np.arange(40) % 3, classes=("benign", "indeterminate", "malignant"))
    with pytest.raises(InputError, match="--positive malignant"):
        make_plan(replace(config, dataset=three))
    plan = make_plan(replace(config, dataset=three, positive="malignant"))
    assert "the classes benign, indeterminate count as benign together" in plan.notices
    assert plan.protocol.dataset.patient_labels.sum() == 13


def test_a_learning_curve_of_more_patients_than_there_are_is_refused(config):
    with pytest.raises(InputError, match="12 training patients cannot be drawn from the 12 of fold 0"):
        make_plan(replace(config, learning_curve=(12,)))


def test_subgroups_need_a_table_of_these_patients(config, tmp_path):
    with pytest.raises(InputError, match="--subgroup needs --attributes"):
        make_plan(replace(config, subgroups=("sex",)))
    (tmp_path / "mrn.csv").write_text("patient,sex\nMRN1,f\nMRN2,m\n")
    with pytest.raises(InputError, match="none of its patients is in the dataset"):
        make_plan(replace(config, subgroups=("sex",), attributes=tmp_path / "mrn.csv"))
    (tmp_path / "sex.csv").write_text("patient,sex\n" + "".join(f"data{index},f\n" for index in range(40)))
    plan = make_plan(replace(config, subgroups=("sex",), attributes=tmp_path / "sex.csv"))
    assert plan.attributes is not None
    assert len(plan.attributes) == 16, "of the test patients alone"


def test_only_frozen_features_ask_for_scikit_learn_and_before_anything_is_read(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as where it is not installed
    assert make_plan(config).networks
    assert make_plan(replace(config, search=True, grid=("1e-4",), folds=3)).protocol.search is not None
    unread = replace(config, dataset=tmp_path / "absent")
    for asking in (
        replace(unread, frozen=(("probe", config.radimagenet),)),
        replace(unread, search=True),
        replace(unread, search=True, grid=("1e-4", "frozen")),
    ):
        with pytest.raises(MissingDependencyError, match=r"scikit-learn, .* pip install 'fastrad\[frozen\]'"):
            make_plan(asking)


def test_controls_ask_for_scikit_learn_before_they_draw_anything(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingDependencyError, match=r"fastrad controls needs scikit-learn"):
        run_controls(tmp_path / "out")
    assert not (tmp_path / "out").exists()
