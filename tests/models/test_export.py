from __future__ import annotations

import json

import pytest
import torch

from fastrad.errors import FastradError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models.export import export
from fastrad.models.resnet import resnet18
from fastrad.models.weights import initialise, load_weights, save_weights

CLASSES = ["abdomen", "head", "thyroid"]
NORMALISATION = Normalisation.gray(0.2, 0.3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights with the metadata of a run, and statistics that are not the initial ones."""
    torch.manual_seed(0)
    model = resnet18(3)
    with torch.no_grad():
        model(torch.randn(8, 1, 32, 32))
    row = {"epoch": 1, "val_classes_absent": 1}
    names = ("macro_auroc", "micro_auroc", "top1", "top5", "balanced_accuracy", "loss")
    metadata = {
        "normalisation": {"mean": list(NORMALISATION.mean), "std": list(NORMALISATION.std)},
        "size": 32,
        "classes": CLASSES,
        "card_sha256": "ab" * 32,
        "dataset": {"layout": "radimagenet", "split": "train", "samples": 77},
        "synthetic": False,
        "metrics": row | {f"val_{name}": 0.5 for name in names},
        "recipe": {"epochs": 2, "batch_size": 16, "lr": 0.2, "label_smoothing": 0.1},
        "seed": 0,
        "precision": "float32",
        "fastrad": "0",
    }
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(path, model.state_dict(), metadata)
    return path


def _expected(trained, pixels):
    model = resnet18(3).eval()
    initialise(model, load_weights(trained), classes=CLASSES)
    with torch.no_grad():
        return model(NORMALISATION.apply(pixels))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_and_timm_files_give_the_same_outputs_on_repeated_gray(trained, tmp_path, suffix):
    from safetensors.torch import load_file
    from torchvision.models import resnet18 as torchvision_resnet18

    out = tmp_path / f"exported{suffix}"
    export(trained, "torchvision", out)
    state = torch.load(out, weights_only=True) if suffix == ".pth" else load_file(out)
    other = torchvision_resnet18(num_classes=3).eval()
    other.load_state_dict(state)
    pixels = torch.randint(0, 256, (2, 1, 40, 40), dtype=torch.uint8)
    with torch.no_grad():
        found = other(NORMALISATION.apply(pixels).expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, _expected(trained, pixels), rtol=1e-3, atol=1e-3)
    again = resnet18(3).eval()
    initialise(again, load_weights(out))
    torch.testing.assert_close(again.conv1.weight, load_weights(trained).state["conv1.weight"], rtol=1e-5, atol=1e-6)
    card = (tmp_path / (out.name + ".md")).read_text()
    assert all(word in card for word in ("`thyroid`", "data agreement", "0.200000", "77 images", "macro AUROC"))


def test_timm_loads_what_is_exported_for_it(trained, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed (pip install 'fastrad[export]')")
    export(trained, "timm", tmp_path / "a.safetensors")
    model = timm.create_model("resnet18", num_classes=3, checkpoint_path=str(tmp_path / "a.safetensors")).eval()
    pixels = torch.randint(0, 256, (2, 1, 40, 40), dtype=torch.uint8)
    with torch.no_grad():
        found = model(NORMALISATION.apply(pixels).expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, _expected(trained, pixels), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_onnx_takes_pixels_of_any_batch_size(trained, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    export(trained, "onnx", tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    pixels = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    found = torch.from_numpy(session.run(None, {"images": pixels.numpy()})[0])
    torch.testing.assert_close(found, _expected(trained, pixels), rtol=1e-3, atol=1e-3)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == CLASSES
    assert b"export.py" not in (tmp_path / "a.onnx").read_bytes(), "no path of this machine"


def test_what_is_no_pretrained_file_or_has_the_wrong_suffix_is_one_line(trained, tmp_path):
    save_weights(tmp_path / "bare.safetensors", resnet18(3).state_dict(), {})
    with pytest.raises(FastradError, match="not weights of `fastrad pretrain`"):
        export(tmp_path / "bare.safetensors", "torchvision", tmp_path / "a.pth")
    with pytest.raises(FastradError, match=r"ends in \.onnx"):
        export(trained, "onnx", tmp_path / "a.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.safetensors"]


def test_the_weights_themselves_are_not_replaced(trained):
    before = trained.read_bytes()
    with pytest.raises(FastradError, match="is read by this command"):
        export(trained, "torchvision", trained)
    assert trained.read_bytes() == before
