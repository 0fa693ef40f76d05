"""Two finished networks, tuned once for all tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from fastrad.dataset import write_beton
from fastrad.study.networks.runs import tune
from fastrad.study.protocol.arms import Arm
from fastrad.study.protocol.config import Tuning
from fastrad.study.protocol.patients import read_patients
from fastrad.study.protocol.plan import Network, Protocol, development_normalisation
from fastrad.study.protocol.splits import make_splits


class Finished(NamedTuple):
    """What `tune` was given, and the folder that it filled; not to be changed."""

    protocol: Protocol
    networks: list[Network]
    runs: Path


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """Forty-eight patients, malignant ones darker; the arm without transfer, two folds, one epoch, 32 pixels."""
    root = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    pictures = np.clip(rng.normal(128, 40, (48, 32, 32)) - 40 * labels[:, None, None], 0, 255).astype(np.uint8)
    names = [f"p{index}" for index in range(48)]
    classes = ["benign", "malignant"]
    write_beton(root / "all.beton", pictures, labels, np.arange(48), classes=classes, patient_names=names)
    dataset = read_patients(root / "all.beton")
    splits = make_splits(dataset, folds=2)
    protocol = Protocol(dataset, splits, Tuning(epochs=1, size=32), development_normalisation(dataset, splits))
    none = Arm("none", "No transfer", "random initialisation", "", False, None)
    networks = [Network(none, 0, fold) for fold in (0, 1)]
    tune(networks, protocol, root / "runs", torch.device("cpu"))
    return Finished(protocol, networks, root / "runs")
