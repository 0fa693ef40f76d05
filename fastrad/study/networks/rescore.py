"""`fastrad report --rescore`: a study's scores again from its weights, where its tables are doubted.

In: a study's folder with its `runs/`, and the datasets. Out: every network's `predictions.csv` and the study's tables
as the weights give them; tables that agree are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fastrad.errors import FormatError, InputError
from fastrad.study.networks.score import score_images
from fastrad.study.networks.scorer import load_network, score_dataset
from fastrad.study.predictions import learning_curve_table, prediction_table, read_predictions
from fastrad.study.protocol.patients import StudyDataset, read_patients
from fastrad.study.protocol.record import NETWORKS, check_intentions, is_sealed, read_record, read_study, seal_study
from fastrad.study.protocol.seals import SEAL, check_files, seal_of, sealed
from fastrad.study.protocol.splits import Splits, read_splits
from fastrad.system.csv_file import csv_text
from fastrad.system.devices import choose_device
from fastrad.system.files import write_atomically, write_json
from fastrad.system.progress import say, track
from fastrad.train.outputs import whole_frames

TOLERANCE = 1e-3  # of a logit: other processors add in another order
_WAY_OUT = "without it nothing can be scored again; bring the file back, or give `fastrad compare` again"


def rescore(folder: Path, datasets: Sequence[Path], device: str | None = None) -> None:
    """Score a study's images again with its networks, and mend the tables that say otherwise.

    Parameters
    ----------
    folder : Path
        The study's.
    datasets : sequence of Path
        The study's own, and any of its external ones; each is known by its card.
    device : str, optional

    Raises
    ------
    InputError
        If a dataset is none of the study's, or its own is not among them.
    FormatError
        If records, splits or weights were altered: then there is nothing to score by.
    """
    where = choose_device(device)
    study = read_study(folder)
    check_intentions(study, folder)
    own, external = _recognised(study, datasets)
    splits = read_splits(folder / "splits.csv", own, folds=int(study["protocol"]["folds"]))
    runs = [_Run(folder / "runs" / name) for name in _names(folder, study)]
    for run in runs:
        run.check(own, splits)
    changed: list[str] = []
    largest = 0.0
    with track("scoring again", len(runs), "networks") as progress:
        for run in runs:
            table = run.scored(own, splits, where)
            difference = _difference(run.folder / "predictions.csv", table)
            if difference is None:
                run.replace_predictions(table)
                changed.append(f"runs/{run.folder.name}/predictions.csv")
            largest = max(largest, difference or 0.0)
            progress.advance()
    order = [arm["name"] for arm in study["arms"]]
    several = any(run.start for run in runs)
    by_arm = sorted((run for run in runs if run.patients is None), key=lambda run: order.index(run.network[0]))
    fixed = {each["name"] for each in study.get("fixed_networks", [])}
    whole = [run for run in by_arm if run.folder.name not in fixed]
    predictions = pd.concat([run.predictions(several) for run in whole], ignore_index=True)
    changed += _mended(folder, "predictions.csv", predictions)
    if fixed:
        again = [run.predictions(several) for run in by_arm if run.folder.name in fixed]
        changed += _mended(folder, "fixed_recipe.csv", pd.concat(again, ignore_index=True))
    if (folder / "learning_curve.csv").is_file():
        limited = ((run.patients, run.predictions(several)) for run in runs if run.patients is not None)
        curve = learning_curve_table(predictions, limited, splits, study["protocol"]["seeds"][0])
        changed += _mended(folder, "learning_curve.csv", curve)
    for about, dataset in external:
        parts = [run.with_start(run.scored_external(dataset, where), several) for run in whole]
        changed += _mended(folder, f"external/{about['file']}", pd.concat(parts, ignore_index=True))
    record = {
        **study,
        **{
            name: [{**each, "seal": seal_of(_record(folder / "runs" / each["name"]))} for each in study.get(name, [])]
            for name in (NETWORKS if fixed else NETWORKS[:2])
        },
        "rescored": {"networks": len(runs), "external": [about["name"] for about, _ in external], "altered": changed},
    }
    if is_sealed(study):
        record = seal_study(record, folder)
    write_json(folder / "study.json", record)
    for name in changed:
        say(f"notice: {folder / name}: did not hold what the networks say; it was written again")
    say(f"{len(runs)} networks scored again; the largest difference of a score that was kept is {largest:.1e}")


class _Run:
    """One network's folder.

    Attributes
    ----------
    folder : Path
    network : (arm, seed, fold)
    patients : int or None
        How many training patients it was limited to.
    start : int
        Which of its arm's weights files it began with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._settings = _record(folder).get("settings", {})
        try:
            self.network = (str(self._settings["arm"]), int(self._settings["seed"]), int(self._settings["fold"]))
            self.patients = self._settings.get("training_patients")
            self.start = int(_record(folder).get("start", 0))
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"{folder / 'run.json'}: cut short or altered; {_WAY_OUT}") from None

    def check(self, dataset: StudyDataset, splits: Splits) -> None:
        """Refuse weights that were altered, and a network of another dataset or of other splits."""
        check_files(_record(self.folder), self.folder, _WAY_OUT, but=("predictions.csv",))
        if self._settings.get("dataset_sha256") != dataset.card.sha256():
            raise FormatError(f"{self.folder}: was tuned on another dataset than {dataset.path}; {_WAY_OUT}")
        if self._settings.get("splits_sha256") != splits.sha256:
            raise FormatError(
                f"{self.folder.parents[1] / 'splits.csv'}: is not what {self.folder.name} was tuned by; {_WAY_OUT}"
            )

    def scored(self, dataset: StudyDataset, splits: Splits, device: torch.device) -> pd.DataFrame:
        """Its predictions of the fold's validation images and the test images, as `compare` makes them."""
        network = load_network(self.folder / "weights.safetensors")
        tables = []
        for name, patients in (("val", splits.validation(self.network[2])), ("test", splits.test())):
            positions = np.flatnonzero(patients[dataset.patient_of])
            scores = score_images(
                network.model.to(device),
                whole_frames(dataset.dataset, positions, network.size, device),
                network.normalisation,
                device,
                flip_average=network.flip_average,
            )
            tables.append(prediction_table(self.network, name, dataset, positions, scores))
        return pd.concat(tables, ignore_index=True)

    def scored_external(self, dataset: StudyDataset, device: torch.device) -> pd.DataFrame:
        """Its predictions of every image of an external dataset."""
        scores = score_dataset([load_network(self.folder / "weights.safetensors")], dataset.dataset, device)[0]
        return prediction_table(self.network, "external", dataset, slice(None), scores)

    def predictions(self, several: bool) -> pd.DataFrame:
        """What its folder holds."""
        return self.with_start(read_predictions(self.folder / "predictions.csv"), several)

    def with_start(self, table: pd.DataFrame, several: bool) -> pd.DataFrame:
        """Predictions of its own with the number of its weights file, where an arm of the study has `several`."""
        return table.assign(start=self.start) if several else table

    def replace_predictions(self, table: pd.DataFrame) -> None:
        """Put `table` in the place of its predictions, and seal the folder again where it was sealed."""
        record = _record(self.folder)
        write_atomically(self.folder / "predictions.csv", csv_text(table, index=False).encode())
        if is_sealed(record):
            record = sealed({**record, "rescored": True}, self.folder, record[SEAL]["files"])
            write_json(self.folder / "run.json", record)


def _record(folder: Path) -> dict[str, Any]:
    return read_record(folder / "run.json", _WAY_OUT)


def _recognised(
    study: Mapping[str, Any], datasets: Sequence[Path]
) -> tuple[StudyDataset, list[tuple[dict, StudyDataset]]]:
    """The study's own dataset, and its external ones with what `study.json` says of them."""
    own, external = None, []
    for path in datasets:
        dataset = read_patients(path, study["dataset"]["positive"])
        card = dataset.card.sha256()
        about = [each for each in study["external"] if each["card_sha256"] == card]
        if card == study["dataset"]["card_sha256"]:
            own = dataset
        elif about:
            external.append((about[0], dataset))
        else:
            raise InputError(f"{path}: is no dataset of this study (its card is another); give those of the command")
    if own is None:
        raise InputError(f"--rescore needs the study's own dataset, {study['dataset']['name']}; give it too")
    return own, external


def _names(folder: Path, study: Mapping[str, Any]) -> list[str]:
    if "networks" in study:
        return [each["name"] for kind in NETWORKS for each in study.get(kind, [])]
    protocol = study["protocol"]  # 0.1.0 kept no list
    limited = sorted((folder / "runs").glob("patients*-*-seed*-fold*"))
    return [
        *(
            f"{arm['name']}-seed{seed}-fold{fold}"
            for arm in study["arms"]
            for seed in protocol["seeds"]
            for fold in range(protocol["folds"])
        ),
        *(path.name for path in limited if (folder / "learning_curve.csv").is_file()),
    ]


def _difference(path: Path, table: pd.DataFrame) -> float | None:
    """The largest difference of a stored score from the table's; None where the stored table says something else."""
    try:
        stored = read_predictions(path)
    except FormatError:
        return None
    rest = [name for name in table.columns if name != "score"]
    if list(stored.columns) != list(table.columns) or len(stored) != len(table):
        return None
    if any(stored[name].tolist() != table[name].tolist() for name in rest):
        return None
    difference = float(np.abs(stored["score"].to_numpy() - table["score"].to_numpy()).max())
    return difference if difference <= TOLERANCE * max(1.0, float(table["score"].abs().max())) else None


def _mended(folder: Path, name: str, table: pd.DataFrame) -> list[str]:
    """Write a table of the study where the stored one says something else; its name if so."""
    if _difference(folder / name, table) is not None:
        return []
    write_atomically(folder / name, csv_text(table, index=False).encode())
    return [name]
