"""Attacks on a finished study: what was altered after the scoring is refused by name, and nothing else is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fastrad.errors import FormatError
from fastrad.study.networks.rescore import rescore
from fastrad.study.predictions import read_predictions
from fastrad.study.protocol.ledger import LEDGER
from fastrad.study.protocol.record import read_study, seal_study
from fastrad.study.report.page import write_report


@pytest.fixture
def study(sealed_study, tmp_path) -> Path:
    return shutil.copytree(sealed_study, tmp_path / "study")


def reseal(folder: Path, **changes) -> None:
    """What a forger does who knows of the seals: compute them again."""
    record = {**json.loads((folder / "study.json").read_text()), **changes}
    (folder / "study.json").write_text(json.dumps(seal_study(record, folder)))


def refused(folder: Path, pattern: str) -> str:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(FormatError, match=pattern) as caught:
        write_report(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    names = set(read_predictions(folder / "external" / "away-fba86c1e-33ced892.csv")["patient"])
    assert not names & set(re.findall(r"\w+", str(caught.value))), "no patient is named"
    return str(caught.value)


def edit(path: Path, change) -> None:
    table = read_predictions(path)
    change(table)
    table.to_csv(path, index=False)


def test_an_untouched_study_is_reported_as_often_as_one_likes(study):
    first = write_report(study).read_bytes()
    assert write_report(study).read_bytes() == first


def perfect(table: pd.DataFrame) -> None:
    """An AUROC of 1.000 for one arm."""
    mine = (table["arm"] == "radimagenet") & (table["set"] == "test")
    table.loc[mine, "score"] = table.loc[mine, "label"] * 2.0 - 1


def test_edited_scores_are_refused_by_the_files_name(study):
    edit(study / "predictions.csv", perfect)
    said = refused(study, r"study/predictions\.csv: was altered after it was written")
    assert "--rescore" in said


@pytest.mark.parametrize("position", [60, 200, 1000, 5000, 9001, 12_000])
def test_any_flipped_digit_is_refused(study, position):
    content = bytearray((study / "predictions.csv").read_bytes())
    while not chr(content[position]).isdigit():
        position += 1
    content[position] = ord("1") if content[position] != ord("1") else ord("2")
    (study / "predictions.csv").write_bytes(content)
    refused(study, r"predictions\.csv: was altered")


def test_a_flipped_digit_in_a_networks_own_table_is_refused_by_its_name(study):
    path = study / "runs" / "none-seed1-fold0" / "predictions.csv"
    content = path.read_text()
    path.write_text(content[:-4] + ("1" if content[-4] != "1" else "2") + content[-3:])
    refused(study, r"none-seed1-fold0/predictions\.csv: was altered")


@pytest.mark.parametrize("name", ["weights.safetensors", "run.json"])
def test_a_networks_other_files_are_sealed_too(study, name):
    path = study / "runs" / "imagenet-seed0-fold1" / name
    path.write_bytes(path.read_bytes().replace(b"imagenet", b"imaginet"))
    refused(study, rf"imagenet-seed0-fold1/{name}: was altered")


def test_a_network_that_was_exchanged_with_its_seal_is_refused(study):
    one, other = (study / "runs" / f"radimagenet-seed{seed}-fold0" for seed in (0, 1))
    shutil.rmtree(one)
    shutil.copytree(other, one)
    refused(study, r"radimagenet-seed0-fold0/run\.json: is not the network that the study was made with")


@pytest.mark.parametrize("name", ["subgroups.csv", "learning_curve.csv", LEDGER, "splits.csv"])
def test_the_other_tables_are_sealed_too(study, name):
    (study / name).write_bytes((study / name).read_bytes() + b"\n")
    refused(study, rf"{name}: was altered")
    (study / name).unlink()
    refused(study, rf"{name}: is missing")


@pytest.mark.parametrize("name", ["plan.json", "development.json"])
def test_what_was_intended_is_sealed_and_not_mended_by_scoring_again(study, name):
    (study / name).write_text("{}")
    reseal(study)
    write_report(study)
    (study / name).write_text("{ }")
    assert "--rescore" not in refused(study, rf"{name}: was altered")
    with pytest.raises(FormatError, match=rf"{name}: was altered"):
        rescore(study, [study / "all.beton"], "cpu")


@pytest.mark.parametrize("made", [True, False])
def test_a_study_that_was_never_finished_is_not_called_altered(tmp_path, made):
    folder = tmp_path / "study"
    if made:
        folder.mkdir()
    with pytest.raises(FormatError, match=r"study/study\.json: is missing; give the `fastrad compare` command again"):
        rescore(folder, [tmp_path / "all.beton"], "cpu")


def test_the_record_itself_is_sealed(study):
    text = (study / "study.json").read_text()
    (study / "study.json").write_text(text.replace('"malignant": 14', '"malignant": 15'))
    refused(study, r"study\.json: was altered")


def test_a_seal_that_was_taken_off_is_missed(study):
    record = json.loads((study / "study.json").read_text())
    del record["seal"]
    (study / "study.json").write_text(json.dumps(record))
    refused(study, r"study\.json: was altered .* lost its seal")


def flipped_in_one_arm(table: pd.DataFrame) -> None:
    mine = (table["arm"] == "radimagenet") & (table["row"] == table["row"].iloc[0])
    table.loc[mine, "label"] = 1 - table.loc[mine, "label"]


def test_a_label_changed_in_one_arm_is_refused_even_with_seals_computed_again(study):
    edit(study / "predictions.csv", flipped_in_one_arm)
    reseal(study)
    row = int(read_predictions(study / "predictions.csv")["row"].iloc[0])
    refused(study, rf"predictions\.csv: 1 images have two labels, the first is that of row {row}:")


def test_a_label_changed_in_every_arm_is_not_the_cards(study):
    def flip(table):
        mine = table["row"] == table["row"].iloc[0]
        table.loc[mine, "label"] = 1 - table.loc[mine, "label"]

    edit(study / "predictions.csv", flip)
    reseal(study)
    refused(study, r"predictions\.csv: its labels are not those of the dataset all\.beton")


def test_a_test_patient_that_is_also_validated_is_refused(study):
    table = read_predictions(study / "predictions.csv")
    stray = table[table["set"] == "test"].head(1).assign(set="val")
    pd.concat([table, stray.assign(row=99_999)]).to_csv(study / "predictions.csv", index=False)
    reseal(study)
    refused(study, r"predictions\.csv: 1 patients are in test and validation, the first with row \d+")


def test_a_patient_of_two_folds_is_refused(study):
    table = read_predictions(study / "predictions.csv")
    stray = table[(table["set"] == "val") & (table["fold"] == 0)].head(1)
    pd.concat([table, stray.assign(fold=1)]).to_csv(study / "predictions.csv", index=False)
    reseal(study)
    refused(study, r"1 patients are in two validation folds")


def test_a_test_set_that_is_not_that_of_the_splits_is_refused(study):
    def move(table):
        patient = table.loc[table["set"] == "test", "patient"].iloc[0]
        table.loc[table["patient"] == patient, "set"] = "val"
        table.drop(table[(table["patient"] == patient) & (table["fold"] == 1)].index, inplace=True)

    edit(study / "predictions.csv", move)
    reseal(study)
    refused(study, r"predictions\.csv: row \d+ stands as val, but splits\.csv has its patient held out")


def test_splits_that_are_not_the_studys_are_refused_in_a_study_of_0_1_0_too(kept, tmp_path, sealed_study):
    shutil.copytree(kept, tmp_path / "study")
    text = (sealed_study / "splits.csv").read_text()
    (tmp_path / "study" / "splits.csv").write_text(text)
    refused(tmp_path / "study", r"splits\.csv: was altered .*its hash differs from study\.json")


@pytest.mark.parametrize("changes", [{"arms": 3}, {"external": [{"file": "../../x.csv"}]}, {"versions": {}}])
def test_a_record_that_names_what_no_study_has_is_refused(study, changes):
    record = {**json.loads((study / "study.json").read_text()), **changes}
    del record["seal"]
    record["versions"] = {"fastrad": "0.1.0"} if "versions" not in changes else {"fastrad": 1}
    (study / "study.json").write_text(json.dumps(record))
    with pytest.raises(FormatError, match=r"study\.json: "):
        read_study(study)


def test_a_folder_without_its_networks_is_reported_all_the_same(study):
    whole = write_report(study).read_bytes()
    shutil.rmtree(study / "runs")
    assert write_report(study).read_bytes() == whole
