"""`fastrad compare` on real thyroid images: three arms, the table, and going on where it stopped."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fastrad.cli import main
from fastrad.model import resnet18, save_weights
from fastrad.storage import write_beton


def run(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Path, Path]:
    """Two files in torchvision's format: three channels, 1000 outputs."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    torch.save(resnet18(1000, 3).state_dict(), folder / "imagenet.pth")
    save_weights(folder / "radimagenet.safetensors", resnet18(1000, 3).state_dict(), {})
    return folder / "imagenet.pth", folder / "radimagenet.safetensors"


@pytest.fixture(scope="module")
def study(ddti_root, weights, tmp_path_factory) -> tuple[list, Path]:
    """DDTI at 32 pixels, every arm trained for one epoch over two folds; the words of the command, and the folder."""
    root = tmp_path_factory.mktemp("ddti-study")
    words = ["convert", "thyroid", ddti_root, root / "data", "--layout", "ddti", "--size", 32]
    assert run(*words, "--workers", 2, "--keep-patient-ids") == 0
    imagenet, radimagenet = weights
    words = ["compare", root / "data", "--radimagenet", radimagenet, "--imagenet", imagenet, "--out", root / "study"]
    words += ["--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 64]
    assert run(*words) == 0
    return words, root / "study"


def test_every_product_is_there(study):
    _, out = study
    for name in ("report.html", "table.md", "table.csv", "table.json", "roc.png", "predictions.csv", "splits.csv"):
        assert (out / name).stat().st_size > 100


def test_the_table_counts_ddtis_cases(study):
    _, out = study
    values = json.loads((out / "table.json").read_text())
    parts = [values["development"], values["test"]]
    assert sum(part["patients"] for part in parts) == 298
    assert sum(part["images"] for part in parts) == 349
    assert values["test"]["patients"] in (59, 60)
    assert not values["synthetic"]
    assert [arm["arm"] for arm in values["arms"]] == ["none", "imagenet", "radimagenet"]
    assert [arm["abstract_test_auroc"] for arm in values["arms"]] == [0.74, 0.80, 0.84]
    for arm in values["arms"]:
        assert 0 <= arm["test_auroc_low"] <= arm["test_auroc"] <= arm["test_auroc_high"] <= 1


def test_predictions_hold_every_test_image_of_every_run_and_no_patient_twice(study):
    _, out = study
    with (out / "predictions.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["arm", "seed", "fold", "set", "patient", "row", "label", "score"]
    with (out / "splits.csv").open() as file:
        where = {line["patient"]: line for line in csv.DictReader(file)}
    test_rows = {}
    for line in lines:
        split = where[line["patient"]]
        assert (split["set"], split["fold"]) == (
            ("test", "") if line["set"] == "test" else ("development", line["fold"])
        )
        if line["set"] == "test":
            test_rows.setdefault((line["arm"], line["fold"]), []).append(int(line["row"]))
    assert len(test_rows) == 6
    assert len({tuple(rows) for rows in test_rows.values()}) == 1
    for arm in ("none", "imagenet", "radimagenet"):
        validated = [line["row"] for line in lines if line["arm"] == arm and line["set"] == "val"]
        assert len(validated) == len(set(validated)) == 349 - len(next(iter(test_rows.values())))


def test_the_finished_command_trains_nothing_again(study, capfd):
    words, out = study
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert run(*words, "--json") == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()} == before
    captured = capfd.readouterr()
    assert "6 of 6 runs are finished already" in captured.err
    assert json.loads(captured.out) == json.loads((out / "table.json").read_text())


def test_an_interrupted_study_goes_on_to_the_same_table(study, tmp_path):
    words, out = study
    copy = tmp_path / "study"
    shutil.copytree(out, copy)
    lost = copy / "runs" / "imagenet-seed0-fold1"
    shutil.rmtree(lost)
    (copy / "runs" / ".imagenet-seed0-fold1.partial").mkdir()
    for name in ("table.json", "predictions.csv", "report.html"):
        (copy / name).unlink()
    kept = (copy / "runs" / "none-seed0-fold0" / "run.json").stat().st_mtime_ns
    assert run(*[copy if word == out else word for word in words]) == 0
    assert (lost / "predictions.csv").is_file()
    assert (copy / "runs" / "none-seed0-fold0" / "run.json").stat().st_mtime_ns == kept
    found, expected = (json.loads((folder / "table.json").read_text()) for folder in (copy, out))
    for one, other in zip(found["arms"], expected["arms"], strict=True):
        assert one["test_auroc"] == pytest.approx(other["test_auroc"], abs=0.02)


def test_other_settings_in_the_same_folder_are_refused(study, capfd):
    words, _ = study
    assert run(*words, "--learning-rate", "0.001") == 1
    assert "learning_rate 0.0003, now 0.001" in capfd.readouterr().err


def test_bad_weights_are_one_clear_line(study, tmp_path, capfd):
    words, _ = study
    torch.save({"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    assert run(*words, "--out", tmp_path / "out", "--radimagenet", tmp_path / "other.pth") == 1
    error = capfd.readouterr().err
    assert "other.pth" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_single_class_and_an_unnamed_positive_class_are_refused(weights, tmp_path, capfd):
    images = np.zeros((6, 32, 32), dtype=np.uint8)
    write_beton(tmp_path / "all.beton", images, [0, 1] * 3, classes=["a", "b"])
    words = ["compare", tmp_path, "--imagenet", weights[0], "--radimagenet", weights[1], "--out", tmp_path / "out"]
    assert run(*words) == 1
    assert "--positive" in capfd.readouterr().err
    assert run(*words, "--positive", "b", "--arm", "none") == 2
