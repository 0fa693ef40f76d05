"""What the networks of a study score of datasets from elsewhere, kept in the study's `external/`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from fastrad.errors import FormatError
from fastrad.study.networks.scorer import load_network, say_if_converted_otherwise, score_dataset
from fastrad.study.predictions import prediction_table, read_predictions
from fastrad.study.protocol.external import external_name
from fastrad.study.protocol.patients import StudyDataset
from fastrad.study.protocol.plan import Network
from fastrad.system.csv_file import csv_text
from fastrad.system.files import write_atomically


def external_file(dataset: StudyDataset, predictions: bytes) -> str:
    """The name of its predictions in `external/`, by its content and by the networks, known by their `predictions`."""
    networks = hashlib.sha256(predictions).hexdigest()
    return f"{external_name(dataset)}-{dataset.card.sha256()[:8]}-{networks[:8]}.csv"


def score_external(
    networks: Sequence[Network], runs: Path, dataset: StudyDataset, path: Path, device: torch.device
) -> None:
    """Score an external dataset with every network of the study, unless `path` (`external_file`) is there already.

    The table gets the columns of `predictions.csv`, with the set "external".
    """
    if _is_whole(path, networks, dataset):
        return
    say_if_converted_otherwise(dataset.dataset, load_network(runs / networks[0].name / "weights.safetensors"))
    tables = []
    for each in networks:
        scores = score_dataset([load_network(runs / each.name / "weights.safetensors")], dataset.dataset, device)
        table = prediction_table((each.arm.name, each.seed, each.fold), "external", dataset, slice(None), scores[0])
        tables.append(table.assign(start=each.arm.start) if _several_starts(networks) else table)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, csv_text(pd.concat(tables), index=False).encode())


def _is_whole(path: Path, networks: Sequence[Network], dataset: StudyDataset) -> bool:
    """Whether a table holds every image's score by every network, once."""
    try:
        kept = read_predictions(path)[["arm", "seed", "fold", "row", *(["start"] if _several_starts(networks) else [])]]
    except (FormatError, KeyError):  # not there, cut short, or without a column
        return False
    found = list(kept.itertuples(index=False, name=None))
    wanted = [
        (each.arm.name, each.seed, each.fold, row, *([each.arm.start] if _several_starts(networks) else []))
        for each in networks
        for row in dataset.rows.tolist()
    ]
    return sorted(found) == sorted(wanted)


def _several_starts(networks: Sequence[Network]) -> bool:
    return any(network.arm.start for network in networks)
