from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fastrad.dataset import Card, write_beton
from fastrad.errors import InputError
from fastrad.loading import Augmentation, Loader
from fastrad.models.resnet import resnet18
from fastrad.models.weights import initialise, load_weights
from fastrad.train.checkpoint import read_checkpoint, write_checkpoint
from fastrad.train.config import PretrainConfig, Recipe
from fastrad.train.pretrain import NonFiniteLossError, pretrain

TIMING = ("seconds", "images_per_second", "loader_wait")


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A run of two epochs: its configuration."""
    out = tmp_path_factory.mktemp("finished") / "run"
    config = PretrainConfig(
        tiny / "train.beton", tiny / "val.beton", out, Recipe(epochs=2, batch_size=16), engine="torch"
    )
    pretrain(config)
    return config


def _metrics(config: PretrainConfig) -> list[dict[str, str]]:
    with open(config.out / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name not in TIMING} for row in csv.DictReader(file)]


def test_a_run_leaves_weights_metrics_curve_configuration_and_checkpoints(finished, tiny):
    names = {path.name for path in finished.out.iterdir()}
    assert {"weights.safetensors", "metrics.csv", "config.json", "learning_curve.png", "checkpoints"} <= names
    rows = _metrics(finished)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    weights = load_weights(finished.out / "weights.safetensors")
    card = Card.read(tiny / "train.beton")
    assert weights.metadata["classes"] == card.classes
    assert weights.metadata["dataset"] == {
        "layout": card.layout,
        "split": "train",
        "samples": card.samples,
        "classes": len(card.classes),
    }
    assert weights.metadata["card_sha256"] == card.sha256()
    assert weights.metadata["synthetic"] is True
    assert weights.metadata["size"] == 16
    assert weights.metadata["normalisation"] == {"mean": [card.mean], "std": [card.std]}
    best = max(rows, key=lambda row: (float(row["val_macro_auroc"]), -float(row["val_loss"])))
    assert weights.metadata["metrics"]["epoch"] == int(best["epoch"])
    assert not [path for path in finished.out.rglob("*") if "partial" in path.name]


def test_the_weights_give_the_metrics_that_were_recorded(finished, tiny):
    """The validation again, by hand: plain model, plain normalisation, scikit-learn."""
    from sklearn.metrics import roc_auc_score

    weights = load_weights(finished.out / "weights.safetensors")
    model = resnet18(3).eval()
    assert initialise(model, weights, classes=weights.metadata["classes"])
    card = Card.read(tiny / "train.beton")
    batches = list(Loader(tiny / "val.beton", 23, engine="torch", size=16, train=False))
    images, labels = batches[0].images, batches[0].labels
    with torch.no_grad():
        logits = model((images / 255.0 - card.mean) / card.std)
    recorded = weights.metadata["metrics"]
    assert functional.cross_entropy(logits, labels).item() == pytest.approx(recorded["val_loss"], rel=1e-4)
    scores = logits.double().log_softmax(1).numpy()  # probabilities would round to 0 and 1, and tie
    expected = [roc_auc_score(labels == index, scores[:, index]) for index in range(3)]
    assert recorded["val_macro_auroc"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_a_finished_run_given_again_does_nothing_and_says_so(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.out.rglob("*")}
    assert pretrain(finished) == finished.out / "weights.safetensors"
    assert "finished already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished.out.rglob("*")} == before


@pytest.mark.parametrize("resume", [False, True])
def test_another_configuration_in_the_same_folder_is_refused_and_named(finished, resume):
    with pytest.raises(InputError, match="epochs 2 there, 3 asked"):
        pretrain(replace(finished, recipe=replace(finished.recipe, epochs=3), resume=resume))


def test_a_recipes_augmentation_reaches_the_images_and_is_part_of_the_run(finished, tmp_path, capsys):
    recipe = replace(finished.recipe, epochs=1, augment=Augmentation(max_rotation=20.0, noise=0.1))
    config = replace(finished, out=tmp_path / "run", recipe=recipe)
    pretrain(config)
    assert _metrics(config)[0]["train_loss"] != _metrics(finished)[0]["train_loss"]
    assert load_weights(config.out / "weights.safetensors").metadata["recipe"]["augment"]["max_rotation"] == 20.0
    pretrain(config)
    assert "finished already" in capsys.readouterr().err
    with pytest.raises(InputError, match="another augmentation"):
        pretrain(replace(config, recipe=replace(recipe, augment=Augmentation())))
    assert "augment" not in json.loads((finished.out / "config.json").read_text())["settings"]


def test_an_unfinished_run_is_refused_without_resume(finished, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").write_bytes((finished.out / "config.json").read_bytes())
    with pytest.raises(InputError, match="--resume"):
        pretrain(replace(finished, out=out))


def test_a_folder_with_other_things_is_refused_and_left_alone(finished, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds no run"):
        pretrain(replace(finished, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_resumed_after_its_first_epoch_equals_the_undisturbed_one(finished, tmp_path):
    """The first epoch's checkpoint is all that is left: products and newer checkpoints are gone."""
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    (out / "config.json").write_bytes((finished.out / "config.json").read_bytes())
    first = sorted((finished.out / "checkpoints").iterdir())[0]
    (out / "checkpoints" / first.name).write_bytes(first.read_bytes())
    resumed = replace(finished, out=out, resume=True)
    pretrain(resumed)
    assert _metrics(resumed) == _metrics(finished)
    ours, theirs = (load_weights(config.out / "weights.safetensors") for config in (resumed, finished))
    assert all(torch.equal(ours.state[key], theirs.state[key]) for key in theirs.state)


def test_validation_with_other_classes_is_refused_before_anything_is_written(tiny, tmp_path):
    images = np.zeros((4, 16, 16), dtype=np.uint8)
    write_beton(tmp_path / "val.beton", images, [0, 1, 0, 1], classes=["bars", "stripes"])
    config = PretrainConfig(tiny / "train.beton", tmp_path / "val.beton", tmp_path / "run")
    with pytest.raises(InputError, match=r"2 classes are not the 3 .*'blobs'"):
        pretrain(config)
    write_beton(tmp_path / "val.beton", images, [0, 1, 2, 1], classes=["flat", "bars", "blobs"])
    with pytest.raises(InputError, match="another order"):
        pretrain(config)
    assert not (tmp_path / "run").exists()


def test_one_class_alone_cannot_be_pretrained_on(tmp_path):
    write_beton(tmp_path / "a.beton", np.zeros((4, 16, 16), dtype=np.uint8), [0, 0, 0, 0], classes=["flat"])
    with pytest.raises(InputError, match="one class"):
        pretrain(PretrainConfig(tmp_path / "a.beton", tmp_path / "a.beton", tmp_path / "run"))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_with_step_rate_and_rows(tiny, tmp_path):
    config = PretrainConfig(
        tiny / "train.beton",
        tiny / "val.beton",
        tmp_path / "run",
        Recipe(epochs=8, batch_size=16, lr=1000.0, warmup=0.0, momentum=0.9, weight_decay=1.0),
        engine="torch",
    )
    with pytest.raises(NonFiniteLossError, match=r"loss is .* at step \d+ \(learning rate .*; manifest rows 1\d\d\d, "):
        pretrain(config)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_the_summary_names_every_class_and_counts_every_validation_sample(finished):
    summary = json.loads((finished.out / "summary.json").read_text())
    card = (finished.out / "MODEL_CARD.md").read_text()
    assert "synthetic" in card
    assert all(f"`{name}`" in card for name in ("bars", "blobs", "flat"))
    assert list(summary["class_auroc"]) == ["bars", "blobs", "flat"]
    assert sum(map(sum, summary["confusion"])) == 23


def test_a_run_killed_between_its_last_checkpoint_and_its_products_gets_them(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished.out, out)
    (out / "summary.json").unlink()
    lines = (out / "metrics.csv").read_text().splitlines(keepends=True)
    (out / "metrics.csv").write_text("".join(lines[:-1]))
    pretrain(replace(finished, out=out, resume=True))
    assert (out / "metrics.csv").read_text().splitlines(keepends=True) == lines
    assert (out / "summary.json").is_file()


def test_best_weights_that_a_lost_epoch_replaced_are_not_passed_off_as_anothers(tiny, tmp_path, capsys):
    recipe = Recipe(epochs=3, batch_size=16)
    config = PretrainConfig(tiny / "train.beton", tiny / "val.beton", tmp_path / "run", recipe, engine="torch")
    pretrain(config)
    assert load_weights(config.out / "weights.safetensors").metadata["metrics"]["epoch"] == 3
    second, third = sorted((config.out / "checkpoints").iterdir())
    content = read_checkpoint(second)
    content["progress"] |= {"best_epoch": 0, "best_auroc": 1.0}  # as if the first epoch had been better than the second
    write_checkpoint(second.parent, int(second.stem.removeprefix("step-")), content)
    third.write_bytes(b"damaged")
    (config.out / "summary.json").unlink()
    pretrain(replace(config, resume=True))
    assert "the weights of epoch 1, the best so far, were replaced" in capsys.readouterr().err
    best = json.loads((config.out / "summary.json").read_text())["best"]
    assert load_weights(config.out / "weights.safetensors").metadata["metrics"]["epoch"] == best["epoch"] == 3


def test_a_finished_run_whose_weights_are_gone_is_not_called_finished(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished.out, out)
    (out / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"a finished run whose weights\.safetensors is gone"):
        pretrain(replace(finished, out=out))


def test_weights_name_the_files_that_trained_and_chose_them(finished, tiny):
    seen = load_weights(finished.out / "weights.safetensors").seen
    for name in ("train", "val"):
        assert seen >= set(Card.read(tiny / f"{name}.beton").identities())


def test_numbers_that_are_not_finite_are_null_in_the_summary(finished):
    from fastrad.train.products import _json_numbers

    assert _json_numbers({"a": float("nan"), "b": float("inf"), "c": 1}) == {"a": None, "b": None, "c": 1}


def test_progress_says_what_is_left_of_the_whole_run_in_80_columns(finished, tmp_path, capsys):
    pretrain(replace(finished, out=tmp_path / "run"))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ") and "/s, " in line]
    first, last = (next(line for line in reversed(lines) if line.startswith(f"epoch {number}/2")) for number in (1, 2))
    assert re.search(r"loss \d+\.\d{3}.*, run \d+ s left$", first)
    assert last.endswith("run 0 s left")
    assert all(len(line) <= 80 for line in lines)
