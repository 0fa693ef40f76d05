"""`predict` gives a pretrained network's probabilities a class, of datasets and of files alike."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import torch
from small_studies import weights_by_chance
from torchvision.models import resnet18 as torchvision_resnet18

from fastrad.cli import main
from fastrad.dataset import write_beton
from fastrad.dataset.fingerprints import to_bytes, write_beside
from fastrad.dataset.opening import open_dataset
from fastrad.dataset.pixels import stored_digests
from fastrad.errors import FormatError, InputError
from fastrad.models.resnet import resnet18
from fastrad.models.seen import KEY
from fastrad.models.weights import load_weights, save_weights
from fastrad.study.networks.predict import predict

CLASSES = ["thyroid, nodule", "=1+1", "carotis"]
ABOUT = {
    "normalisation": {"mean": [0.3], "std": [0.2]},
    "size": 32,
    "classes": CLASSES,
    "recipe": {"flip_average": False},
    "parameters": {"size": 48, "fit": "squash", "window": None, "encode": "raw"},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six images of 48 px, of which the network `w.safetensors` knows the first three."""
    folder = tmp_path_factory.mktemp("pretrained")
    images = np.random.default_rng(3).integers(0, 256, (6, 48, 48), dtype=np.uint8)
    cells = {"classes": ["a", "b"], "patient_names": [f"p{index}" for index in range(6)]}
    write_beton(folder / "six.beton", images, [0, 1] * 3, np.arange(6), **cells)
    write_beton(folder / "three.beton", images[:3], [0, 1, 0])
    known = to_bytes(stored_digests(open_dataset(folder / "three.beton"))[1])
    seen = [write_beside(known, "three", 3, folder).to_json()]
    write_network(folder / "w.safetensors", **{KEY: seen})
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


def write_network(path, seed: int = 0, **metadata):
    torch.manual_seed(seed)
    model = resnet18(3)
    with torch.no_grad():
        model(torch.randn(8, 1, 32, 32))  # statistics that are not the initial ones
        model.fc.weight *= 20
    save_weights(path, model.state_dict(), {**ABOUT, **metadata})
    return path


def logits_of(path, pixels: np.ndarray) -> torch.Tensor:
    """Of images that are 32 x 32 already, by torchvision's network and the normalisation by hand."""
    model = torchvision_resnet18(num_classes=3)
    model.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    model.load_state_dict(load_weights(path).state)
    with torch.no_grad():
        return model.eval()(((torch.from_numpy(pixels)[:, None] / 255) - 0.3) / 0.2).double()


def columns_of(table) -> np.ndarray:
    return table[[f"probability_{name}" for name in CLASSES]].to_numpy()


def test_probabilities_are_the_softmax_of_torchvisions_logits(tmp_path):
    images = np.random.default_rng(5).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    write_beton(tmp_path / "d.beton", images, [0, 1, 0, 1, 0], classes=["a", "b"])
    first, second = (write_network(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    table = predict([first], tmp_path / "d.beton", "cpu")
    expected = logits_of(first, images).softmax(1).numpy()
    assert columns_of(table) == pytest.approx(expected, abs=1e-5)
    assert table["top"].tolist() == [CLASSES[index] for index in expected.argmax(1)]
    assert table["top_probability"].to_numpy() == pytest.approx(expected.max(1), abs=1e-5)
    assert len(set(table["top"])) > 1, "or the test could not fail"
    mean = (logits_of(first, images) + logits_of(second, images)) / 2
    both = predict([first, second], tmp_path / "d.beton", "cpu")
    assert columns_of(both) == pytest.approx(mean.softmax(1).numpy(), abs=1e-5)
    assert set(both["networks"]) == {2}


def test_a_recipe_that_averages_mirrored_images_is_scored_so(tmp_path):
    images = np.random.default_rng(6).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    write_beton(tmp_path / "d.beton", images, [0, 1])
    path = write_network(tmp_path / "w.safetensors", recipe={"flip_average": True})
    both = (logits_of(path, images) + logits_of(path, images[:, :, ::-1].copy())) / 2
    assert columns_of(predict([path], tmp_path / "d.beton", "cpu")) == pytest.approx(both.softmax(1).numpy(), abs=1e-5)


def test_files_and_dataset_agree_and_what_was_seen_is_marked(root, tmp_path, capsys):
    of_dataset = predict([root / "w.safetensors"], root / "six.beton", "cpu")
    assert of_dataset["seen"].tolist() == ["yes"] * 3 + ["no"] * 3
    assert "3 of 6 images were seen in training" in capsys.readouterr().err
    assert of_dataset["label"].tolist() == ["a", "b"] * 3  # of classes that the network need not know
    for name in range(2, 5):
        (tmp_path / f"{name}.png").write_bytes((root / f"{name}.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no image")
    of_files = predict([root / "w.safetensors"], tmp_path, "cpu").set_index("path")
    assert np.array_equal(columns_of(of_files.loc[["2.png", "3.png", "4.png"]]), columns_of(of_dataset[2:5]))
    assert of_files["seen"].to_dict() == {"2.png": "yes", "3.png": "no", "4.png": "no", "broken.png": ""}
    assert np.isnan(columns_of(of_files.loc[["broken.png"]])).all()
    assert of_files.loc["broken.png", "top"] == ""
    assert of_files.loc["broken.png", "reason"]


def test_the_table_is_safe_in_a_spreadsheet(root, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(root / "w.safetensors"), str(root / "six.beton"), "--out", str(tmp_path / "t.csv")])
    assert not ended.value.code
    assert "6 images scored by 1 network" in capsys.readouterr().out
    with open(tmp_path / "t.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0])[-3:] == [f"probability_{name}" for name in CLASSES]
    assert {line["top"] for line in lines} <= {"thyroid, nodule", "'=1+1", "carotis"}
    assert [line["patient"] for line in lines] == [f"p{index}" for index in range(6)]


def test_weights_of_an_earlier_version_are_read_as_convert_does_by_default(root, tmp_path, capsys):
    weights = load_weights(root / "w.safetensors")
    about = {key: value for key, value in weights.metadata.items() if key not in ("parameters", KEY)}
    save_weights(tmp_path / "old.safetensors", weights.state, about)
    table = predict([tmp_path / "old.safetensors"], root / "0.png", "cpu")
    assert columns_of(table).sum() == pytest.approx(1)
    assert table["seen"].tolist() == ["unknown"]
    said = capsys.readouterr().err
    assert "do not say how their images were converted; files are read as `convert --size 32`" in said


def test_cropped_images_are_not_scored_from_whole_frames(root, tmp_path):
    path = write_network(tmp_path / "w.safetensors", source_options={"crop": "nodule"})
    with pytest.raises(InputError, match="that the network learned from were cropped"):
        predict([path], root / "0.png", "cpu")


def test_networks_that_do_not_belong_together_are_refused(root, finished, tmp_path):
    tuned = finished.runs / finished.networks[0].name / "weights.safetensors"
    with pytest.raises(InputError, match="a study's and pretrained ones"):
        predict([root / "w.safetensors", tuned], root / "six.beton", "cpu")
    other = write_network(tmp_path / "o.safetensors", classes=CLASSES[::-1])
    with pytest.raises(InputError, match="in another order"):
        predict([root / "w.safetensors", other], root / "six.beton", "cpu")
    twice = write_network(tmp_path / "t.safetensors", classes=["a", "a", "b"])
    with pytest.raises(InputError, match="two of its classes have one name"):
        predict([twice], root / "six.beton", "cpu")
    with pytest.raises(InputError, match="not a network of a study, nor a pretrained one"):
        predict([weights_by_chance(tmp_path / "w.pth")], root / "six.beton", "cpu")
    odd = write_network(tmp_path / "p.safetensors", parameters={"size": "large"})
    with pytest.raises(FormatError, match=r"p\.safetensors"):
        predict([odd], root / "six.beton", "cpu")


@pytest.mark.parametrize(("aspect", "same"), [("header", False), ("ignore", True)])
def test_pixels_that_are_not_square_are_treated_as_they_were_in_the_conversion(tmp_path, aspect, same):
    from PIL import Image

    gray = np.random.default_rng(8).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "square.tif")
    Image.fromarray(gray).save(tmp_path / "wide.tif", dpi=(100, 200))
    parameters = {**ABOUT["parameters"], "fit": "pad", "pixel_aspect": aspect}
    path = write_network(tmp_path / "w.safetensors", parameters=parameters)
    wide, square = (columns_of(predict([path], tmp_path / f"{name}.tif", "cpu")) for name in ("wide", "square"))
    assert np.array_equal(wide, square) == same
