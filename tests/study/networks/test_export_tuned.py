"""A study's network exported gives the study's own scores elsewhere, and says what it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit
from torchvision.models import resnet18 as torchvision_resnet18

from fastrad.errors import FastradError
from fastrad.models.export import export
from fastrad.models.seen import read_seen
from fastrad.models.weights import load_weights, save_weights
from fastrad.study.networks.predict import predict


@pytest.fixture
def network(finished):
    return finished.runs / finished.networks[0].name / "weights.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("flip_average", [True, False])
def test_onnx_gives_the_scores_of_predict_from_pixels_alone(finished, network, tmp_path, flip_average):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = load_weights(network)
    save_weights(tmp_path / "w.safetensors", weights.state, {**weights.metadata, "flip_average": flip_average})
    (tmp_path / "out").mkdir()
    export(tmp_path / "w.safetensors", "onnx", tmp_path / "out" / "a.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "a.onnx"), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["malignant_logit"]
    dataset = finished.protocol.dataset
    pixels = np.stack([dataset.dataset.decode(index) for index in range(10)])[:, None]
    found = session.run(None, {"images": pixels})[0]
    table = predict([tmp_path / "w.safetensors"], dataset.path, "cpu")[:10]
    assert found[:, 0] == pytest.approx(table["score"].to_numpy(), abs=1e-4)
    assert expit(found[:, 0]) == pytest.approx(table["probability"].to_numpy(), abs=1e-4)

    content = onnx.load(tmp_path / "out" / "a.onnx")
    said = {each.key: json.loads(each.value) for each in content.metadata_props}
    assert said["positive"] == "malignant"
    assert said["negatives"] == ["benign"]
    assert said["architecture"] == "resnet18, one channel"
    assert said["seen_images"] == weights.metadata["seen_images"]
    assert said["normalisation"] == weights.metadata["normalisation"]
    assert b"export.py" not in (tmp_path / "out" / "a.onnx").read_bytes(), "no path of this machine"


def test_a_card_and_the_fingerprints_go_along(finished, network, tmp_path):
    assert export(network, "torchvision", tmp_path / "a.pth") < 1e-3
    model = torchvision_resnet18(num_classes=1).eval()
    model.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True))
    mean, std = (load_weights(network).metadata["normalisation"][name][0] for name in ("mean", "std"))
    pixels = torch.from_numpy(np.stack([finished.protocol.dataset.dataset.decode(index) for index in range(4)]))[
        :, None
    ]
    inputs = ((pixels / 255 - mean) / std).expand(-1, 3, -1, -1)
    with torch.no_grad():
        found = (model(inputs) + model(inputs.flip(-1)))[:, 0] / 2
    score = predict([network], finished.protocol.dataset.path, "cpu")["score"][:4]
    assert load_weights(network).metadata["flip_average"]
    assert found.numpy() == pytest.approx(score.to_numpy(), abs=1e-3)
    seen = read_seen(load_weights(tmp_path / "a.pth"), "a.pth")
    assert seen.images == read_seen(load_weights(network), "w").images > 0
    assert not seen.missing
    card = (tmp_path / "a.pth.md").read_text()
    assert card.startswith("# ResNet-18, one logit: `malignant` against `benign`, 32 px")
    assert "arm `none`" in card
    assert "means over an image and its mirror image" in card


def test_a_network_of_an_earlier_version_has_a_card_without_the_other_class(network, tmp_path):
    weights = load_weights(network)
    about = {key: value for key, value in weights.metadata.items() if key != "negatives"}
    save_weights(tmp_path / "w.safetensors", weights.state, about)
    export(tmp_path / "w.safetensors", "torchvision", tmp_path / "a.pth")
    assert (tmp_path / "a.pth.md").read_text().startswith("# ResNet-18, one logit: `malignant`, 32 px")


def test_a_network_without_its_head_is_refused(network, tmp_path):
    weights = load_weights(network)
    state = {key: value for key, value in weights.state.items() if not key.startswith("fc.")}
    save_weights(tmp_path / "w.safetensors", state, weights.metadata)
    with pytest.raises(FastradError, match="nor a network of a study"):
        export(tmp_path / "w.safetensors", "torchvision", tmp_path / "a.pth")
    assert not (tmp_path / "a.pth").exists()
