"""A folder in the place of a file: every command takes the dataset in it, or says which ones there are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fastrad
from fastrad.cli import cli
from fastrad.dataset import write_beton
from fastrad.dataset.opening import dataset_in, open_dataset
from fastrad.errors import InputError
from fastrad.models.weights import load_weights


def _folder(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for seed, name in enumerate(names):
        images = np.random.default_rng(seed).integers(0, 256, (12, 32, 32), np.uint8)
        write_beton(folder / f"{name}.beton", images, np.arange(12) % 2, classes=["benign", "malignant"])
    return folder


def test_the_only_dataset_of_a_folder_is_meant(tmp_path):
    folder = _folder(tmp_path / "one", "scans")
    assert dataset_in(folder) == str(folder / "scans.beton")
    assert len(open_dataset(folder)) == len(fastrad.Loader(folder, 4)) * 4 == 12


def test_of_several_the_named_one_is_meant_or_all_are_listed(tmp_path):
    folder = _folder(tmp_path / "splits", "train", "val")
    assert dataset_in(folder, "train") == str(folder / "train.beton")
    for open_one in (dataset_in, open_dataset):
        with pytest.raises(InputError, match=r"holds 2 datasets, name one: .*train\.card\.json, .*val\.card\.json"):
            open_one(folder)


def test_a_folder_without_a_dataset_says_so(tmp_path):
    with pytest.raises(InputError, match="holds no dataset that `fastrad convert` wrote"):
        open_dataset(tmp_path)


def test_inspect_verify_and_audit_take_the_folder(tmp_path):
    folder = _folder(tmp_path / "one", "scans")
    run = CliRunner().invoke
    described = run(cli, ["inspect", str(folder), "--json"])
    assert json.loads(described.stdout)["samples"] == 12
    assert json.loads(run(cli, ["verify", str(folder), "--json"]).stdout)["samples"] == 12
    report = ["audit", str(_folder(tmp_path / "splits", "train", "val")), "--out", str(tmp_path / "report")]
    done = run(cli, [*report, "--text-images", "0", "--workers", "1", "--json"])
    assert [each["samples"] for each in json.loads(done.stdout)["datasets"]] == [12, 12]


def test_a_folder_in_the_place_of_weights_is_said(tmp_path):
    with pytest.raises(InputError, match="is no regular file; give a"):
        load_weights(tmp_path)
