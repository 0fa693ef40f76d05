"""The networks of a study: which are to be tuned, which are there already, and what each leaves.

One folder a network under `runs/`, with weights, predictions, history and the settings that its numbers depend on; a
folder that exists is complete. Several processes may work in one `runs/`: a network is claimed before it is tuned.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fastrad.errors import FormatError, InputError
from fastrad.models.seen import KEY, STUDY_FOLDER
from fastrad.models.weights import save_weights
from fastrad.study.networks.claims import Piece, Tick, measured, work_through
from fastrad.study.networks.duration import images_passed
from fastrad.study.networks.frozen import fit_head
from fastrad.study.networks.seen import study_images_seen
from fastrad.study.networks.trials import trials_of
from fastrad.study.networks.tune import Task, Tuned, fine_tune
from fastrad.study.predictions import prediction_table, read_predictions
from fastrad.study.protocol.plan import Network, Protocol
from fastrad.study.protocol.record import read_record, versions
from fastrad.study.protocol.seals import check_files, sealed
from fastrad.study.protocol.splits import training_subset
from fastrad.system.csv_file import csv_text
from fastrad.system.files import write_atomically, write_json
from fastrad.system.hardware import describe_hardware
from fastrad.system.locks import locked
from fastrad.system.progress import say
from fastrad.train.precision import Precision, choose_precision

ALTERED = (
    "`fastrad report STUDY --rescore DATASET` scores again from sound weights; else move this network's folder out of "
    "runs/ and give the same command again"
)


def tune(
    networks: Sequence[Network],
    protocol: Protocol,
    folder: Path,
    device: torch.device,
    *,
    part: tuple[int, int] = (1, 1),
    wait: bool = True,
    shown: bool = True,
) -> None:
    """Tune every network that has no folder in `folder` yet, with a line each and a bar over all of them.

    Parameters
    ----------
    networks : sequence of Network
    protocol : Protocol
    folder : Path
        Other processes may work in it at the same time: each network is tuned by one.
    device : torch.device
    part : (int, int)
        (k, n) tunes the k-th of every n networks, and no other.
    wait : bool
        Stay until the networks that other processes tune are there too, and take over those that they leave.
    shown : bool
        False says nothing.

    Raises
    ------
    InputError
        If a folder is there but was made with other settings, or in a precision that the device does not have.
    """
    finished = check_finished(networks, protocol, folder)
    if any(finished) and shown:
        say(f"{sum(finished)} of {len(networks)} runs are finished already and kept")
    if all(finished):
        return
    pieces = pieces_of(networks, protocol, folder, device)
    number = {piece.place: index for index, piece in enumerate(pieces, start=1)}

    def tuned(piece: Piece) -> None:
        if shown:
            say(f"[{number[piece.place]}/{len(pieces)}] {piece.line()}")

    with measured(pieces, "tuning", "done", shown=shown) as meter:
        work_through(pieces_of(networks, protocol, folder, device, part), meter, tuned, wait=wait)


def pieces_of(
    networks: Sequence[Network], protocol: Protocol, folder: Path, device: torch.device, part: tuple[int, int] = (1, 1)
) -> list[Piece]:
    """The networks as pieces of work, in their order, each behind the trials that choose its recipe.

    Of part (k, n) come the k-th of every n networks, and the trials that these need.
    """
    number, of = part
    pieces: dict[Path, Piece] = {}
    for network in networks[number - 1 :: of]:
        piece = NetworkPiece(network, networks, protocol, folder, device)
        for each in (*trials_of(network, networks, protocol, device), piece):
            pieces.setdefault(each.place, each)
    return list(pieces.values())


class NetworkPiece(Piece):
    """One network to tune: it leaves its folder under `folder`."""

    def __init__(
        self, network: Network, networks: Sequence[Network], protocol: Protocol, folder: Path, device: torch.device
    ) -> None:
        self.place = folder / network.name
        self.network, self._networks, self._protocol = network, networks, protocol
        self._folder, self._device = folder, device
        self.cost = images_passed(network, protocol)

    def do(self, tick: Tick) -> None:
        """Tune it in the precision of the networks that are there, and keep it if that is still theirs.

        Two machines that begin a study at once may differ in what they compute in; the first network decides.
        """
        network, protocol = self.network, self._protocol
        task = _task(network, protocol)
        while not self.finished:
            precision = self._precision()
            run = _run(network, task, protocol, self._device, precision, tick)
            settings = _settings(network, protocol)
            frozen = bool(settings["frozen"])
            settings["precision"] = "float32" if frozen else precision.name
            with locked(self._folder / ".lock"):
                if frozen or self._precision().name == precision.name:
                    _keep(self.place, network, settings, run, task, protocol, self._device)

    @property
    def ready(self) -> bool:
        """Whether its recipe is chosen."""
        return self._protocol.recipe(self.network)[1] is not None

    def _precision(self) -> Precision:
        finished = [(self._folder / network.name).is_dir() for network in self._networks]
        return _precision(self._networks, finished, self._protocol, self._folder, self._device)

    def line(self) -> str:
        """What became of it, for a reader."""
        network = self.network
        record = json.loads((self.place / "run.json").read_text())
        history = pd.read_csv(self.place / "history.csv")
        best, seconds = history.iloc[record["best_epoch"] - 1], max(float(record["seconds"]), 0.01)
        chosen_by = "with penalty" if record["settings"]["frozen"] else "in epoch"
        return (
            f"{network.label}: validation AUROC {best['val_auroc']:.3f} "
            f"{chosen_by} {record['best_epoch']} of {record['epochs']}, "
            f"{seconds:.1f} s, {record['training_images'] / seconds:.0f} training images/s"
        )


def check_finished(networks: Sequence[Network], protocol: Protocol, folder: Path) -> list[bool]:
    """Which networks are finished in `folder` already.

    Raises
    ------
    InputError
        If one was made with other settings.
    """
    return [_is_finished(folder / network.name, network, protocol) for network in networks]


def _precision(
    networks: Sequence[Network], finished: Sequence[bool], protocol: Protocol, folder: Path, device: torch.device
) -> Precision:
    """What the networks that are left are tuned in: what the finished ones were, else the best that the device has.

    So a study is of one precision, also where it goes on under another version or on another machine.
    """
    size = protocol.tuning.size
    best = choose_precision("amp", device, size)
    # 0.1.0 kept no record: it tuned in float32, and in bfloat16 on GPUs that have it
    former = best.name if device.type == "cuda" and best.name == "bfloat16" else "float32"
    found = {
        str(_stored_settings(folder / network.name).get("precision", former))
        for network, done in zip(networks, finished, strict=True)
        if done and not _stored_settings(folder / network.name).get("frozen")
    }
    if not found:
        return best
    went_on = choose_precision(min(found), device, size)
    if found == {went_on.name}:
        return went_on
    raise InputError(
        f"{folder}: its finished networks were tuned in {' and '.join(sorted(found))}, the others would be in "
        f"{best.name} on {device}; go on where the study was begun, or give it another --out"
    )


def _run(
    network: Network, task: Task, protocol: Protocol, device: torch.device, precision: Precision, tick: Tick
) -> Tuned:
    _, recipe = protocol.recipe(network)
    assert recipe is not None, "a network is tuned once its recipe is chosen"
    arm, where = network.arm, {"seed": network.seed, "fold": network.fold}
    if recipe.frozen:
        return fit_head(
            task,
            arm.weights,
            recipe.tuning,
            **where,
            device=device,
            redrawn=arm.redrawn,
            architecture=arm.architecture,
        )
    return fine_tune(
        task,
        arm.weights,
        recipe.tuning,
        **where,
        device=device,
        precision=precision,
        redrawn=arm.redrawn,
        architecture=arm.architecture,
        tick=tick,
    )


def gather(networks: Sequence[Network], folder: Path) -> pd.DataFrame:
    """The predictions of finished networks, one after another; with `start` where an arm has several weights files."""
    parts = [read_predictions(folder / network.name / "predictions.csv") for network in networks]
    if any(network.arm.start for network in networks):
        parts = [part.assign(start=network.arm.start) for part, network in zip(parts, networks, strict=True)]
    return pd.concat(parts, ignore_index=True)


def _task(network: Network, protocol: Protocol) -> Task:
    dataset, splits = protocol.dataset, protocol.splits

    def images(patients: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(patients[dataset.patient_of])

    return Task(
        dataset.dataset,
        dataset.card.classes.index(dataset.positive),
        protocol.normalisation,
        dataset.labels,
        dataset.patient_of,
        images(training_subset(splits, network.fold, network.patients, network.seed)),
        images(splits.validation(network.fold)),
        images(splits.test() & protocol.test),
    )


def _settings(network: Network, protocol: Protocol) -> dict:
    """Everything that a run's numbers depend on, but the precision: what is finished is not refused for that."""
    name, recipe = protocol.recipe(network)
    assert recipe is not None, "its recipe is chosen"
    chosen = {} if protocol.search is None or network.fixed else {"recipe": name}
    return {
        "arm": network.arm.name,
        "frozen": recipe.frozen,
        "seed": network.seed,
        "fold": network.fold,
        "training_patients": network.patients,
        "weights_sha256": network.arm.identity,
        "dataset_sha256": protocol.dataset.card.sha256(),
        "positive": protocol.dataset.positive,
        "splits_sha256": protocol.splits.sha256,
        **asdict(recipe.tuning),
        **chosen,
    }


def settings_digest(networks: Sequence[Network], protocol: Protocol) -> bytes:
    """One hash of everything that the networks' numbers depend on: processes that share a folder must agree on it."""
    fixed = replace(protocol, search=None)  # what a search will choose is not known yet, what it searches is
    settings = [{**_settings(network, fixed), "fixed": network.fixed} for network in networks]
    grid = protocol.search.recipes if protocol.search else None
    return hashlib.sha256(json.dumps([settings, grid]).encode()).hexdigest().encode()


# what a network of an earlier version was tuned with where its record does not say
_BEFORE = {"head_first": 0.0}


def _is_finished(folder: Path, network: Network, protocol: Protocol) -> bool:
    if not folder.is_dir():
        return False
    if protocol.recipe(network)[1] is None:
        raise InputError(
            f"{folder}: is there, but not the trials that chose its recipe, in search/; bring them back, or give the "
            "study another --out"
        )
    wanted = {"recipe": None, **_settings(network, protocol)}
    found = {**_BEFORE, **_stored_settings(folder)}
    # of a closed test set the scores are compared when it is opened, which may have been stopped half way
    check_files(
        read_record(folder / "run.json", ALTERED), folder, ALTERED, but=() if is_open(folder) else ("predictions.csv",)
    )
    for name, value in wanted.items():
        if found.get(name) != value and name == "splits_sha256":
            raise InputError(
                f"{folder}: was made with other splits; give the study another --out, or the former --seed, --folds, "
                "--test-fraction or --splits"
            )
        if found.get(name) != value:
            raise InputError(
                f"{folder}: was made with {name} {_shown(found.get(name))}, now {_shown(value)}; "
                "give the study another --out, or repeat the former options"
            )
    return True


def _shown(value: object) -> object:
    return value if value != "" else "none"


def is_open(folder: Path) -> bool:
    """Whether a finished network has scored the test patients, as all do but those of `--development-only`."""
    return read_record(folder / "run.json", ALTERED).get("test_scored") is not False


def _stored_settings(folder: Path) -> dict:
    settings = read_record(folder / "run.json", ALTERED).get("settings")
    if not isinstance(settings, dict):
        raise FormatError(f"{folder / 'run.json'}: cut short or altered; {ALTERED}")
    return settings


def _keep(
    folder: Path,
    network: Network,
    settings: dict,
    run: Tuned,
    task: Task,
    protocol: Protocol,
    device: torch.device,
) -> None:
    """Write a run's folder under a temporary name, seal it, and rename it."""
    dataset, normalisation = protocol.dataset, protocol.normalisation
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tables = [
        prediction_table((network.arm.name, network.seed, network.fold), name, dataset, positions, scores)
        for name, positions, scores in (
            ("val", task.validation, run.validation_scores),
            ("test", task.test, run.test_scores),
        )
    ]
    metadata = {
        "normalisation": {"mean": list(normalisation.mean), "std": list(normalisation.std)},
        "size": protocol.tuning.size,
        "positive": dataset.positive,
        "negatives": [name for name in dataset.card.classes if name != dataset.positive],
        "dataset": dataset.card.sha256(),
        "seen": [*dataset.card.identities(), *sorted(network.arm.weights.seen if network.arm.weights else ())],
        KEY: study_images_seen(
            dataset,
            np.concatenate([task.training, task.validation]),
            network.arm.weights if network.arm.name != "imagenet" else None,
            folder.parent.parent / STUDY_FOLDER,
        ),
        "parameters": dataset.card.parameters,
        "synthetic": dataset.card.synthetic,
        "source_options": dataset.card.source_options,
        "arm": network.arm.name,
        "flip_average": protocol.tuning.flip_average,
    }
    save_weights(partial / "weights.safetensors", run.state, metadata)
    write_atomically(partial / "predictions.csv", csv_text(pd.concat(tables), index=False).encode())
    history = pd.DataFrame([asdict(line) for line in run.history])
    write_atomically(partial / "history.csv", history.to_csv(index=False).encode())
    record = {
        "settings": settings,
        "arm_label": network.arm.label,
        "best_epoch": run.best_epoch,
        "epochs": len(run.history),
        "seconds": round(run.seconds, 2),
        "training_images": run.images,
        "threads": torch.get_num_threads(),  # on a CPU their number decides the last digits
        "synthetic": dataset.card.synthetic,
        **({"start": network.arm.start} if network.arm.start or network.arm.further else {}),
        "device": device.type,
        "hardware": describe_hardware(device),
        "versions": versions(),
        **({} if protocol.test else {"test_scored": False}),
    }
    record = sealed(record, partial, ("weights.safetensors", "predictions.csv", "history.csv"))
    write_json(partial / "run.json", record)
    try:
        partial.rename(folder)
    except OSError:  # where a file system has no locks, another process may have been first, with the same network
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)
