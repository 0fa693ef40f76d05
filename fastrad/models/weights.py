"""Weights of a ResNet in and out: safetensors or a `.pth` state dict, and how a network starts from them.

A file may have one or three input channels and any head; its state dict is checked, under torchvision's names. Nothing
but tensors is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from fastrad.errors import FastradError, FormatError, InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models.imagenet import download_imagenet, imagenet_metadata
from fastrad.models.metadata import MAX_CLASSES, read_metadata
from fastrad.models.names import HEADS, find_network, nearest_name
from fastrad.models.resnet import HEAD, STEM, architecture_label, architecture_of, expected_shapes
from fastrad.system.files import in_units, write_atomically

MAX_UNPACKED = 4 << 30  # bytes; with an optimiser's state a ResNet-152 has under 1 GB
_DIGEST = "content_sha256"  # a key of the metadata; it stays inside this module
_TEXTS = "fastrad"  # in a .pth, where a state dict has its versions by module


@dataclass(frozen=True)
class Weights:
    """The state dict of a ResNet that has been checked, and what is known about it.

    Attributes
    ----------
    state : dict of str to float32 tensor
        torchvision's names; the head (`fc.weight`, `fc.bias`) is left out where its form is not torchvision's.
    metadata : dict
        As written by `save_weights`; empty for a file of other origin.
    notices : tuple of str
        What the reader should be told, a line each.
    path : Path or None
        Of the file.
    """

    state: dict[str, Tensor]
    metadata: dict = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def seen(self) -> frozenset[str]:
        """Identities (`Card.identities`) of the datasets that trained or chose these weights, and those before them."""
        listed = self.metadata.get("seen")
        # earlier versions named one dataset: a pretrained network's, or the study's that a network was tuned in
        named = [*(listed if isinstance(listed, list) else ()), *map(self.metadata.get, ("card_sha256", "dataset"))]
        return frozenset(name for name in named if isinstance(name, str))

    @property
    def architecture(self) -> str:
        """torchvision's name: resnet18, resnet34, resnet50, resnet101 or resnet152."""
        return architecture_of(self.state)

    @property
    def channels(self) -> int:
        """Input channels of the stem: 1 or 3."""
        return self.state[STEM].shape[1]

    @property
    def normalisation(self) -> Normalisation | None:
        """The normalisation that the weights were trained with; None where the file doesn't say."""
        stored = self.metadata.get("normalisation")
        if not isinstance(stored, dict):
            return None
        return Normalisation(tuple(stored["mean"]), tuple(stored["std"]))


def load_weights(source: str | Path, architecture: str = "resnet18") -> Weights:
    """Read the weights of a ResNet and check every tensor's name, shape and values.

    Parameters
    ----------
    source : path or "torchvision"
        A `.safetensors` file; a `.pth`, `.pt` or `.ckpt` file with a state dict (plain, or inside dictionaries as
        trainers keep it; names behind any prefix, or numbered as by `nn.Sequential`; of a network and its moving
        average, the network); or the word "torchvision", which downloads its ImageNet weights (once; they stay in
        torch's own cache).
    architecture : str
        Of the weights that "torchvision" downloads.

    Returns
    -------
    Weights

    Raises
    ------
    InputError
        If the file is absent, is another network, or holds anything but tensors.
    FormatError
        If the file is cut short or altered.
    """
    if str(source) == "torchvision":
        state = _checked("torchvision's ImageNet weights", download_imagenet(architecture))[0]
        return Weights(state, imagenet_metadata(architecture))
    path = Path(source)
    if not path.is_file():
        what = "is no regular file" if path.exists() else "there is no such weights file"
        raise InputError(f"{path}: {what}; give a .safetensors or .pth file of a ResNet")
    metadata: dict = {}
    left_out: list[str] = []
    if _is_safetensors(path):
        state, metadata, left_out = _read_safetensors(path)
    else:
        state, metadata, left_out = _read_torch(path)
    checked, notices = _checked(str(path), state)
    notices += left_out
    if "normalisation" not in metadata:
        notices.append(
            f"{path} doesn't say which normalisation it was trained with: the stem is taken as for one mean and std"
        )
    return Weights(checked, metadata, tuple(notices), path)


def _is_safetensors(path: Path) -> bool:
    """By how the file begins, a length and JSON; what begins as neither kind does is taken by its name."""
    with open(path, "rb") as file:
        head = file.read(9)
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):  # a zip as torch writes it, or a pickle
        return False
    return head[8:9] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict, list[str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise FormatError(f"{path}: not a sound safetensors file ({error}); copy or write it again") from error
    recorded = texts.pop(_DIGEST, None)
    if recorded is not None and recorded != _digest(tensors, texts):
        raise FormatError(f"{path}: altered (its own hash differs); copy or write it again")
    return tensors, *read_metadata(texts, str(path), ours=recorded is not None)


def _digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """SHA-256 over every tensor and every text of the metadata: safetensors itself has no checksum."""
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _read_torch(path: Path) -> tuple[dict[str, Tensor], dict, list[str]]:
    try:
        if zipfile.is_zipfile(path):  # torch does not look at the checksums that are there
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
                    raise InputError(f"{path}: unpacks to more than {in_units(MAX_UNPACKED)}: no ResNet is as large")
                if damaged := archive.testzip():
                    raise FormatError(f"{path}: altered (the checksum of {damaged} differs); copy it again")
        # open, for of a path torch looks at the suffix; and without its words about pickles, which the error below says
        with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except FastradError:
        raise
    except Exception as error:  # torch raises whatever its unpickler and zip reader meet
        reason = str(error).split("\n", 1)[0].split(". ")[0] or type(error).__name__
        way_out = "save the model's state_dict() as safetensors"
        if foreign := re.search(r"GLOBAL ([\w.]+)", str(error)):  # for example the hyper_parameters of Lightning
            reason = f"it holds {foreign[1]}"
            way_out = "where the model was trained, save its state_dict alone: torch.save(model.state_dict(), FILE)"
        raise InputError(
            f"{path}: cannot be read as a state dict of tensors ({reason}); nothing else is unpickled; {way_out}"
        ) from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: holds a {type(loaded).__name__}, not a state dict; save the model's state_dict()")
    beside = getattr(loaded, "_metadata", None)  # torch's own place for what is no tensor
    texts = beside.get(_TEXTS) if isinstance(beside, dict) else None
    known = {key: text for key, text in (texts if isinstance(texts, dict) else {}).items() if isinstance(text, str)}
    return dict(loaded), *read_metadata(known, str(path), ours=False)


def with_metadata(state: Mapping[str, Tensor], metadata: Mapping[str, object]) -> OrderedDict[str, Tensor]:
    """A state dict for `torch.save` that takes metadata along, where a module's own keeps its versions.

    Returns
    -------
    OrderedDict
        Others load it like any state dict; `load_weights` finds the metadata.
    """
    kept = OrderedDict(state)
    kept._metadata = {_TEXTS: {key: json.dumps(value) for key, value in metadata.items()}}  # type: ignore[attr-defined]
    return kept


def _checked(origin: str, state: Mapping[str, object]) -> tuple[dict[str, Tensor], list[str]]:
    """Bring the names to torchvision's and compare every shape with those of the architecture that it looks like."""
    try:
        found = find_network(state)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error
    architecture = architecture_of(found.entries)
    expected, label = expected_shapes(architecture), architecture_label(architecture)
    behind = f" (read behind the prefix {found.prefix!r})" if found.prefix else ""
    checked: dict[str, Tensor] = {}
    heads: list[str] = []
    notices = [f"{origin}: {notice}" for notice in found.notices]
    for key, value in found.entries.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"{origin}: {found.in_file[key]} is a {type(value).__name__}, not a tensor; save the state_dict() alone"
            )
        shape = tuple(value.shape)
        if key not in expected and key.split(".")[0] in HEADS:
            heads.append(found.in_file[key])
            continue
        if key not in expected:
            raise InputError(
                f"{origin}: {found.in_file[key]} with shape {list(shape)} is not part of a {label}{behind}; "
                f"{_hint(key, shape, expected, found.entries)}"
            )
        wanted: Sequence[object] = expected[key]
        if key == STEM:
            wanted = (64, "1 or 3", 7, 7)
            fits = shape in ((64, 1, 7, 7), (64, 3, 7, 7))
        elif key in HEAD:
            wanted = ("classes", expected["fc.weight"][1]) if key == "fc.weight" else ("classes",)
            fits = len(shape) == len(wanted) and shape[1:] == tuple(wanted[1:]) and 0 < shape[0] <= MAX_CLASSES
        else:
            fits = shape == wanted
        if not fits:
            wanted_text = ", ".join(str(size) for size in wanted)
            raise InputError(
                f"{origin}: {key} has shape {list(shape)}, expected [{wanted_text}] of a {label}{behind}; "
                "give the weights of that network"
            )
        if key.endswith("num_batches_tracked"):
            checked[key] = value.long()
            continue
        if not value.is_floating_point() or value.layout != torch.strided:
            raise InputError(
                f"{origin}: {key} holds {_kind(value)}, not floating-point numbers; save the network unquantised"
            )
        tensor = value.detach().float()
        if not torch.isfinite(tensor).all():
            raise InputError(f"{origin}: {key} holds values that are not finite; these weights cannot be used")
        if key.endswith("running_var") and (tensor < 0).any():
            raise InputError(f"{origin}: {key} holds negative variances; these weights cannot be used")
        checked[key] = tensor
    missing = [key for key in expected if key not in checked and key not in HEAD and "num_batches" not in key]
    if missing:
        raise InputError(
            f"{origin}: {missing[0]} is missing (expected shape {list(expected[missing[0]])}; {len(missing)} missing "
            f"in all){behind}; give the weights of a whole {label}"
        )
    if any(key not in checked for key in HEAD):
        for key in HEAD:
            checked.pop(key, None)
        named = f" ({heads[0]}{', ...' if len(heads) > 1 else ''} left out)" if heads else ""
        notices.append(f"{origin} has no head in torchvision's form{named}: only the layers below it are used")
    elif heads:
        notices.append(f"{origin}: what stands beside the head is left out: {', '.join(heads[:3])}")
    return checked, notices


def _hint(
    key: str, shape: tuple[int, ...], expected: Mapping[str, tuple[int, ...]], names: Mapping[str, object]
) -> str:
    if re.fullmatch(r"conv1\.\d+\..*", key):
        return "a stem of several convolutions (timm's resnet18d and the like) is another network: give one without"
    return f"{nearest_name(key, shape, expected, names)}; give weights under torchvision's names"


def _kind(value: Tensor) -> str:
    return str(value.dtype if value.layout == torch.strided else value.layout).removeprefix("torch.")


def fold_stem(state: Mapping[str, Tensor], trained: Normalisation | None, fed: Normalisation) -> dict[str, Tensor]:
    """Rewrite a stem for images that come normalised in another way, or with one channel instead of three.

    With pixels g in [0, 1] the stem was trained on (g - m_c) / s_c and will be fed y = (g - m) / s. Then
    (g - m_c) / s_c = (s / s_c) y + (m - m_c) / s_c: the factor goes into the stem's weights, whose channels are summed
    for replicated gray, and the constant, which the convolution turns into one offset a filter, into the running mean
    of the batch normalisation behind it. This is exact for one mean and std on both sides (the plain sum over RGB) and,
    with different ones, exact except where a filter reaches over the image's border, where zero padding stands for
    the mean gray of either normalisation.

    Parameters
    ----------
    state : mapping of str to tensor
        A ResNet's state dict with one or three input channels.
    trained : Normalisation or None
        What the weights were trained with; None takes the stem's plain sum.
    fed : Normalisation
        What the model will be fed: one channel.

    Returns
    -------
    dict of str to tensor
        The same with a one-channel stem.

    Raises
    ------
    InputError
        If `trained` is of another number of channels than the stem.
    """
    folded = dict(state)
    stem = folded[STEM].double()
    if trained is None:
        folded[STEM] = stem.sum(1, keepdim=True).float()
        return folded
    channels = stem.shape[1]
    if len(trained.mean) not in (1, channels) or len(trained.std) not in (1, channels):
        raise InputError(
            f"the weights' normalisation has {len(trained.mean)} means and {len(trained.std)} SDs for {channels} input "
            "channels: their metadata is not of these weights"
        )
    means = torch.tensor(trained.mean, dtype=torch.float64).expand(channels).view(1, -1, 1, 1)
    stds = torch.tensor(trained.std, dtype=torch.float64).expand(channels).view(1, -1, 1, 1)
    folded[STEM] = (stem * (fed.std[0] / stds)).sum(1, keepdim=True).float()
    offset = (stem * ((fed.mean[0] - means) / stds)).sum((1, 2, 3))
    folded["bn1.running_mean"] = (folded["bn1.running_mean"].double() - offset).float()
    return folded


def initialise(
    model: nn.Module,
    weights: Weights,
    *,
    normalisation: Normalisation | None = None,
    classes: Sequence[str] | None = None,
) -> bool:
    """Start a one-channel ResNet from weights; the head stays fresh unless it is known to be for the same classes.

    Parameters
    ----------
    model : nn.Module
        From `resnet18(num_classes)`, or `resnet(weights.architecture, num_classes)`; changed in place.
    weights : Weights
    normalisation : Normalisation, optional
        What the model will be fed; with it the stem is rewritten from the normalisation in the weights' metadata (see
        `fold_stem`), without it the stem is the plain sum over the input channels.
    classes : sequence of str, optional
        The model's classes; the head is kept only if the weights' metadata names the same ones in the same order.

    Returns
    -------
    bool
        True where the head was kept.

    Raises
    ------
    InputError
        If the weights are another architecture's.
    """
    found = architecture_of(model.state_dict())
    if found != weights.architecture:
        raise InputError(
            f"the weights are a {architecture_label(weights.architecture)}'s, the network is a "
            f"{architecture_label(found)}; give weights of the same network"
        )
    trained = weights.normalisation if normalisation is not None else None
    state = fold_stem(weights.state, trained, normalisation or Normalisation.gray(0, 1))
    keep = (
        classes is not None
        and HEAD[0] in state
        and list(classes) == weights.metadata.get("classes")
        and state[HEAD[0]].shape[0] == len(classes)
    )
    if not keep:
        state = {key: value for key, value in state.items() if key not in HEAD}
    model.load_state_dict(state, strict=False)
    return keep


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
    """Write weights as safetensors under a temporary name, fsynced and renamed: a path that exists is complete.

    Parameters
    ----------
    path : Path
    state : mapping of str to tensor
        torchvision's names.
    metadata : mapping of str to JSON values
        Stored as one JSON text a key, beside a SHA-256 over everything, which `load_weights` compares.
    """
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    write_atomically(path, save(tensors, {**texts, _DIGEST: _digest(tensors, texts)}))
