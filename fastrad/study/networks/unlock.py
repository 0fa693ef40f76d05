"""Opening the test set of a study whose networks were tuned without a score of any test patient.

Each network's weights are scored as they are stored, which gives the same scores, bit for bit, as tuning without this
would have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fastrad.errors import FormatError
from fastrad.study.inference.auroc import auroc
from fastrad.study.networks.runs import ALTERED, is_open
from fastrad.study.networks.score import score_images
from fastrad.study.networks.scorer import load_network
from fastrad.study.predictions import prediction_table, read_predictions
from fastrad.study.protocol.plan import Network, Protocol
from fastrad.study.protocol.planned import note_opening, opened
from fastrad.study.protocol.record import read_record
from fastrad.study.protocol.seals import SEAL, sealed
from fastrad.system.csv_file import csv_text
from fastrad.system.files import write_atomically, write_json
from fastrad.system.progress import track
from fastrad.train.outputs import whole_frames


def open_test(networks: Sequence[Network], protocol: Protocol, folder: Path, runs: Path, device: torch.device) -> None:
    """Score the test patients with every network that has not, and note the time if there is one."""
    left = [network for network in networks if not is_open(runs / network.name)]
    if left or not opened(folder):
        note_opening(folder)
    if left:
        with track("scoring the test set", len(left), "networks") as progress:
            for network in left:
                _score_test(network, protocol, runs / network.name, device)
                progress.advance()


def _score_test(network: Network, protocol: Protocol, folder: Path, device: torch.device) -> None:
    """Put the test scores behind the validation scores, which have to be those that were sealed."""
    dataset, path, record = protocol.dataset, folder / "predictions.csv", read_record(folder / "run.json", ALTERED)
    table = read_predictions(path)
    lines = path.read_bytes().splitlines(keepends=True)
    # an opening that was stopped here may have written more
    kept = b"".join(lines[: 1 + int((table["set"] == "val").sum())])
    if hashlib.sha256(kept).hexdigest() != record[SEAL]["files"][path.name]:
        raise FormatError(f"{path}: was altered after it was written (its seal differs); {ALTERED}")
    positions = np.flatnonzero(protocol.splits.test()[dataset.patient_of])
    loaded = load_network(folder / "weights.safetensors")
    images = whole_frames(dataset.dataset, positions, loaded.size, device)
    model = loaded.model.to(device)
    scores = score_images(model, images, loaded.normalisation, device, flip_average=loaded.flip_average)
    tested = prediction_table((network.arm.name, network.seed, network.fold), "test", dataset, positions, scores)
    # as bytes: read and written again, a score might change by a last digit
    write_atomically(path, kept, csv_text(tested, index=False).partition("\n")[2].encode())
    record = sealed({**record, "test_scored": True}, folder, record[SEAL]["files"])
    write_json(folder / "run.json", record)


def validation_lines(networks: Sequence[Network], runs: Path) -> list[str]:
    """The cross-validated AUROC of each arm, mean and standard deviation over its networks: all there is to see yet."""
    found: dict[str, list[float]] = {}
    for network in networks:
        table = read_predictions(runs / network.name / "predictions.csv")
        patients = table[table["set"] == "val"].groupby("patient").agg({"label": "max", "score": "mean"})
        found.setdefault(network.arm.label, []).append(auroc(patients["label"], patients["score"]))
    return [
        f"{label}: cross-validated AUROC {np.mean(values):.3f}, SD {np.std(values, ddof=1):.3f}, {len(values)} networks"
        for label, values in found.items()
    ]
