"""What the sentences of a report depend on, looked up once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Any

from fastrad.models.resnet import architecture_label
from fastrad.study.protocol.abstract import LABELS, is_thyroid
from fastrad.study.protocol.ledger import Scoring
from fastrad.study.report.notation import enumerated, listed


@dataclass(frozen=True)
class Facts:
    """What is known of a study when its report is written.

    Attributes
    ----------
    study : dict
        `study.json`.
    values : dict
        From `values.table_values`.
    earlier : tuple of Scoring
        Other scorings of this study's test images.
    unused : tuple of str
        Networks in `runs/` that the report does not use.
    errors, curve : bool
        Whether pictures of confident errors are shown, and a learning curve.
    """

    study: dict[str, Any]
    values: dict[str, Any]
    earlier: tuple[Scoring, ...] = ()
    unused: tuple[str, ...] = ()
    errors: bool = False
    curve: bool = False

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What `study.json` says of the study's dataset."""
        return self.study["dataset"]

    @property
    def recipe(self) -> Mapping[str, Any]:
        """How the networks were tuned."""
        return self.study["protocol"]["recipe"]

    @property
    def searched(self) -> bool:
        """Whether each arm's recipe was chosen from a grid."""
        return bool(self.study["protocol"].get("search"))

    @property
    def starts(self) -> int:
        """Weights files, or random starts, of all arms together."""
        return sum(len(arm.get("starts", ["only"])) for arm in self.study["arms"])

    @property
    def thyroid(self) -> bool:
        """Whether the task is the abstract's."""
        return is_thyroid(self.study)

    @property
    def real(self) -> bool:
        """Whether the images are of patients."""
        return not self.study["synthetic"]

    @property
    def sealed(self) -> bool:
        """Whether the study's files carry seals."""
        return "seal" in self.study

    @property
    def drawn(self) -> bool:
        """Whether the splits were drawn, not imported."""
        return self.study["protocol"]["splits"].startswith("drawn")

    @property
    def tuned(self) -> list[Mapping[str, Any]]:
        """The arms that are tuned."""
        return [arm for arm in self.study["arms"] if not arm["frozen"]]

    @property
    def frozen(self) -> list[Mapping[str, Any]]:
        """The arms under a logistic regression."""
        return [arm for arm in self.study["arms"] if arm["frozen"]]

    @property
    def others(self) -> list[Mapping[str, Any]]:
        """The arms that are another network than the first, without transfer."""
        arms = self.study["arms"]
        return [arm for arm in arms if arm["architecture"] != arms[0]["architecture"]]

    @property
    def nameless(self) -> str:
        """How many images belong to no known patient: "all", "some" or ""."""
        if self.dataset["patient_ids"] == "none":
            return "all"
        count = self.dataset.get("images_without_patient", 0)
        if count == self.study["development"]["images"] + self.study["test"]["images"]:
            return "all"
        told = any("belong to no known patient" in notice for notice in self.study["notices"])  # 0.1.0 kept no count
        return "some" if count or told else ""

    @property
    def unit(self) -> str:
        """What is split and counted."""
        return "images" if self.nameless == "all" else "patients"

    @property
    def one_seed(self) -> bool:
        """Whether there is nothing to tell one network's chance by."""
        return len(self.values["seeds"]) == 1

    @property
    def unsealed_networks(self) -> int:
        """Networks that 0.1.0 tuned, in a study whose other files are sealed."""
        return sum(not each["seal"] for each in self.study.get("networks", []))

    @property
    def synthetic_weights(self) -> list[str]:
        """Labels of the arms whose weights come from generated images."""
        return [arm["label"] for arm in self.study["arms"] if arm["synthetic"]]

    @property
    def alike(self) -> list[tuple[str, str]]:
        """Labels of arms, tuned alike, that begin with the same weights."""
        pairs = combinations(self.study["arms"], 2)
        return [
            (one["label"], other["label"])
            for one, other in pairs
            if one["sha256"] and one["sha256"] == other["sha256"] and one["frozen"] == other["frozen"]
        ]

    @property
    def seen(self) -> list[dict[str, Any]]:
        """What each look-up among images that were seen found, with counts and for a reader: `whose`, `arm`."""
        labels = {arm["name"]: arm["label"] for arm in self.study["arms"]}
        return [
            {
                **each,
                "arm": labels.get(each["by"], ""),
                "whose": f"those that the weights of {labels.get(each['by'])} have seen"
                if each["by"]
                else "the study's",
                "confirmed": len(each["confirmed"]),
                "possible": len(each["possible"]),
                "reason": self.study.get("accepted_seen") or "none",
            }
            for each in self.study.get("seen", [])
            if each["among"]
        ]

    @property
    def unfingerprinted(self) -> list[dict[str, Any]]:
        """The arms whose weights keep no fingerprints of the images, or of `which` of them, that trained them."""
        found = []
        for arm in self.study["arms"]:
            said = [each for each in self.study.get("seen", []) if each["by"] == arm["name"]]
            if arm["sha256"] and (not said or any(each.get("unkept") for each in said)):
                some = any(each["among"] or each.get("missing") for each in said)
                found.append({**arm, "which": "some of the" if some else "the"})
        return found

    @property
    def missing(self) -> list[dict[str, Any]]:
        """The arms whose weights name files of fingerprints that were not beside them."""
        names = {each["by"] for each in self.study.get("seen", []) if each.get("missing")}
        return [arm for arm in self.study["arms"] if arm["name"] in names]

    @property
    def named_by_option(self) -> list[str]:
        """Arms of a study of 0.1.0 that bear the name of the option that gave their weights."""
        return [
            arm["label"]
            for arm in self.study["arms"]
            if "trained_on" not in arm and arm["name"] != "none" and arm["name"] in LABELS
        ]

    @property
    def epoch_chosen(self) -> bool:
        """Whether networks were tuned for more than one epoch, of which one was chosen on validation patients."""
        return bool(self.tuned) and self.recipe["epochs"] > 1

    @cached_property
    def excess(self) -> tuple[str, float]:
        """The arm whose cross-validated AUROC is most above its networks' mean on the test set, and by how much.

        Of arms of which an epoch was chosen, and beyond twice the standard error over folds; ("", 0) where none is.
        """
        chosen = {arm["label"] for arm in self.tuned} if self.epoch_chosen else set()
        found = [("", 0.0)]
        for arm in self.values["arms"]:
            most = arm["cv_auroc"] - _mean(arm["test_auroc_by_seed_and_fold"])
            error = arm["cv_auroc_sd"] / math.sqrt(self.study["protocol"]["folds"])
            if arm["label"] in chosen and most > 2 * error:
                found.append((arm["label"], most))
        return max(found, key=lambda each: each[1])

    @cached_property
    def words(self) -> dict[str, Any]:
        """What a sentence may fill in."""
        study, dataset, protocol, recipe = self.study, self.dataset, self.study["protocol"], self.recipe
        label, most = self.excess
        negatives = [name for name in dataset["classes"] if name != dataset["positive"]]
        return {
            "unit": self.unit,
            "tested": study["test"]["patients"],
            "developed": study["development"]["patients"],
            "arms": enumerated([arm["label"] for arm in study["arms"]]),
            "count": len(study["arms"]),
            "network": architecture_label(study["arms"][0]["architecture"]),
            "positive": dataset["positive"],
            "negatives": " and ".join(negatives),
            "dataset": dataset["name"],
            "folds": protocol["folds"],
            "seeds": len(protocol["seeds"]),
            "networks": protocol["folds"] * len(protocol["seeds"]) * self.starts,
            "splits": protocol["splits"],
            "augmentation": protocol.get("augmentation", ""),
            "prevalence": self.values["test"]["prevalence"],
            "compared": "the ensembles" if self.one_seed else "one network",
            **self.study.get("copies", {}),
            "pixel_mean": protocol["normalisation"]["mean"],
            "pixel_sd": protocol["normalisation"]["std"],
            "scorings": len(self.earlier) + 1,
            "unused": len(self.unused),
            "unused_names": listed(list(self.unused)),
            "unsealed": self.unsealed_networks,
            "nameless": dataset.get("images_without_patient", 0),
            "excess_arm": label,
            "excess": most,
            "synthetic_arms": enumerated(self.synthetic_weights),
            "by_option": enumerated(self.named_by_option),
            "frozen_arms": enumerated([arm["label"] for arm in self.frozen]),
            "rescored": listed(study.get("rescored", {}).get("altered", [])),
            **{f"recipe_{name}": value for name, value in recipe.items()},
        }


def _mean(table: list[list[float]]) -> float:
    return fmean(value for row in table for value in row)
