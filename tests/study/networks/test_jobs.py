"""Networks in several processes, or by parts: the same predictions, bit for bit, as one process gives."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from test_fine_tuning import CPU

from fastrad.study.networks.duration import announcement, images_passed
from fastrad.study.networks.jobs import tune_in_jobs
from fastrad.study.networks.runs import check_finished, settings_digest, tune
from fastrad.study.protocol.plan import Network
from fastrad.system.progress import time_text


def predictions(networks, folder) -> list[bytes]:
    return [(folder / network.name / "predictions.csv").read_bytes() for network in networks]


def test_jobs_give_the_predictions_of_one_process(finished, tmp_path, capfd):
    protocol, networks, runs = finished
    tune_in_jobs(networks, protocol, tmp_path, [CPU], jobs=2)
    assert predictions(networks, tmp_path) == predictions(networks, runs)
    said = capfd.readouterr().err
    assert "[1/2] No transfer, seed 0, fold 0: validation AUROC" in said
    assert "[2/2] No transfer, seed 0, fold 1: validation AUROC" in said
    assert {path.name for path in tmp_path.iterdir()} == {network.name for network in networks}
    tune_in_jobs(networks, protocol, tmp_path, [CPU], jobs=2)
    assert "2 of 2 runs are finished already" in capfd.readouterr().err


def test_parts_give_the_predictions_of_one_process(finished, tmp_path, capfd):
    protocol, networks, runs = finished
    tune(networks, protocol, tmp_path, CPU, part=(2, 2), wait=False)
    assert check_finished(networks, protocol, tmp_path) == [False, True]
    assert "[2/2] No transfer, seed 0, fold 1" in capfd.readouterr().err
    tune(networks, protocol, tmp_path, CPU, part=(1, 2), wait=False)
    assert predictions(networks, tmp_path) == predictions(networks, runs)


def test_processes_that_share_a_folder_compare_everything_that_decides(finished):
    protocol, networks, _ = finished
    digest = settings_digest(networks, protocol)
    assert digest == settings_digest(pickle.loads(pickle.dumps(networks)), protocol)
    assert digest != settings_digest(networks, replace(protocol, tuning=replace(protocol.tuning, learning_rate=0.1)))
    assert digest != settings_digest(networks[:1], protocol)


def test_the_work_ahead_is_counted_in_training_images(finished):
    """48 patients of one image: 10 held out, 19 in each fold; a score costs a third of a step,
    and test and validation images are scored with their mirror images in the end.
    """
    protocol, networks, _ = finished
    assert int(protocol.splits.test().sum()) == 10
    three = replace(protocol, tuning=replace(protocol.tuning, epochs=3))
    assert images_passed(networks[0], three) == 96  # 57 + 115 / 3, rounded up
    frozen = Network(replace(networks[0].arm, frozen=True), 0, 0)
    assert images_passed(frozen, three) == 32  # (19 + 19 + 58) / 3
    few = Network(networks[0].arm, 0, 0, patients=7)
    assert images_passed(networks[0], three) - images_passed(few, three) == 3 * 12


def test_the_time_ahead_is_said(finished):
    protocol, _, _ = finished
    line = announcement("2 networks to tune", 1234, protocol.tuning, CPU)
    assert line.startswith("2 networks to tune, 1,234 images at 32 px: at most ")
    assert "images/s that cpu was just measured to do" in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (414, "7 min"), (19_800, "5.5 h"), (260_000, "3.0 days")]
)
def test_a_time_is_said_in_the_unit_that_people_use(seconds, text):
    assert time_text(seconds) == text
