"""Weights for other programs: torchvision, timm and ONNX, each checked against the original's outputs.

A model card is written beside each file.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastrad.errors import InputError, MissingDependencyError, OptionError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models import TARGETS
from fastrad.models.card import model_card
from fastrad.models.metadata import Pretrained, as_written
from fastrad.models.resnet import HEAD, STEM, resnet
from fastrad.models.seen import hand_seen_on
from fastrad.models.weights import Weights, initialise, load_weights, save_weights, with_metadata
from fastrad.system.files import refuse_to_replace, write_atomically

TOLERANCE = 1e-3  # of the largest logit
_SUFFIXES = {"torchvision": (".pth", ".safetensors"), "timm": (".safetensors", ".pth"), "onnx": (".onnx",)}
_RGB_NOTE = "Three equal channels: the gray image repeated; the three stem filters are a third of the one-channel one."
_ONNX_NOTE = "`images`, uint8, N x 1 x H x W: gray pixels as they are, the normalisation is in the graph."


def export(source: Path, target: str, out: Path) -> float:
    """Write the weights in `source` for another program, and compare outputs on noise and on flat images.

    Parameters
    ----------
    source : Path
        Weights with a head, a normalisation and a card, as `fastrad pretrain` writes them.
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
    needed = ("normalisation", "classes", "metrics", "dataset", "recipe")
    missing = [name for name in needed if name not in weights.metadata]
    if missing or HEAD[0] not in weights.state or weights.channels != 1:
        raise InputError(f"{source}: not weights of `fastrad pretrain` ({', '.join(missing) or 'stem or head differ'})")
    as_written(weights.metadata, Pretrained, str(source))
    normalisation = weights.normalisation
    assert normalisation is not None
    model = resnet(weights.architecture, len(weights.metadata["classes"])).eval()
    initialise(model, weights, classes=weights.metadata["classes"])
    images = _probe(int(weights.metadata["size"]))
    with torch.no_grad():
        expected = model(normalisation.apply(images))
    out.parent.mkdir(parents=True, exist_ok=True)
    if target == "onnx":
        content, found = _onnx(model, normalisation, images)
        error = _difference(found, expected, out)
        write_atomically(out, content)
    else:
        state = rgb_state(weights)
        error = _difference(_outputs(target, weights.architecture, state, normalisation.apply(images)), expected, out)
        hand_seen_on(weights, out.parent)
        rgb = {"mean": [normalisation.mean[0]] * 3, "std": [normalisation.std[0]] * 3}
        metadata = {**weights.metadata, "normalisation": rgb}
        if out.suffix == ".pth":
            buffer = io.BytesIO()
            torch.save(with_metadata(state, metadata), buffer)
            write_atomically(out, buffer.getvalue())
        else:
            save_weights(out, state, metadata)
    note = _ONNX_NOTE if target == "onnx" else _RGB_NOTE
    write_atomically(out.with_name(out.name + ".md"), model_card(weights.metadata, note).encode())
    return error


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


def _onnx(model: nn.Module, normalisation: Normalisation, images: Tensor) -> tuple[bytes, Tensor]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _require(package, "export to ONNX")
    import onnxruntime

    network = _FromPixels(model.to(memory_format=torch.contiguous_format), normalisation).eval()
    program: Any = torch.onnx.export(
        network,
        (images,),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    buffer = io.BytesIO()
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    return buffer.getvalue(), torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


class _FromPixels(nn.Module):
    """The network with its normalisation in front."""

    def __init__(self, model: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.model, self.normalisation = model, normalisation

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.normalisation.apply(images))


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
