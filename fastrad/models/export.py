"""Weights for other programs: torchvision, timm and ONNX, each checked against the original's outputs.

In: a pretrained network, or a tuned one of a study. Out: the file, a model card beside it, and the fingerprints of the
images that the network has seen.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastrad.errors import InputError, MissingDependencyError, OptionError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models import TARGETS
from fastrad.models.card import model_card, tuned_card
from fastrad.models.metadata import Pretrained, Tuned, as_written
from fastrad.models.resnet import HEAD, STEM, resnet
from fastrad.models.seen import hand_seen_on
from fastrad.models.weights import Weights, initialise, load_weights, save_weights, with_metadata
from fastrad.system.files import refuse_to_replace, write_atomically

TOLERANCE = 1e-3  # of the largest logit
_SUFFIXES = {"torchvision": (".pth", ".safetensors"), "timm": (".safetensors", ".pth"), "onnx": (".onnx",)}
_RGB_NOTE = "Three equal channels: the gray image repeated; the three stem filters are a third of the one-channel one."
_ONNX_NOTE = "`images`, uint8, N x 1 x {size} x {size}: gray pixels as they are, the normalisation is in the graph."
_ONNX_MIRRORED = " So is the mean over an image and its mirror image."


@dataclass(frozen=True)
class _Original:
    """A network that is to be exported.

    Attributes
    ----------
    model : nn.Module
        Evaluation mode.
    normalisation : Normalisation
    size : int
    flip_average : bool
        Whether fastrad averages its logits over an image and its mirror image.
    outputs : str
        What its outputs are called in a graph.
    tuned : bool
        Whether it is a study's.
    """

    model: nn.Module
    normalisation: Normalisation
    size: int
    flip_average: bool
    outputs: str
    tuned: bool


def export(source: Path, target: str, out: Path) -> float:
    """Write the weights in `source` for another program, and compare outputs on noise and on flat images.

    Parameters
    ----------
    source : Path
        Weights with a head, as `fastrad pretrain` writes them, or a network of a study, whose one output is the logit
        of its positive class.
    target : str
        One of `fastrad.models.TARGETS`.
    out : Path
        Its suffix says the form: `.pth` or `.safetensors` (torchvision, timm), `.onnx`.

    Returns
    -------
    float
        The largest difference of a logit from the original's, relative to the largest logit.

    Raises
    ------
    InputError
        If the weights lack what is needed, the suffix does not fit, or the outputs differ.
    MissingDependencyError
        If `timm`, or `onnx` and `onnxscript`, are not installed.
    """
    if target not in TARGETS:
        raise InputError(f"export target {target!r} is none of {', '.join(TARGETS)}")
    if out.suffix not in _SUFFIXES[target]:
        raise OptionError(f"{out}: a file for {target} ends in {' or '.join(_SUFFIXES[target])}")
    refuse_to_replace(out, source)
    weights = load_weights(source)
    original = _original(weights, source)
    normalisation, images = original.normalisation, _probe(original.size)
    out.parent.mkdir(parents=True, exist_ok=True)
    if target == "onnx":
        content, error = _onnx(original, images, weights, out)
        write_atomically(out, content)
        note = _ONNX_NOTE.format(size=original.size) + (_ONNX_MIRRORED if original.flip_average else "")
        note += f" Out: `{original.outputs}`, float32, N x {len(weights.state[HEAD[1]])}."
    else:
        state, note = rgb_state(weights), _RGB_NOTE
        with torch.no_grad():
            expected = original.model(normalisation.apply(images))
        error = _difference(_outputs(target, weights.architecture, state, normalisation.apply(images)), expected, out)
        rgb = {"mean": [normalisation.mean[0]] * 3, "std": [normalisation.std[0]] * 3}
        metadata = {**weights.metadata, "normalisation": rgb}
        if out.suffix == ".pth":
            buffer = io.BytesIO()
            torch.save(with_metadata(state, metadata), buffer)
            write_atomically(out, buffer.getvalue())
        else:
            save_weights(out, state, metadata)
    hand_seen_on(weights, out.parent)
    about = {**weights.metadata, "architecture": weights.architecture}
    card = tuned_card(about, note) if original.tuned else model_card(about, note)
    write_atomically(out.with_name(out.name + ".md"), card.encode())
    return error


def _original(weights: Weights, source: Path) -> _Original:
    metadata = weights.metadata
    tuned = "arm" in metadata
    needed = (
        ("normalisation", "size", "flip_average", "parameters")
        if tuned
        else ("normalisation", "classes", "metrics", "dataset", "recipe")
    )
    missing = [name for name in needed if name not in metadata]
    outputs = 1 if tuned else len(metadata.get("classes", ()))
    if missing or HEAD[0] not in weights.state or weights.channels != 1 or len(weights.state[HEAD[1]]) != outputs:
        raise InputError(
            f"{source}: not weights of `fastrad pretrain`, nor a network of a study "
            f"({', '.join(missing) or 'stem or head differ'})"
        )
    as_written(metadata, Tuned if tuned else Pretrained, str(source))
    normalisation, size = weights.normalisation, int(metadata["size"])
    assert normalisation is not None
    model = resnet(weights.architecture, outputs).eval()
    if tuned:
        model.load_state_dict(weights.state)
        positive = str(metadata.get("positive") or "malignant")
        name = f"{re.sub(r'[^A-Za-z0-9_]', '_', positive)}_logit"
        return _Original(model, normalisation, size, bool(metadata["flip_average"]), name, True)
    initialise(model, weights, classes=metadata["classes"])
    return _Original(model, normalisation, size, bool(metadata["recipe"].get("flip_average")), "logits", False)


def rgb_state(weights: Weights) -> dict[str, Tensor]:
    """The state dict with a three-channel stem that gives the same output on a gray image repeated three times."""
    return {**weights.state, STEM: weights.state[STEM].repeat(1, 3, 1, 1) / 3}


def _probe(size: int) -> Tensor:
    noise = torch.randint(0, 256, (6, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, size, size)
    return torch.cat([noise, flat])


def _outputs(target: str, architecture: str, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    classes = len(state[HEAD[1]])
    if target == "torchvision":
        import torchvision.models

        other: nn.Module = getattr(torchvision.models, architecture)(weights=None, num_classes=classes)
    else:
        other = _require("timm", "export for timm").create_model(architecture, num_classes=classes)
    other.load_state_dict(state)
    with torch.no_grad():
        return other.eval()(inputs.expand(-1, 3, -1, -1))


def _onnx(original: _Original, images: Tensor, weights: Weights, out: Path) -> tuple[bytes, float]:
    """The graph with what the weights say of themselves, and the largest difference of an output."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _require(package, "export to ONNX")
    import onnxruntime

    network = _FromPixels(original).eval()
    with torch.no_grad():
        expected = network(images)
    program: Any = torch.onnx.export(
        network,
        (images,),
        input_names=["images"],
        output_names=[original.outputs],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    buffer = io.BytesIO()
    program.save(buffer)
    content = _described(
        buffer.getvalue(), {**weights.metadata, "architecture": f"{weights.architecture}, one channel"}
    )
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    return content, _difference(found, expected, out)


def _described(content: bytes, metadata: Mapping[str, object]) -> bytes:
    """A graph with the weights' metadata, one JSON text a key, and without the traces of the program that wrote it."""
    import onnx

    model = onnx.load_from_string(content)
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]  # they name files of this machine
        node.doc_string = ""
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    return model.SerializeToString()


class _FromPixels(nn.Module):
    """The network with its normalisation in front, and its mean over mirrored images behind: fastrad's own outputs."""

    def __init__(self, original: _Original) -> None:
        super().__init__()
        self.model = original.model.to(memory_format=torch.contiguous_format)
        self.normalisation, self.flip_average = original.normalisation, original.flip_average

    def forward(self, images: Tensor) -> Tensor:
        pixels = self.normalisation.apply(images)
        found = self.model(pixels)
        return (found + self.model(pixels.flip(-1))) / 2 if self.flip_average else found


def _require(package: str, purpose: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        raise MissingDependencyError(package, purpose, "pip install 'fastrad[export]'") from None


def _difference(found: Tensor, expected: Tensor, out: Path) -> float:
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    if not error < TOLERANCE:
        raise InputError(f"{out}: its outputs differ from the original's by {error:.2g} of the largest logit; not kept")
    return error
