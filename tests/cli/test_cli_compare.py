"""`fastrad compare` on real thyroid images: three arms, the table, and going on where it stopped."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fastrad.archives import read_source
from fastrad.cli import main
from fastrad.dataset import Card, write_beton
from fastrad.models.resnet import resnet, resnet18
from fastrad.models.weights import save_weights


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
    torch.save(resnet("resnet34", 1000, 3).state_dict(), folder / "deeper.pth")
    return folder / "imagenet.pth", folder / "radimagenet.safetensors"


@pytest.fixture(scope="module")
def study(ddti_root, weights, tmp_path_factory) -> tuple[list, Path]:
    """DDTI at 32 pixels, one epoch, two folds, and an arm that copies another; the command's words, and the folder."""
    root = tmp_path_factory.mktemp("ddti-study")
    words = ["convert", "thyroid", ddti_root, root / "data", "--layout", "ddti", "--size", 32]
    assert run(*words, "--workers", 2, "--keep-patient-ids") == 0
    imagenet, radimagenet = weights
    words = ["compare", root / "data", "--radimagenet", radimagenet, "--imagenet", imagenet, "--out", root / "study"]
    words += ["--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 64, "--arm", f"copy={radimagenet}"]
    words += ["--arm", f"deeper={imagenet.with_name('deeper.pth')}", "--frozen", f"unfitted={radimagenet}"]
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
    assert [arm["arm"] for arm in values["arms"]] == ["none", "imagenet", "radimagenet", "copy", "deeper", "unfitted"]
    assert [arm["label"] for arm in values["arms"][3:]] == ["copy", "deeper (ResNet-34)", "unfitted (frozen features)"]
    assert [arm["abstract_test_auroc"] for arm in values["arms"]] == [0.74, 0.80, 0.84, None, None, None]
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
    assert len(test_rows) == 12
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


def test_page_draws_each_arm_as_it_is_and_calls_nothing_damaged_that_is_not(study):
    page = (study[1] / "report.html").read_text()
    scheme = page[page.index("Scheme of the transfers") : page.index("The arms: what differs")]
    assert [scheme.count(f">{name}<") for name in ("ResNet-18", "ResNet-34", "fine-tuning", "frozen")] == [5, 1, 5, 1]
    assert "131 without a label, 0 not usable" in page
    assert "patient ids are as the source has them" in page


def test_page_needs_no_network(study):
    _, out = study
    page = (out / "report.html").read_text()
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page)


def test_page_shows_the_tables_numbers_in_a_browser(study, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here to open the page with")
    _, out = study
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    options += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", f"file://{out}/report.html"], capture_output=True, text=True, timeout=120
    )
    assert "CONSOLE" not in done.stderr
    values = json.loads((out / "table.json").read_text())
    shown = re.findall(r'data-field="([^"]+)"[^>]*>([^<]+)<', done.stdout)
    assert len(shown) == 5 * len(values["arms"]) + len(values["differences"])
    for path, text in shown:
        value = values
        for key in path.split("."):
            value = value[int(key)] if key.isdigit() else value[key]
        assert float(text) == pytest.approx(value, abs=0.0005001)
    for sentence in values["conclusion"]:
        assert sentence in html.unescape(done.stdout)


def test_predict_gives_the_studys_own_scores(study, ddti_root, tmp_path, capfd):
    words, out = study
    network = out / "runs" / "imagenet-seed0-fold1"
    expected = pd.read_csv(network / "predictions.csv").query("set == 'test'").set_index("row")["score"]
    assert run("predict", network / "weights.safetensors", words[1], "--out", tmp_path / "dataset.csv") == 0
    found = pd.read_csv(tmp_path / "dataset.csv").set_index("row")["score"]
    assert len(found) == 349
    assert found.loc[expected.index].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-3)

    files = tmp_path / "images"
    files.mkdir()
    paths = read_source("ddti", ddti_root).table["path"]
    for row in expected.index[:3]:
        shutil.copy(ddti_root / paths[row], files)
    (files / "broken.png").write_bytes(b"no image")
    assert run("predict", network / "weights.safetensors", files, "--out", tmp_path / "images.csv") == 0
    assert "3 images scored by 1 networks, 1 could not be read" in capfd.readouterr().out
    table = pd.read_csv(tmp_path / "images.csv").set_index("path")
    for row in expected.index[:3]:
        assert table.loc[Path(paths[row]).name, "score"] == pytest.approx(expected[row], abs=1e-3)
    assert np.isnan(table.loc["broken.png", "score"])
    assert table.loc["broken.png", "reason"]


def test_predict_refuses_other_weights(weights, study, tmp_path, capfd):
    words, _ = study
    assert run("predict", weights[0], words[1], "--out", tmp_path / "x.csv") == 1
    assert "is not a network of a study" in capfd.readouterr().err


def test_the_finished_command_trains_nothing_again(study, capfd):
    words, out = study
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert run(*words, "--json") == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()} == before
    captured = capfd.readouterr()
    assert "12 of 12 runs are finished already" in captured.err
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


def test_an_arm_of_the_abstract_is_a_resnet18(study, weights, tmp_path, capfd):
    words = [*study[0]]
    words[words.index("--imagenet") + 1] = weights[0].with_name("deeper.pth")
    words[words.index("--out") + 1] = tmp_path / "new"
    assert run(*words) == 2
    assert "a ResNet-34; the ImageNet arm is a ResNet-18" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


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


def tiny(folder: Path, labels, *, classes=("benign", "malignant"), names=None, **card) -> Path:
    """Noise of 32 x 32 pixels, a patient an image."""
    folder.mkdir()
    labels = np.asarray(labels)
    images = np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 32, 32), dtype=np.uint8)
    patients = np.arange(len(labels))
    names = list(names) if names is not None else [f"{folder.name}{index}" for index in patients]
    write_beton(folder / "all.beton", images, labels, patients, classes=list(classes), patient_names=names, **card)
    return folder


@pytest.fixture(scope="module")
def few(weights, tmp_path_factory) -> list:
    """A study of forty patients that ends in seconds, one of them called NA; the words that all its commands share."""
    root = tmp_path_factory.mktemp("few")
    names = ["NA", "null", "007", *(f"p{index}" for index in range(37))]
    data = tiny(root / "data", np.arange(40) % 2, names=names, patient_ids="pseudonym")
    words = ["compare", data, "--radimagenet", weights[1], "--imagenet", weights[0], "--out", root / "study"]
    return [*words, "--epochs", 1, "--folds", 2, "--seeds", 1, "--batch-size", 16, "--test-fraction", 0.4]


def test_patients_and_arms_called_na_null_or_007_are_counted(few, weights, capfd):
    assert run(*few, "--frozen", f"null={weights[1]}", "--frozen", f"007={weights[1]}") == 0
    out = few[few.index("--out") + 1]
    values = json.loads((out / "table.json").read_text())
    assert [arm["arm"] for arm in values["arms"]] == ["none", "imagenet", "radimagenet", "null", "007"]
    with (out / "splits.csv").open() as file:
        held_out = {line["patient"] for line in csv.DictReader(file) if line["set"] == "test"}
    with (out / "predictions.csv").open() as file:
        assert {line["patient"] for line in csv.DictReader(file) if line["set"] == "test"} == held_out
    assert values["test"]["patients"] == len(held_out) == 16
    assert f"{len(held_out)} patients" in (out / "table.md").read_text()
    assert "(frozen features): not fine-tuned" in (out / "report.html").read_text()


def test_a_refused_command_changes_nothing_of_a_finished_study(few, capfd):
    assert run(*few) == 0
    out = few[few.index("--out") + 1]
    before = (out / "splits.csv").read_bytes()
    assert run(*few, "--seed", 0, "--test-fraction", 0.3) == 1
    assert "was made with other splits" in capfd.readouterr().err
    assert (out / "splits.csv").read_bytes() == before


def test_an_earlier_learning_curve_is_not_shown_with_another_study_and_its_networks_are_not_scored(few, capfd):
    out = few[few.index("--out") + 1]
    assert run(*few, "--learning-curve", "6") == 0
    assert (out / "learning_curve.csv").is_file()
    whole = {path.parent.name for path in (out / "runs").glob("radimagenet-*/weights.safetensors")}
    assert whole == {"radimagenet-seed0-fold0", "radimagenet-seed0-fold1"}
    assert run(*few) == 0
    assert not (out / "learning_curve.csv").exists()


def test_the_studys_own_patients_are_not_external(few, tmp_path, capfd):
    again = tiny(tmp_path / "again", [0, 1, 0, 1], names=["p1", "p2", "x", "y"], patient_ids="pseudonym")
    words = [*few, "--external", again]
    words[words.index("--out") + 1] = tmp_path / "study"
    assert run(*words) == 1
    assert not (tmp_path / "study").exists(), "nothing is tuned before"
    assert "2 of its patients are in the study: it is not external" in capfd.readouterr().err


def test_external_scores_are_kept_for_the_same_networks_and_made_again_for_others(few, tmp_path):
    words, out = [*few], tmp_path / "study"
    words[words.index("--out") + 1] = out
    words += ["--external", tiny(tmp_path / "elsewhere", [0, 1, 0, 1, 1, 0])]
    assert run(*words) == 0
    (first,) = (out / "external").iterdir()
    written = first.stat().st_mtime_ns
    assert run(*words) == 0
    assert first.stat().st_mtime_ns == written
    whole = first.read_bytes()
    first.write_bytes(b"".join(whole.splitlines(keepends=True)[:-6]))  # the last network is gone
    assert run(*words) == 0
    assert first.read_bytes() == whole
    shutil.rmtree(out / "runs")
    assert run(*words, "--learning-rate", 0.01) == 0
    (second,) = set((out / "external").iterdir()) - {first}
    assert json.loads((out / "study.json").read_text())["external"][0]["file"] == second.name
    before, after = (pd.read_csv(path) for path in (first, second))
    assert len(before) == len(after) == 3 * 2 * 6  # arms, folds, images
    assert not np.allclose(before["score"], after["score"])
    values = json.loads((out / "table.json").read_text())["external"][0]
    scores = after[after["arm"] == "none"].groupby("patient").agg({"label": "max", "score": "mean"})
    shown = next(arm for arm in values["arms"] if arm["arm"] == "none")
    assert shown["test_auroc"] == pytest.approx(roc_auc_score(scores["label"], scores["score"]), abs=1e-9)


def test_a_damaged_record_of_a_run_is_one_line_that_says_what_to_do(few, tmp_path, capfd):
    words, out = [*few], tmp_path / "study"
    words[words.index("--out") + 1] = out
    (out / "runs" / "none-seed0-fold0").mkdir(parents=True)
    (out / "runs" / "none-seed0-fold0" / "run.json").write_text('{"settings": ')
    assert run(*words) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert "none-seed0-fold0: its run.json was cut short or altered; delete this folder" in last


def test_two_arms_that_begin_alike_are_told_apart_from_a_comparison(few, weights, capfd):
    assert run(*few, "--arm", f"again={weights[1]}") == 0
    assert "the arms RadImageNet and again begin with the same weights" in capfd.readouterr().err


def _seen(few, route: str) -> dict:
    """Metadata of weights that know the study's images."""
    card = Card.read(few[1] / "all.beton")
    if route == "this file, in an earlier version's words":
        return {"card_sha256": card.sha256()}
    if route == "the same archive at another size":
        return {"seen": replace(card, parameters={**card.parameters, "size": 40}).identities()}
    return {"seen": card.identities()}


@pytest.mark.parametrize(
    "route", ["this file, in an earlier version's words", "this file", "the same archive at another size"]
)
def test_weights_that_have_seen_the_study_are_refused(few, tmp_path, capfd, route):
    save_weights(tmp_path / "leak.safetensors", resnet18(2).state_dict(), _seen(few, route))
    words = [*few]
    words[words.index("--radimagenet") + 1] = tmp_path / "leak.safetensors"
    assert run(*words) == 1
    assert "were trained or chosen on this very dataset" in capfd.readouterr().err


def test_a_network_of_a_study_of_the_same_patients_is_no_arm(few, tmp_path, capfd):
    assert run(*few) == 0
    tuned = few[few.index("--out") + 1] / "runs" / "imagenet-seed0-fold0" / "weights.safetensors"
    words = [*few, "--arm", f"old={tuned}"]
    words[words.index("--out") + 1] = tmp_path / "study"
    assert run(*words) == 1
    assert "the weights of the old arm (weights.safetensors) were trained or chosen on" in capfd.readouterr().err
    assert not (tmp_path / "study").exists()


def test_weights_that_have_seen_an_external_dataset_are_refused_before_anything_is_tuned(few, tmp_path, capfd):
    other = tiny(tmp_path / "other", [0, 1, 0, 1])
    card = Card.read(other / "all.beton")
    save_weights(tmp_path / "leak.safetensors", resnet18(2).state_dict(), {"seen": card.identities()})
    words = [*few, "--external", other]
    words[words.index("--radimagenet") + 1] = tmp_path / "leak.safetensors"
    words[words.index("--out") + 1] = tmp_path / "study"
    assert run(*words) == 1
    assert "it is not external" in capfd.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_third_class_counts_as_benign_only_when_that_is_asked_for(few, tmp_path, capfd):
    words = [*few]
    words[1] = tiny(tmp_path / "three", np.arange(40) % 3, classes=("benign", "indeterminate", "malignant"))
    words[words.index("--out") + 1] = tmp_path / "study"
    assert run(*words) == 1
    assert "--positive malignant" in capfd.readouterr().err
    assert run(*words, "--positive", "malignant") == 0
    assert "the classes benign, indeterminate count as benign together" in capfd.readouterr().err


def test_attributes_of_other_people_are_refused(few, tmp_path, capfd):
    (tmp_path / "mrn.csv").write_text("patient,sex\nMRN1,f\nMRN2,m\n")
    assert run(*few, "--subgroup", "sex", "--attributes", tmp_path / "mrn.csv") == 1
    assert "none of its patients is in the dataset" in capfd.readouterr().err


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_a_device_that_is_not_there_is_one_line_before_anything_is_written(few, tmp_path, capfd, device):
    words = [*few]
    words[words.index("--out") + 1] = tmp_path / "study"
    assert run(*words, "--device", device) == 1
    error = capfd.readouterr().err
    assert f"device '{device}'" in error
    assert "Traceback" not in error
    assert not (tmp_path / "study").exists()


def test_networks_of_several_arms_are_not_averaged(few, tmp_path, capfd):
    assert run(*few) == 0
    runs = few[few.index("--out") + 1] / "runs"
    files = [runs / f"{arm}-seed0-fold0" / "weights.safetensors" for arm in ("none", "imagenet")]
    assert run("predict", *files, few[1], "--out", tmp_path / "scores.csv") == 1
    assert "several arms (imagenet, none)" in capfd.readouterr().err


def test_a_recipe_file_decides_and_options_beside_it_win(few, tmp_path, capfd):
    (tmp_path / "recipe.toml").write_text(
        "weight_decay = 0.05\nflip_average = false\nlearning_rate = 0.001\nepochs = 9\n"
    )
    words = [*few]
    words[words.index("--out") + 1] = tmp_path / "study"
    assert run(*words, "--recipe", tmp_path / "recipe.toml") == 0
    recipe = json.loads((tmp_path / "study" / "study.json").read_text())["protocol"]["recipe"]
    wanted = {"weight_decay": 0.05, "flip_average": False, "learning_rate": 0.001, "epochs": 1, "batch_size": 16}
    assert wanted.items() <= recipe.items()
    (tmp_path / "recipe.toml").write_text("wight_decay = 0.05\n")
    assert run(*words, "--recipe", tmp_path / "recipe.toml") == 2
    assert "'wight_decay' is no value of a recipe; known are epochs" in capfd.readouterr().err
