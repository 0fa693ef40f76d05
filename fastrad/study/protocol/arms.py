"""The arms of the study: what each network starts from.

The abstract's arms are one network, ResNet-18, and differ in their initial backbone weights only; the head starts
fresh, and alike, in every arm. Further arms may be another ResNet, or frozen; their labels say so.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from fastrad.errors import OptionError
from fastrad.imaging.normalisation import IMAGENET
from fastrad.models.resnet import HEAD, architecture_label
from fastrad.models.weights import Weights, load_weights
from fastrad.study.protocol.abstract import LABELS
from fastrad.study.protocol.arm_names import arm_name


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
        Of the backbone's tensors and the normalisation that they were trained with; "" for no transfer.
    synthetic : bool
        True where the weights come from generated images.
    weights : Weights or None
    frozen : bool
        True where the network is not tuned: its features as they are, under a logistic regression.
    trained_on : str
        What its weights' metadata say that they were made from, for a reader.
    """

    name: str
    label: str
    source: str
    sha256: str
    synthetic: bool
    weights: Weights | None
    frozen: bool = False
    trained_on: str = ""

    @property
    def architecture(self) -> str:
        """torchvision's name of the network."""
        return self.weights.architecture if self.weights is not None else "resnet18"


def make_arms(
    radimagenet: str,
    imagenet: str,
    others: tuple[tuple[str, str], ...] = (),
    frozen: tuple[tuple[str, str], ...] = (),
) -> tuple[Arm, ...]:
    """The three arms of the abstract, and any further ones given as (name, weights), tuned or frozen.

    Raises
    ------
    InputError
        If a further arm's name is taken or can't be a folder name, weights are absent or no ResNet's, or one of the
        abstract's arms is not a ResNet-18.
    """
    wanted = [("none", None), ("imagenet", imagenet), ("radimagenet", radimagenet), *others, *frozen]
    names = [name for name, _ in wanted]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"arm {name} is given twice; every arm needs a name of its own")
        if not re.fullmatch(r"[A-Za-z0-9_.]+", name):
            raise OptionError(f"arm name {name!r}: letters, digits, dots and underscores only")
    # The files first: a mistyped name should not have to wait for a download.
    unfitted = {name for name, _ in frozen}
    loaded = {
        name: _arm(name, source, name in unfitted)
        for name, source in sorted(wanted, key=lambda arm: arm[1] == "torchvision")
    }
    return tuple(loaded[name] for name in names)


def _arm(name: str, source: str | None, frozen: bool) -> Arm:
    weights = None if source is None else load_weights(source)
    label, trained_on = arm_name(name, source, weights)
    if source is None or weights is None:
        return Arm(name, label, "random initialisation", "", False, None, False, trained_on)
    if name == "imagenet" and weights.normalisation is None and weights.channels == 3:
        # torchvision's own file says nothing; downloaded by name it must be the same arm
        stored = {"mean": list(IMAGENET.mean), "std": list(IMAGENET.std)}
        weights = replace(
            weights,
            metadata={**weights.metadata, "normalisation": stored},
            notices=(f"{source} is taken to be trained with ImageNet's normalisation, as torchvision's weights are",),
        )
    network = architecture_label(weights.architecture)
    if weights.architecture != "resnet18":
        if name in LABELS:
            raise OptionError(
                f"{source}: a {network}; the {name} arm is a ResNet-18 like the one without transfer, so that they "
                f"differ in their initial weights only; give it as --arm NAME={source}"
            )
        label += f" ({network})"
    if frozen:
        label += " (frozen features)"
    digest = hashlib.sha256(repr(weights.normalisation).encode())  # it decides what the stem becomes
    for key in sorted(weights.state):
        if key not in HEAD:
            digest.update(key.encode())
            digest.update(weights.state[key].numpy().tobytes())
    shown = source if source == "torchvision" else source.replace("\\", "/").rsplit("/", 1)[-1]
    synthetic = bool(weights.metadata.get("synthetic"))
    return Arm(name, label, shown, digest.hexdigest(), synthetic, weights, frozen, trained_on)
