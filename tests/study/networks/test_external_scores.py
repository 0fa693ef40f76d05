"""Scores of external datasets: kept for the same networks, made again for others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_studies import noise

from fastrad.study.networks.external import external_file, score_external
from fastrad.study.networks.scorer import load_network, score_dataset
from fastrad.study.predictions import read_predictions
from fastrad.study.protocol.patients import read_patients

CPU = torch.device("cpu")


@pytest.fixture
def elsewhere(tmp_path):
    return read_patients(noise(tmp_path / "elsewhere", [0, 1, 0, 1, 1, 0]))


def test_every_network_scores_every_image_as_it_would_alone(finished, elsewhere, tmp_path):
    _, networks, runs = finished
    path = tmp_path / "external" / "scores.csv"
    score_external(networks, runs, elsewhere, path, CPU)
    table = read_predictions(path)
    assert len(table) == 12
    assert set(table["set"]) == {"external"}
    for network, part in zip(networks, (table[:6], table[6:]), strict=True):
        alone = score_dataset([load_network(runs / network.name / "weights.safetensors")], elsewhere.dataset, CPU)
        assert np.array_equal(part["score"], alone[0])
        assert part["patient"].tolist() == [f"elsewhere{index}" for index in range(6)]
        assert part["label"].tolist() == [0, 1, 0, 1, 1, 0]


def test_whole_tables_are_kept_and_others_written_again(finished, elsewhere, tmp_path):
    _, networks, runs = finished
    path = tmp_path / "external" / "scores.csv"
    score_external(networks, runs, elsewhere, path, CPU)
    whole, written = path.read_bytes(), path.stat().st_mtime_ns
    score_external(networks, runs, elsewhere, path, CPU)
    assert path.stat().st_mtime_ns == written
    lines = whole.splitlines(keepends=True)
    for damaged in (b"".join(lines[:-6]), whole[:-30], b"", b"".join(lines[:-1] + lines[-2:-1])):
        path.write_bytes(damaged)
        score_external(networks, runs, elsewhere, path, CPU)
        assert path.read_bytes() == whole


def test_a_table_is_named_by_the_dataset_and_by_the_networks(elsewhere, tmp_path):
    name = external_file(elsewhere, b"scores of one")
    assert name.startswith("elsewhere-")
    assert name == external_file(elsewhere, b"scores of one") != external_file(elsewhere, b"scores of another")
    other = read_patients(noise(tmp_path / "other" / "elsewhere", [0, 1, 0, 1]))
    assert external_file(other, b"scores of one") != name


def test_a_dataset_that_was_converted_otherwise_is_said(finished, tmp_path, capfd):
    _, networks, runs = finished
    other = read_patients(noise(tmp_path / "cropped", [0, 1, 0, 1], source_options={"crop": "nodule"}))
    score_external(networks, runs, other, tmp_path / "external" / "scores.csv", CPU)
    error = capfd.readouterr().err
    assert "was converted otherwise than the study's images (crop nodule, not none" in error
