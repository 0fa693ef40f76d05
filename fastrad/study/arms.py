"""The arms of the study: what each network starts from.

In: names of weights files. Out: `Arm`s with checked weights. Arms differ in their initial backbone weights only; the
head starts fresh, and alike, in every arm.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from fastrad.errors import OptionError
from fastrad.model import HEAD, Weights, load_weights

LABELS = {"none": "No transfer", "imagenet": "ImageNet", "radimagenet": "RadImageNet"}
# Vahdati, Khosravi, Rouzrokh, Erickson: the conference abstract that the study repeats; test AUROC of its 145 patients.
ABSTRACT_TEST_AUROC = {"none": 0.74, "imagenet": 0.80, "radimagenet": 0.84}


@dataclass(frozen=True)
class Arm:
    """One initialisation.

    Attributes
    ----------
    name : str
        As in `predictions.csv`: "none", "imagenet", "radimagenet" or the user's own.
    label : str
        For a reader.
    source : str
        The weights file's name, "torchvision", or "random initialisation".
    sha256 : str
        Of the backbone's tensors; "" for no transfer.
    synthetic : bool
        True where the weights come from generated images.
    weights : Weights or None
    """

    name: str
    label: str
    source: str
    sha256: str
    synthetic: bool
    weights: Weights | None


def make_arms(radimagenet: str, imagenet: str, others: tuple[tuple[str, str], ...] = ()) -> tuple[Arm, ...]:
    """The three arms of the abstract, and any further ones given as (name, weights).

    Raises
    ------
    InputError
        If a further arm's name is taken or can't be a folder name, or weights are absent or of another network.
    """
    wanted = [("none", None), ("imagenet", imagenet), ("radimagenet", radimagenet), *others]
    names = [name for name, _ in wanted]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"arm {name} is given twice; every arm needs a name of its own")
        if not re.fullmatch(r"[A-Za-z0-9_.]+", name):
            raise OptionError(f"arm name {name!r}: letters, digits, dots and underscores only")
    # The files first: a mistyped name should not have to wait for a download.
    loaded = {name: _arm(name, source) for name, source in sorted(wanted, key=lambda arm: arm[1] == "torchvision")}
    return tuple(loaded[name] for name in names)


def _arm(name: str, source: str | None) -> Arm:
    label = LABELS.get(name, name)
    if source is None:
        return Arm(name, label, "random initialisation", "", False, None)
    weights = load_weights(source)
    digest = hashlib.sha256()
    for key in sorted(weights.state):
        if key not in HEAD:
            digest.update(key.encode())
            digest.update(weights.state[key].numpy().tobytes())
    shown = source if source == "torchvision" else source.replace("\\", "/").rsplit("/", 1)[-1]
    return Arm(name, label, shown, digest.hexdigest(), bool(weights.metadata.get("synthetic")), weights)
