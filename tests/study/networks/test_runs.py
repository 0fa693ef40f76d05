"""What a finished network leaves, and when a folder is not taken for one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from fastrad.errors import FormatError, InputError
from fastrad.models.weights import load_weights
from fastrad.study.networks.runs import check_finished, gather, tune
from fastrad.study.predictions import PREDICTION_COLUMNS

CPU = torch.device("cpu")


def test_predictions_hold_each_test_image_of_every_network_and_each_validation_image_once(finished):
    protocol, networks, runs = finished
    table = gather(networks, runs)
    assert list(table.columns) == list(PREDICTION_COLUMNS)
    fold = dict(zip(protocol.splits.patients, protocol.splits.fold, strict=True))
    for number in (0, 1):
        part = table[table["fold"] == number]
        assert set(part[part["set"] == "test"]["patient"]) == {name for name, where in fold.items() if where == -1}
        assert set(part[part["set"] == "val"]["patient"]) == {name for name, where in fold.items() if where == number}
    assert not table.duplicated(["fold", "set", "row"]).any()
    labels = dict(zip(protocol.dataset.patients, protocol.dataset.patient_labels, strict=True))
    assert [labels[patient] for patient in table["patient"]] == table["label"].tolist()


def test_a_folder_says_what_its_numbers_depend_on(finished):
    protocol, networks, runs = finished
    folder = runs / networks[0].name
    assert sorted(path.name for path in folder.iterdir()) == [
        "history.csv",
        "predictions.csv",
        "run.json",
        "weights.safetensors",
    ]
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["size"] == 32
    assert record["settings"]["dataset_sha256"] == protocol.dataset.card.sha256()
    assert record["epochs"] == len(pd.read_csv(folder / "history.csv")) == 1
    weights = load_weights(folder / "weights.safetensors")
    assert set(protocol.dataset.card.identities()) <= set(weights.seen)
    assert weights.normalisation == protocol.normalisation


def test_finished_networks_are_kept(finished, capfd):
    protocol, networks, runs = finished
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    tune(networks, protocol, runs, CPU)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before
    assert capfd.readouterr().err == "2 of 2 runs are finished already and kept\n"


def test_a_network_that_was_interrupted_is_tuned_again_to_the_same_scores(finished, tmp_path):
    protocol, networks, runs = finished
    shutil.copytree(runs / networks[0].name, tmp_path / networks[0].name)
    (tmp_path / f".{networks[1].name}.partial").mkdir()
    tune(networks, protocol, tmp_path, CPU)
    assert sorted(path.name for path in tmp_path.iterdir()) == [network.name for network in networks]
    found, expected = (gather(networks, folder)["score"].to_numpy() for folder in (tmp_path, runs))
    assert found == pytest.approx(expected, abs=0.02)
    assert np.array_equal(found[: len(found) // 2], expected[: len(found) // 2])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda each: replace(each, tuning=replace(each.tuning, learning_rate=0.1)), "learning_rate 0.0003, now 0.1"),
        (lambda each: replace(each, splits=replace(each.splits, fold=each.splits.fold[::-1])), "other splits"),
        (
            lambda each: replace(each, dataset=replace(each.dataset, positive="benign")),
            "positive malignant, now benign",
        ),
    ],
)
def test_networks_of_other_settings_are_refused(finished, change, reason):
    protocol, networks, runs = finished
    with pytest.raises(InputError, match=rf"none-seed0-fold0: was made with .*{reason}.*--out"):
        check_finished(networks, change(protocol), runs)


@pytest.mark.parametrize("content", ['{"settings": ', "[]", '{"settings": 3}', "[" * 100_000])
def test_a_damaged_record_is_one_line_that_says_what_to_do(finished, tmp_path, content):
    protocol, networks, _ = finished
    (tmp_path / networks[0].name).mkdir()
    (tmp_path / networks[0].name / "run.json").write_text(content)
    with pytest.raises(FormatError, match=r"none-seed0-fold0/run\.json: cut short or altered; .*same command again"):
        check_finished(networks, protocol, tmp_path)


def test_damaged_predictions_are_refused_by_name(finished, tmp_path):
    _, networks, runs = finished
    shutil.copytree(runs, tmp_path / "runs")
    path = tmp_path / "runs" / networks[1].name / "predictions.csv"
    path.write_bytes(path.read_bytes()[:-30])
    said = r"cut short|has no rows, or empty|line \d+: the \w+ is no number"
    with pytest.raises(FormatError, match=rf"none-seed0-fold1/predictions\.csv: ({said})"):
        gather(networks, tmp_path / "runs")


def test_patients_called_na_null_or_007_stay_what_they_are(tmp_path):
    from fastrad.study.predictions import read_predictions

    lines = [("null", 0, 0, "test", name, row, 0, 0.5) for row, name in enumerate(("NA", "null", "007", "1e5"))]
    pd.DataFrame(lines, columns=list(PREDICTION_COLUMNS)).to_csv(tmp_path / "p.csv", index=False)
    table = read_predictions(tmp_path / "p.csv")
    assert table["patient"].tolist() == ["NA", "null", "007", "1e5"]
    assert table["arm"].tolist() == ["null"] * 4
