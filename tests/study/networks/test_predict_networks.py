"""`predict` gives a study's own scores, of datasets and of files alike, and takes networks of studies alone."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from small_studies import weights_by_chance

from fastrad.errors import InputError
from fastrad.models.weights import load_weights, save_weights
from fastrad.study.networks.predict import predict


@pytest.fixture
def network(finished):
    return finished.runs / finished.networks[0].name / "weights.safetensors"


@pytest.fixture
def expected(finished):
    """Scores of the held-out images, by row, as the study wrote them."""
    table = pd.read_csv(finished.runs / finished.networks[0].name / "predictions.csv")
    return table[table["set"] == "test"].set_index("row")["score"]


def test_a_dataset_gets_the_studys_scores(finished, network, expected):
    table = predict([network], finished.protocol.dataset.path, "cpu").set_index("row")
    assert len(table) == 48
    assert np.array_equal(table.loc[expected.index, "score"], expected)
    assert table["probability"].to_numpy() == pytest.approx(expit(table["score"]))
    assert table.loc[0, ["patient", "label", "networks"]].tolist() == ["p0", "benign", 1]


def test_several_networks_are_averaged(finished, network):
    paths = [finished.runs / each.name / "weights.safetensors" for each in finished.networks]
    alone = [predict([path], finished.protocol.dataset.path, "cpu")["score"] for path in paths]
    both = predict(paths, finished.protocol.dataset.path, "cpu")
    assert both["score"].to_numpy() == pytest.approx(np.mean(alone, axis=0))
    assert set(both["networks"]) == {2}


def test_networks_of_several_arms_are_not(finished, network, tmp_path):
    weights = load_weights(network)
    save_weights(tmp_path / "other.safetensors", weights.state, {**weights.metadata, "arm": "imagenet"})
    with pytest.raises(InputError, match=r"several arms \(imagenet, none\)"):
        predict([network, tmp_path / "other.safetensors"], finished.protocol.dataset.path, "cpu")


def test_weights_of_no_study_are_refused(finished, tmp_path):
    with pytest.raises(InputError, match="is not a network of a study, nor a pretrained one"):
        predict([weights_by_chance(tmp_path / "w.pth")], finished.protocol.dataset.path, "cpu")


def test_files_get_the_scores_of_the_dataset_and_broken_ones_a_reason(finished, network, expected, tmp_path):
    dataset = finished.protocol.dataset.dataset
    for row in expected.index[:3]:
        cv2.imwrite(str(tmp_path / f"{row}.png"), dataset.decode(int(row)))
    (tmp_path / "broken.png").write_bytes(b"no image")
    table = predict([network], tmp_path, "cpu").set_index("path")
    for row in expected.index[:3]:
        assert table.loc[f"{row}.png", "score"] == expected[row]
        assert table.loc[f"{row}.png", "reason"] == ""
    assert np.isnan(table.loc["broken.png", "score"])
    assert table.loc["broken.png", "reason"]
    one = predict([network], tmp_path / f"{expected.index[0]}.png", "cpu")
    assert one["score"].tolist() == [expected.iloc[0]]


def test_images_that_trained_or_chose_a_network_are_marked_at_any_size(finished, network, expected, tmp_path, capsys):
    dataset = finished.protocol.dataset.dataset
    table = predict([network], finished.protocol.dataset.path, "cpu").set_index("row")
    developed = [row for row in range(48) if row not in expected.index]
    assert set(table.loc[developed, "seen"]) == {"yes"}
    assert set(table.loc[expected.index, "seen"]) == {"no"}
    said = (
        f"notice: {len(developed)} of 48 images were seen in training, or chose the networks: their scores are no test"
    )
    assert said in capsys.readouterr().err
    for row in (developed[0], expected.index[0]):
        large = cv2.resize(dataset.decode(int(row)), (100, 128), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / f"{row}.png"), large)
    files = predict([network], tmp_path, "cpu").set_index("path")["seen"]
    assert files[f"{developed[0]}.png"] == "yes"
    assert files[f"{expected.index[0]}.png"] == "no"


def test_without_the_file_of_what_it_has_seen_nothing_is_called_new(finished, network, tmp_path, capsys):
    alone = tmp_path / "another" / "study" / "alone" / "weights.safetensors"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(network.read_bytes())
    assert set(predict([alone], finished.protocol.dataset.path, "cpu")["seen"]) == {"unknown"}
    assert "is not beside it: copy it there" in capsys.readouterr().err


def test_a_folder_without_images_is_refused(network, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds no image"):
        predict([network], tmp_path, "cpu")
    with pytest.raises(InputError, match="no such file or folder"):
        predict([network], tmp_path / "nowhere", "cpu")


def test_a_folder_of_dataset_files_is_not_searched_for_pictures(finished, network, tmp_path):
    (tmp_path / "samples").mkdir()
    cv2.imwrite(str(tmp_path / "samples" / "1.png"), finished.protocol.dataset.dataset.decode(0))
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.beton").symlink_to(finished.protocol.dataset.path)
    with pytest.raises(InputError, match=r"holds dataset files, test\.beton, train\.beton, val\.beton, and no all"):
        predict([network], tmp_path, "cpu")
