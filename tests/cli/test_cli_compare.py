"""`fastrad compare`, `report` and `predict` as commands: products, exit status, one line for what cannot be done.

What a study computes is tested in `tests/study/`.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_studies import noise, weights_by_chance

from fastrad.archives import read_source
from fastrad.cli import main
from fastrad.study.protocol.ledger import LEDGER, differing, overlap, read_ledger


def run(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Path, Path]:
    """Two files in torchvision's format: ImageNet's part, and RadImageNet's."""
    folder = tmp_path_factory.mktemp("weights")
    return weights_by_chance(folder / "imagenet.pth"), weights_by_chance(folder / "radimagenet.safetensors", seed=2)


@pytest.fixture(scope="module")
def study(ddti_root, weights, tmp_path_factory) -> tuple[list, Path]:
    """DDTI at 32 pixels, one epoch, two folds, and an arm that copies another; the command's words, and the folder."""
    root = tmp_path_factory.mktemp("ddti-study")
    words = ["convert", "ddti", ddti_root, root / "data", "--size", 32]
    assert run(*words, "--workers", 2, "--keep-patient-ids") == 0
    imagenet, radimagenet = weights
    words = ["compare", root / "data", "--radimagenet", radimagenet, "--imagenet", imagenet, "--out", root / "study"]
    words += ["--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 64, "--frozen", f"unfitted={radimagenet}"]
    words += ["--arm", f"copy={radimagenet}"]
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
    assert [arm["arm"] for arm in values["arms"]] == ["none", "imagenet", "radimagenet", "copy", "unfitted"]
    for arm in values["arms"]:
        assert 0 <= arm["test_auroc_low"] <= arm["test_auroc"] <= arm["test_auroc_high"] <= 1
    page = (out / "report.html").read_text()
    assert "131 without a label, 0 not usable" in page
    assert "patient ids are as the source has them" in page


def test_predictions_hold_every_test_image_of_every_network_and_no_patient_twice(study):
    _, out = study
    lines = list(csv.DictReader((out / "predictions.csv").open()))
    where = {line["patient"]: line for line in csv.DictReader((out / "splits.csv").open())}
    test_rows: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        split = where[line["patient"]]
        assert (split["set"], split["fold"]) == (
            ("test", "") if line["set"] == "test" else ("development", line["fold"])
        )
        if line["set"] == "test":
            test_rows.setdefault((line["arm"], line["fold"]), []).append(int(line["row"]))
    assert len(test_rows) == 10
    assert len({tuple(rows) for rows in test_rows.values()}) == 1
    for arm in ("none", "imagenet", "radimagenet"):
        validated = [line["row"] for line in lines if line["arm"] == arm and line["set"] == "val"]
        assert len(validated) == len(set(validated)) == 349 - len(next(iter(test_rows.values())))


def test_arms_with_the_same_weights_get_the_same_scores(study):
    """Folds, head, order and augmentation don't depend on the arm."""
    _, out = study
    table = pd.read_csv(out / "predictions.csv")
    keys = ["set", "fold", "row"]
    scores = {arm: part.set_index(keys)["score"] for arm, part in table.groupby("arm")}
    assert scores["copy"].to_numpy() == pytest.approx(scores["radimagenet"].to_numpy(), abs=1e-3)
    assert scores["imagenet"].to_numpy() != pytest.approx(scores["radimagenet"].to_numpy(), abs=1e-3)


def test_report_writes_the_same_table_from_the_predictions_alone(study, tmp_path, capfd):
    _, out = study
    copy = tmp_path / "study"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("runs", "table.*", "report.html", "figures", "roc.png"))
    assert run("report", copy) == 0
    assert capfd.readouterr().out == (out / "table.md").read_text()
    for name in ("table.json", "table.csv", "table.tex", "figures/roc.svg", "figures/calibration.png", "report.html"):
        assert (copy / name).read_bytes() == (out / name).read_bytes()
    assert run("report", tmp_path) == 1
    assert "study.json" in capfd.readouterr().err


def test_predict_gives_the_studys_own_scores_of_the_archives_files(study, ddti_root, tmp_path, capfd):
    _, out = study
    network = out / "runs" / "imagenet-seed0-fold1"
    expected = pd.read_csv(network / "predictions.csv").query("set == 'test'").set_index("row")["score"]
    files = tmp_path / "images"
    files.mkdir()
    paths = read_source("ddti", ddti_root).table["path"]
    for row in expected.index[:3]:
        shutil.copy(ddti_root / paths[row], files)
    (files / "broken.png").write_bytes(b"no image")
    assert run("predict", network / "weights.safetensors", files, "--out", tmp_path / "images.csv") == 0
    assert "3 images scored by 1 network, 1 could not be read" in capfd.readouterr().out
    table = pd.read_csv(tmp_path / "images.csv").set_index("path")
    for row in expected.index[:3]:
        assert table.loc[Path(paths[row]).name, "score"] == pytest.approx(expected[row], abs=1e-3)


def test_the_finished_command_trains_nothing_again(study, capfd):
    words, out = study
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert run(*words, "--json") == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()} == before
    captured = capfd.readouterr()
    assert "10 of 10 runs are finished already" in captured.err
    assert json.loads(captured.out) == json.loads((out / "table.json").read_text())


def without_command(path: Path) -> dict:
    """`study.json` without what belongs to one command and folder."""
    own = ("command", "seal", "limited_networks")
    return {name: value for name, value in json.loads(path.read_text()).items() if name not in own}


@pytest.fixture(scope="module")
def few(weights, tmp_path_factory) -> tuple[list, Path]:
    """Forty patients, three of them called NA, null and 007, and two arms called so; the words, and the folder.

    The command asks for everything that a study can have: an external set, subgroups, a learning curve.
    """
    root = tmp_path_factory.mktemp("few")
    names = ["NA", "null", "007", *(f"p{index}" for index in range(37))]
    data = noise(root / "data", np.arange(40) % 2, names=names, patient_ids="pseudonym")
    lines = "".join(f"{name};{'NA' if index % 3 else ''}\n" for index, name in enumerate(names))
    (root / "people.csv").write_text("patient;site\n" + lines, encoding="utf-16")
    words = ["compare", data, "--radimagenet", weights[1], "--imagenet", weights[0], "--out", root / "study"]
    words += ["--frozen", f"null={weights[1]}", "--frozen", f"007={weights[1]}"]
    words += ["--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 16, "--test-fraction", 0.4]
    extra = ["--external", noise(root / "elsewhere", [0, 1, 0, 1, 1, 0]), "--learning-curve", "6,all"]
    assert run(*words, *extra, "--subgroup", "site", "--attributes", root / "people.csv") == 0
    return words, root / "study"


def elsewhere(words: list, out: Path) -> list:
    """The same command for another folder."""
    words = [*words]
    words[words.index("--out") + 1] = out
    return words


def test_patients_and_arms_called_na_null_or_007_are_counted(few):
    _, out = few
    values = json.loads((out / "table.json").read_text())
    assert [arm["arm"] for arm in values["arms"]] == ["none", "imagenet", "radimagenet", "null", "007"]
    held_out = {line["patient"] for line in csv.DictReader((out / "splits.csv").open()) if line["set"] == "test"}
    tested = {line["patient"] for line in csv.DictReader((out / "predictions.csv").open()) if line["set"] == "test"}
    assert tested == held_out
    assert values["test"]["patients"] == len(held_out) == 16
    assert f"{len(held_out)} patients" in (out / "table.md").read_text()
    assert "(frozen features): not fine-tuned" in (out / "report.html").read_text()
    assert [group["value"] for group in values["subgroups"]] == ["unknown", "NA"]
    assert sum(group["patients"] for group in values["subgroups"]) == 16


def test_networks_of_a_learning_curve_are_no_networks_of_the_arm(few):
    _, out = few
    assert {path.name for path in (out / "runs").glob("radimagenet-*")} == {
        "radimagenet-seed0-fold0",
        "radimagenet-seed0-fold1",
    }
    assert (out / "runs" / "patients6-radimagenet-seed0-fold1").is_dir()
    assert {line["patients"] for line in csv.DictReader((out / "learning_curve.csv").open())} == {"6", "12"}


def test_an_external_set_is_in_the_table(few):
    _, out = few
    (external,) = json.loads((out / "table.json").read_text())["external"]
    assert (external["name"], external["patients"], external["malignant"]) == ("elsewhere", 6, 3)
    assert "External: elsewhere, 6 patients" in (out / "table.md").read_text()


def test_what_is_no_longer_asked_for_is_not_shown(few, tmp_path):
    words, out = few
    shutil.copytree(out, tmp_path / "study")
    assert run(*elsewhere(words, tmp_path / "study")) == 0
    for name in ("learning_curve.csv", "subgroups.csv"):
        assert (out / name).is_file()
        assert not (tmp_path / "study" / name).exists()
    values = json.loads((tmp_path / "study" / "table.json").read_text())
    assert values["external"] == values["subgroups"] == []
    found, expected = (without_command(folder / "study.json") for folder in (tmp_path / "study", out))
    assert {**found, **{name: expected[name] for name in ("external", "seen")}} == expected


def test_an_interrupted_study_goes_on_to_the_same_table(few, tmp_path):
    words, out = few
    copy = tmp_path / "study"
    shutil.copytree(out, copy)
    lost = copy / "runs" / "imagenet-seed0-fold1"
    shutil.rmtree(lost)
    lost.with_name(f".{lost.name}.partial").mkdir()
    for name in ("table.json", "predictions.csv", "report.html"):
        (copy / name).unlink()
    kept = (copy / "runs" / "none-seed0-fold0" / "run.json").stat().st_mtime_ns
    assert run(*elsewhere(words, copy)) == 0
    assert (lost / "predictions.csv").is_file()
    assert (copy / "runs" / "none-seed0-fold0" / "run.json").stat().st_mtime_ns == kept
    found, expected = (json.loads((folder / "table.json").read_text()) for folder in (copy, out))
    for one, other in zip(found["arms"], expected["arms"], strict=True):
        assert one["test_auroc"] == pytest.approx(other["test_auroc"], abs=0.02)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--learning-rate", "0.001"], 1, "learning_rate 0.0003, now 0.001"),
        (["--test-fraction", "0.3"], 1, "was made with other splits"),
        (["--frozen", "none=x.pth"], 2, "arm none is given twice"),
        (["--arm", "mine"], 2, "--arm mine: give NAME=WEIGHTS"),
        (["--learning-curve", "many"], 2, "--learning-curve many: give numbers of patients"),
        (["--subgroup", "sex"], 2, "--subgroup needs --attributes"),
        (["--splits", "nowhere.csv"], 1, "nowhere.csv: no such table"),
        (["--radimagenet", "other.pth"], 1, "other.pth"),
        (["--seeds", "0"], 2, "--seeds"),
        (["--device", "banana"], 1, "device 'banana'"),
        (["--device", "cuda:99"], 1, "device 'cuda:99'"),
    ],
)
def test_a_refused_command_says_why_on_its_last_line_and_changes_nothing(
    few, tmp_path, monkeypatch, capfd, words, status, said
):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "other.pth")
    given, out = few
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capfd.readouterr()
    assert run(*given, *words) == status
    error = capfd.readouterr().err.splitlines()
    assert said in error[-1]
    assert not any("Traceback" in line for line in error)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_refused_command_makes_no_folder(few, tmp_path):
    words, _ = few
    for more in (["--device", "banana"], ["--learning-curve", "999"], ["--subgroup", "sex"]):
        assert run(*elsewhere(words, tmp_path / "new"), *more) in (1, 2)
        assert not (tmp_path / "new").exists()


def test_a_single_class_and_an_unnamed_positive_class_are_refused(weights, tmp_path, capfd):
    data = noise(tmp_path / "data", [0, 1] * 3, classes=("a", "b"))
    words = ["compare", data, "--imagenet", weights[0], "--radimagenet", weights[1], "--out", tmp_path / "out"]
    assert run(*words) == 1
    assert "--positive" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_of_a_study_of_the_same_patients_is_no_arm(few, tmp_path, capfd):
    words, out = few
    tuned = out / "runs" / "imagenet-seed0-fold0" / "weights.safetensors"
    assert run(*elsewhere(words, tmp_path / "study"), "--arm", f"old={tuned}") == 1
    assert "the weights of the old arm (weights.safetensors) were trained or chosen on" in capfd.readouterr().err
    assert not (tmp_path / "study").exists()


def test_networks_of_several_arms_are_not_averaged(few, tmp_path, capfd):
    words, out = few
    files = [out / "runs" / f"{arm}-seed0-fold0" / "weights.safetensors" for arm in ("none", "imagenet")]
    assert run("predict", *files, words[1], "--out", tmp_path / "scores.csv") == 1
    assert "several arms (imagenet, none)" in capfd.readouterr().err
    assert run("predict", words[words.index("--imagenet") + 1], words[1], "--out", tmp_path / "scores.csv") == 1
    assert "is not a network of a study" in capfd.readouterr().err


def test_a_recipe_file_decides_and_options_beside_it_win(few, tmp_path, capfd):
    """The finished networks say what they were tuned with, and what the command would tune with now."""
    words, _ = few
    (tmp_path / "recipe.toml").write_text("epochs = 9\nbatch_size = 8\nweight_decay = 0.05\n")
    assert run(*words, "--recipe", tmp_path / "recipe.toml") == 1
    assert "was made with weight_decay 0.01, now 0.05" in capfd.readouterr().err
    (tmp_path / "recipe.toml").write_text("flip_average = false\n")
    assert run(*words, "--recipe", tmp_path / "recipe.toml") == 1
    assert "was made with flip_average True, now False" in capfd.readouterr().err
    (tmp_path / "recipe.toml").write_text("wight_decay = 0.05\n")
    assert run(*words, "--recipe", tmp_path / "recipe.toml") == 2
    assert "'wight_decay' is no value of a recipe; known are epochs" in capfd.readouterr().err


def copied(few, tmp_path) -> tuple[list, Path]:
    """The command and its folder, for a test that alters it."""
    words, out = few
    shutil.copytree(out, tmp_path / "study")
    extra = ["--external", Path(words[1]).parent / "elsewhere", "--learning-curve", "6,all", "--subgroup", "site"]
    words = [*elsewhere(words, tmp_path / "study"), *extra, "--attributes", Path(words[1]).parent / "people.csv"]
    return words, tmp_path / "study"


def make_perfect(path: Path, arm: str) -> None:
    """Let an arm's scores be the labels, as who wants an AUROC of 1.000 would."""
    table = pd.read_csv(path, dtype={"patient": str}, keep_default_na=False)
    table.loc[table["arm"] == arm, "score"] = table["label"] * 2.0 - 1
    table.to_csv(path, index=False)


def test_altered_scores_are_refused_and_rescore_brings_the_networks_own_back(few, tmp_path, capfd):
    words, out = copied(few, tmp_path)
    before = {path: path.read_bytes() for path in out.rglob("*.csv")}
    for path in (out / "predictions.csv", out / "runs" / "imagenet-seed0-fold1" / "predictions.csv"):
        make_perfect(path, "imagenet")
    make_perfect(next((out / "external").iterdir()), "null")
    assert run("report", out) == 1
    assert ".csv: was altered after it was written (its seal differs)" in capfd.readouterr().err
    assert run(*words) == 1
    assert "imagenet-seed0-fold1/predictions.csv: was altered" in capfd.readouterr().err
    assert run("report", out, "--rescore", words[1], "--rescore", Path(words[1]).parent / "elsewhere") == 0
    said = capfd.readouterr().err
    assert said.count("did not hold what the networks say") == 3
    assert "20 networks scored again" in said
    for path, content in before.items():
        if path.name != "table.csv":
            found, expected = (pd.read_csv(text, keep_default_na=False) for text in (path, io.BytesIO(content)))
            pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=1e-3)
    assert run("report", out) == 0
    assert run(*words) == 0
    record = json.loads((out / "study.json").read_text())
    assert record["seal"]["files"]["predictions.csv"]


def test_rescoring_a_sound_study_changes_no_table(few, tmp_path, capfd):
    words, out = copied(few, tmp_path)
    before = {path: path.read_bytes() for path in out.rglob("*.csv")}
    assert run("report", out, "--rescore", words[1]) == 0
    assert {path: path.read_bytes() for path in out.rglob("*.csv")} == before
    assert "did not hold" not in capfd.readouterr().err
    assert run("report", out, "--rescore", Path(words[1]).parent / "elsewhere") == 1
    assert "--rescore needs the study's own dataset, all.beton" in capfd.readouterr().err
    assert run("report", out, "--device", "cpu") == 2
    weights = out / "runs" / "none-seed0-fold0" / "weights.safetensors"
    shutil.copy(out / "runs" / "none-seed0-fold1" / "weights.safetensors", weights)
    assert run("report", out, "--rescore", words[1]) == 1
    assert "none-seed0-fold0/weights.safetensors: was altered" in capfd.readouterr().err


def test_other_settings_on_the_same_patients_are_counted_and_a_repeated_command_is_not(few, tmp_path, capfd):
    words, out = copied(few, tmp_path)
    entries = read_ledger(out / LEDGER)
    assert run(*words) == 0
    assert read_ledger(out / LEDGER) == entries
    hunting = [*elsewhere(few[0], tmp_path / "hunting"), "--learning-rate", "0.001", "--device", "cpu"]
    assert run(*hunting) == 0
    found = read_ledger(tmp_path / "hunting" / LEDGER)
    study = json.loads((tmp_path / "hunting" / "study.json").read_text())
    (current,) = [each for each in found if each.key == study["scoring"]]
    (earlier,) = [each for each in found if each != current and overlap(each, current)]
    assert overlap(earlier, current) == 16
    assert differing(earlier.settings, current.settings) == ["learning_rate"]
    names = set(pd.read_csv(out / "splits.csv", keep_default_na=False)["patient"])
    assert not any(f'"{name}"' in (out / LEDGER).read_text() for name in names - {"NA", "null", "007"})


@pytest.mark.parametrize("option", ["--radimagenet", "--out"])
def test_what_a_study_cannot_do_without_is_asked_for(few, capfd, option):
    words = [*few[0]]
    del words[words.index(option) : words.index(option) + 2]
    assert run(*words) == 2
    assert f"Missing option '{option}'" in capfd.readouterr().err
