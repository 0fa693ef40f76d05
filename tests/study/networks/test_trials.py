"""Trials of a search: on the training patients of a fold alone, and as a network of the study is tuned."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_fine_tuning import CPU, RECIPE, make_task

from fastrad.models.resnet import resnet18
from fastrad.models.weights import Weights
from fastrad.study.networks.runs import pieces_of, tune
from fastrad.study.networks.trials import TrialPiece, trials_of
from fastrad.study.networks.tune import Task, fine_tune
from fastrad.study.protocol.config import Tuning
from fastrad.study.protocol.plan import Network
from fastrad.study.protocol.search import Search
from fastrad.study.protocol.splits import make_splits
from fastrad.train.precision import Precision, choose_precision


@pytest.fixture
def searched(finished, tmp_path):
    """The small study with three folds and two recipes, its networks, and its search."""
    protocol, networks, _ = finished
    (tmp_path / "search").mkdir()
    search = Search(tmp_path / "search", ("3e-4", "frozen"), protocol.tuning, {"seed": 0}, {"none": ""})
    splits = make_splits(protocol.dataset, folds=3)
    protocol = replace(protocol, splits=splits, search=search)
    return protocol, [Network(networks[0].arm, 0, fold) for fold in range(3)]


def test_a_trial_is_what_tuning_on_the_inner_training_patients_gives(searched, tmp_path):
    protocol, networks = searched
    piece = trials_of(networks[1], networks, protocol, CPU)[0]
    piece.do(lambda share: None)
    record = json.loads(piece.place.read_text())
    assert (record["settings"]["fold"], record["settings"]["part"]) == (1, 2)
    dataset, fold = protocol.dataset, protocol.splits.fold
    nobody = np.zeros(0, dtype=np.int64)
    task = Task(
        dataset.dataset,
        1,
        protocol.normalisation,
        dataset.labels,
        dataset.patient_of,
        np.flatnonzero(fold[dataset.patient_of] == 0),  # neither the fold, nor the part, nor the test set
        np.flatnonzero(fold[dataset.patient_of] == 2),
        nobody,
    )
    tuning = replace(protocol.tuning, learning_rate=3e-4)
    alone = fine_tune(task, None, tuning, seed=0, fold=1, device=CPU, precision=choose_precision("amp", CPU, 32))
    assert record["log_loss"] == alone.history[alone.best_epoch - 1].val_loss
    assert len(alone.test_scores) == 0


def test_a_network_is_tuned_by_the_recipe_that_its_trials_chose(searched, tmp_path):
    protocol, networks = searched
    pieces = pieces_of(networks, protocol, tmp_path / "runs", CPU)
    assert [isinstance(piece, TrialPiece) for piece in pieces] == [True] * 4 + [False] + [True] * 4 + [False] + [
        True
    ] * 4 + [False]
    assert protocol.search is not None
    for trial in protocol.search.trials("none", 0, 3):
        loss = {"3e-4": 0.9, "frozen": 0.6}[trial.recipe]
        record = {"settings": protocol.search.settings(trial), "log_loss": loss}
        protocol.search.path(trial).write_text(json.dumps(record))
    tune(networks, protocol, tmp_path / "runs", CPU, part=(1, 3))
    settings = json.loads((tmp_path / "runs" / networks[0].name / "run.json").read_text())["settings"]
    assert (settings["recipe"], settings["frozen"]) == ("frozen", True)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {networks[0].name}


def test_a_recipe_that_diverges_has_lost(searched):
    """From weights so large that the first feature map is infinite."""
    protocol, networks = searched
    state = {name: value.clone() for name, value in resnet18(2).state_dict().items()}
    state["conv1.weight"] += 3e38
    arm = replace(networks[0].arm, weights=Weights(state))
    piece = TrialPiece(protocol.search.trials("none", 0, 3)[0], arm, protocol.search, protocol, CPU)
    piece.do(lambda share: None)
    record = json.loads(piece.place.read_text())
    assert record["log_loss"] is None
    assert "lower the learning rate" in record["reason"]
    assert piece.line().endswith("trial 3e-4 on fold 1: diverged")


def test_first_the_head_then_all(tmp_path):
    """The first epoch is that of a network whose backbone is frozen; in the second the backbone moves."""
    task = make_task(tmp_path / "all.beton", images=48)
    words = {"seed": 0, "fold": 0, "device": CPU, "precision": Precision("float32")}
    frozen = fine_tune(task, None, replace(RECIPE, epochs=1, backbone_rate=0.0), **words)
    both = fine_tune(task, None, replace(RECIPE, epochs=2, head_first=0.5), **words)
    whole = fine_tune(task, None, replace(RECIPE, epochs=2), **words)
    assert both.history[0] == frozen.history[0]
    assert both.history[0] != whole.history[0]
    still = fine_tune(task, None, replace(RECIPE, epochs=2, backbone_rate=0.0), **words)
    assert both.history[1].val_loss != pytest.approx(still.history[1].val_loss, abs=1e-6)
    assert Tuning().head_first == 0
