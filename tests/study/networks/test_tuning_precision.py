"""In what number format a study's networks are tuned and scored, and that a study keeps to one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_fine_tuning import CPU, RECIPE, make_task

from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.models.resnet import resnet18
from fastrad.study.inference.auroc import auroc
from fastrad.study.networks.runs import tune
from fastrad.study.networks.score import score_images
from fastrad.study.networks.tune import fine_tune
from fastrad.study.protocol.arms import Arm
from fastrad.study.protocol.config import Tuning
from fastrad.study.protocol.patients import read_patients
from fastrad.study.protocol.plan import Network, Protocol, development_normalisation
from fastrad.study.protocol.splits import make_splits
from fastrad.train.outputs import whole_frames
from fastrad.train.precision import Precision, choose_precision

BEST = choose_precision("amp", CPU, 32).name  # float32 where the CPU has no bfloat16 of its own
NONE = Arm("none", "No transfer", "random initialisation", "", False, None)


@pytest.fixture
def protocol(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    pictures = np.clip(rng.normal(128, 40, (48, 32, 32)) - 40 * labels[:, None, None], 0, 255).astype(np.uint8)
    write_beton(tmp_path / "all.beton", pictures, labels, np.arange(48), classes=["benign", "malignant"])
    dataset = read_patients(tmp_path / "all.beton", "malignant")
    splits = make_splits(dataset, folds=2)
    return Protocol(dataset, splits, Tuning(epochs=1, size=32), development_normalisation(dataset, splits))


def settings(folder, name):
    return json.loads((folder / name / "run.json").read_text())["settings"]


def recorded(folder, name, **changes):
    """Put a finished network back as another version, or another machine, would have left it."""
    path = folder / name / "run.json"
    record = json.loads(path.read_text())
    for key, value in changes.items():
        record["settings"].pop(key)
        if value is not None:
            record["settings"][key] = value
    for later in ("seal", "versions"):  # which 0.1.0 did not write
        del record[later]
    path.write_text(json.dumps(record))


def test_a_network_is_tuned_in_the_best_precision_of_the_device_and_says_so(protocol, tmp_path):
    tune([Network(NONE, 0, 0)], protocol, tmp_path / "runs", CPU)
    assert settings(tmp_path / "runs", "none-seed0-fold0")["precision"] == BEST


def test_a_study_of_an_earlier_version_goes_on_in_float32_and_is_not_refused(protocol, tmp_path):
    first, second = Network(NONE, 0, 0), Network(NONE, 0, 1)
    tune([first], protocol, tmp_path / "runs", CPU)
    recorded(tmp_path / "runs", first.name, precision=None, head_first=None)
    tune([first, second], protocol, tmp_path / "runs", CPU)
    assert "precision" not in settings(tmp_path / "runs", first.name)
    assert settings(tmp_path / "runs", second.name)["precision"] == "float32"


def test_a_finished_study_is_kept_whatever_this_machine_computes_in_but_not_gone_on_with(protocol, tmp_path):
    first, second = Network(NONE, 0, 0), Network(NONE, 0, 1)
    tune([first, second], protocol, tmp_path / "runs", CPU)
    recorded(tmp_path / "runs", first.name, precision="float32")
    recorded(tmp_path / "runs", second.name, precision="float16")
    tune([first, second], protocol, tmp_path / "runs", CPU)
    with pytest.raises(InputError, match=r"tuned in float16 and float32, .*--out"):
        tune([first, second, Network(NONE, 1, 0)], protocol, tmp_path / "runs", CPU)


def test_a_score_does_not_depend_on_what_else_is_scored(tmp_path):
    """Bit for bit: torch's own kernels give other last bits for batches of another length."""
    task = make_task(tmp_path / "all.beton")
    torch.manual_seed(3)
    model = resnet18(1)

    def scores(positions):
        images = whole_frames(task.dataset, positions, 32, CPU)
        return score_images(model, images, task.normalisation, CPU, flip_average=True)

    everything = scores(None)
    for positions in (task.test, np.arange(33), np.array([95]), np.arange(96)[::-1]):
        assert np.array_equal(scores(positions), everything[positions])


@pytest.mark.skipif(BEST == "float32", reason="this CPU has no bfloat16 of its own")
def test_tuning_in_bfloat16_learns_the_same_and_is_scored_in_float32(tmp_path):
    task = make_task(tmp_path / "all.beton")
    found = [
        fine_tune(task, None, RECIPE, seed=0, fold=0, device=CPU, precision=Precision(name))
        for name in ("float32", "bfloat16")
    ]
    assert all(auroc(task.labels[task.test], tuned.test_scores) > 0.85 for tuned in found)
    assert not np.array_equal(found[0].test_scores, found[1].test_scores)
    model = resnet18(1)
    model.load_state_dict({key: value.float() for key, value in found[1].state.items()})
    images = whole_frames(task.dataset, task.test, 32, CPU)
    again = score_images(model, images, task.normalisation, CPU, flip_average=True)
    assert np.array_equal(again, found[1].test_scores)
