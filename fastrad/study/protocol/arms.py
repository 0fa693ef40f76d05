"""The arms of the study: what each network starts from.

The abstract's arms are one network, and differ in their initial backbone weights only; the head starts fresh, and
alike, in every arm. Which network, their weights decide: the abstract's was ResNet-18. Further arms may be another
ResNet, or frozen; their labels say so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastrad.errors import OptionError
from fastrad.imaging.normalisation import IMAGENET
from fastrad.models.resnet import HEAD, architecture_label
from fastrad.models.weights import Weights, load_weights
from fastrad.study.protocol.abstract import LABELS
from fastrad.study.protocol.arm_names import arm_name

NULL = "null"


@dataclass(frozen=True)
class Arm:
    """One initialisation, or the first of several of one kind.

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
    start : int
        Which of the arm's weights files these are, from 0.
    further : tuple of Arm
        The arm's other weights files, pretrained alike with other seeds say: a random factor inside the arm.
    redrawn : bool
        True for the second arm without transfer: its random starts are others than those of the first.
    drawn : str
        torchvision's name of the network that an arm without transfer is.
    """

    name: str
    label: str
    source: str
    sha256: str
    synthetic: bool
    weights: Weights | None
    frozen: bool = False
    trained_on: str = ""
    start: int = 0
    further: tuple[Arm, ...] = ()
    redrawn: bool = False
    drawn: str = "resnet18"

    @property
    def starts(self) -> tuple[Arm, ...]:
        """Itself, and its further weights files."""
        return (self, *self.further)

    @property
    def architecture(self) -> str:
        """torchvision's name of the network."""
        return self.weights.architecture if self.weights is not None else self.drawn

    @property
    def identity(self) -> str:
        """What records know its initial weights by: `sha256`; of no transfer "", or the network if no ResNet-18."""
        return self.sha256 or ("" if self.drawn == "resnet18" else self.drawn)


def make_arms(
    radimagenet: str | Sequence[str],
    imagenet: str | Sequence[str],
    others: Sequence[tuple[str, str]] = (),
    frozen: Sequence[tuple[str, str]] = (),
    *,
    null_arm: bool = False,
) -> tuple[Arm, ...]:
    """The three arms of the abstract, and any further ones given as (name, weights), tuned or frozen.

    Parameters
    ----------
    radimagenet, imagenet : str or sequence of str
        Weights; several are several starts of the arm.
    others, frozen : sequence of (name, weights)
        A name that is given again is another start of that arm.
    null_arm : bool
        A second arm without transfer, from other random starts: between it and the first there is no difference.

    Raises
    ------
    InputError
        If a further arm's name is taken or can't be a folder name, weights are absent or no ResNet's, an arm gets the
        same weights twice or two architectures, or the abstract's arms are of several architectures.
    """
    files: dict[str, list[str]] = {}
    for kind, given in (("others", others), ("frozen", frozen)):
        for name, source in given:
            if name in LABELS or (name == NULL and null_arm) or (kind == "frozen" and name in dict(others)):
                raise OptionError(f"arm {name} is given twice; every arm needs a name of its own")
            if not re.fullmatch(r"[A-Za-z0-9_.]+", name):
                raise OptionError(f"arm name {name!r}: letters, digits, dots and underscores only")
            files.setdefault(name, []).append(source)
    files = {"radimagenet": _listed(radimagenet), "imagenet": _listed(imagenet), **files}
    # The files first: a mistyped name should not have to wait for a download.
    unfitted = {name for name, _ in frozen}
    starts: dict[str, list[Arm]] = {name: [] for name in files}
    every = [(name, source) for name in files for source in files[name]]
    network = ""  # of the abstract's arms: what the first of their files is
    for name, source in sorted(every, key=_downloaded):
        arm = _arm(name, source, name in unfitted, network)
        network = network or arm.architecture
        starts[name].append(arm)
    none = replace(_arm("none", None, False, network), drawn=network)
    null = (replace(none, name=NULL, label="No transfer, again", redrawn=True),) if null_arm else ()
    arms = {name: _with_further(starts[name]) for name in files}
    return (none, arms.pop("imagenet"), arms.pop("radimagenet"), *null, *arms.values())


def _listed(sources: str | Sequence[str]) -> list[str]:
    return [sources] if isinstance(sources, str) else list(sources)


def _downloaded(arm: tuple[str, str]) -> bool:
    return arm[1] == "torchvision"


def _with_further(starts: Sequence[Arm]) -> Arm:
    """The first start, with the others behind it."""
    first = starts[0]
    for number, arm in enumerate(starts):
        for earlier in starts[:number]:
            if earlier.sha256 == arm.sha256:
                raise OptionError(
                    f"the {arm.label} arm is given the same weights twice ({earlier.source}, {arm.source}): another "
                    "start is a network that was pretrained again, with another seed"
                )
        if arm.architecture != first.architecture:
            raise OptionError(
                f"the starts of the {arm.name} arm are a {architecture_label(first.architecture)} and a "
                f"{architecture_label(arm.architecture)}; give another network an arm of its own"
            )
    return replace(first, further=tuple(replace(arm, start=number) for number, arm in enumerate(starts) if number))


def _arm(name: str, source: str | None, frozen: bool, network: str) -> Arm:
    """One start; `network` is the architecture of the abstract's arms, "" where this one decides it."""
    weights = None if source is None else load_weights(source, network or "resnet18")
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
    if weights.architecture != (network or weights.architecture):
        found = architecture_label(weights.architecture)
        if name in LABELS:
            raise OptionError(
                f"{source}: a {found}; the {name} arm is a {architecture_label(network)} like the other weights that "
                "were given and like the arm without transfer, so that they differ in their initial weights only; give "
                f"a {architecture_label(network)}'s, or this one as --arm NAME={source}"
            )
        label += f" ({found})"
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
