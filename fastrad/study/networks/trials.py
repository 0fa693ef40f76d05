"""The trials of a search: one recipe of the grid, for one arm and fold, on one inner validation part.

In: a plan's protocol. Out: a JSON file a trial, in `search/` of the study's folder. A trial is tuned as a network of
the study is, on the fold's training patients without the inner part, whose patients choose its epoch and give its log
loss. A recipe that diverges has lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastrad.study.networks.claims import Piece, Tick
from fastrad.study.networks.duration import work
from fastrad.study.networks.frozen import fit_head
from fastrad.study.networks.score import DivergedError
from fastrad.study.networks.tune import Task, Tuned, fine_tune
from fastrad.study.protocol.arms import Arm
from fastrad.study.protocol.plan import Network, Protocol
from fastrad.study.protocol.search import Search, Trial
from fastrad.system.files import write_json
from fastrad.train.precision import choose_precision


def trials_of(
    network: Network, networks: Sequence[Network], protocol: Protocol, device: torch.device
) -> list[TrialPiece]:
    """The trials that choose a network's recipe; none where it is not searched for.

    An arm's trials start from its first weights file, with the first seed.
    """
    search, arm = protocol.search, network.arm
    if search is None or arm.frozen or network.fixed:
        return []
    first = next(each for each in networks if each.arm.name == arm.name and not each.arm.start)
    trials = search.trials(arm.name, network.fold, protocol.splits.folds)
    return [TrialPiece(trial, first.arm, search, protocol, device) for trial in trials]


class TrialPiece(Piece):
    """One trial, as a piece of work."""

    def __init__(self, trial: Trial, arm: Arm, search: Search, protocol: Protocol, device: torch.device) -> None:
        self.place = search.path(trial)
        self._trial, self._arm, self._search, self._protocol, self._device = trial, arm, search, protocol, device
        training, validation = self._patients()
        images = np.bincount(protocol.dataset.patient_of, minlength=len(protocol.splits.patients))
        recipe = search.recipe(trial.recipe)
        self.cost = work(int(images[training].sum()), int(images[validation].sum()), 0, recipe, arm.architecture)

    def _patients(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Who trains and who validates: bool arrays over patients."""
        splits, (_, fold, part, _) = self._protocol.splits, self._trial
        return splits.training(fold) & ~splits.validation(part), splits.validation(part)

    def do(self, tick: Tick) -> None:
        """Tune it, and write down its log loss."""
        found: dict[str, Any] = {}
        try:
            run = self._run(tick)
            best = run.history[run.best_epoch - 1]
            found = {
                "log_loss": best.val_loss if math.isfinite(best.val_loss) else None,
                "auroc": best.val_auroc,
                "best_epoch": run.best_epoch,
                "epochs": len(run.history),
                "seconds": round(run.seconds, 2),
            }
        except DivergedError as error:
            found = {"log_loss": None, "reason": str(error)}
        record = {"settings": self._search.settings(self._trial), **found}
        write_json(self.place, record)

    def _run(self, tick: Tick) -> Tuned:
        dataset, arm, trial = self._protocol.dataset, self._arm, self._trial
        training, validation = (np.flatnonzero(each[dataset.patient_of]) for each in self._patients())
        task = Task(
            dataset.dataset,
            dataset.card.classes.index(dataset.positive),
            self._protocol.normalisation,
            dataset.labels,
            dataset.patient_of,
            training,
            validation,
            np.zeros(0, dtype=np.int64),
        )
        tuning, frozen = self._search.recipe(trial.recipe)
        where = {"seed": int(self._search.about["seed"]), "fold": trial.fold}
        if frozen:
            return fit_head(
                task,
                arm.weights,
                tuning,
                **where,
                device=self._device,
                redrawn=arm.redrawn,
                architecture=arm.architecture,
            )
        precision = choose_precision("amp", self._device, tuning.size)
        return fine_tune(
            task,
            arm.weights,
            tuning,
            **where,
            device=self._device,
            precision=precision,
            redrawn=arm.redrawn,
            architecture=arm.architecture,
            tick=tick,
        )

    def line(self) -> str:
        """What became of it, for a reader."""
        _, fold, part, recipe = self._trial
        result = self._search.result(self._trial) or {}
        loss = result.get("log_loss")
        said = "diverged" if loss is None else f"log loss {loss:.3f}, {result['seconds']:.1f} s"
        return f"{self._arm.label}, fold {fold}, trial {recipe} on fold {part}: {said}"
