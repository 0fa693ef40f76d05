"""Weights that somebody prepared: the cache of torchvision's file, archives that unpack without end, huge heads."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
import torch

from fastrad.errors import FastradError, FormatError, InputError
from fastrad.models.resnet import resnet18
from fastrad.models.weights import load_weights, save_weights


def test_a_file_in_torchs_cache_is_torchvisions_or_refused(tmp_path, monkeypatch):
    """Random weights under the published name, whose end is the beginning of its SHA-256."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir()
    torch.save(resnet18(1000).state_dict(), path)
    assert not hashlib.sha256(path.read_bytes()).hexdigest().startswith("f37072fd")
    with pytest.raises(FormatError, match=r"resnet18-f37072fd\.pth: is not the file that torchvision publishes"):
        load_weights("torchvision")


def test_an_archive_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "w.pth"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("w/data/0", "w", force_zip64=True) as data,
    ):
        for _ in range(5 << 3):
            data.write(bytes(1 << 27))
    assert path.stat().st_size < 10 << 20
    with pytest.raises(InputError, match=r"unpacks to more than 4\.29 GB"):
        load_weights(path)


def test_a_head_that_is_one_number_a_thousand_million_times_is_refused(tmp_path):
    state = resnet18(3).state_dict()
    state["fc.weight"] = torch.zeros(1, 512).expand(10**9, 512)
    state["fc.bias"] = torch.zeros(1).expand(10**9)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match="has shape"):
        load_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "metadata",
    [
        {"normalisation": {"mean": [0.5], "std": [0.0]}},
        {"normalisation": {"mean": [0.5, 0.5], "std": [1.0, 1.0]}},
        {"normalisation": {"mean": "0.5", "std": [1.0]}},
        {"normalisation": {"mean": [float("nan")], "std": [1.0]}},
        {"normalisation": []},
        {"size": 10**400},
        {"size": 0},
        {"classes": {"a": 1}},
        {"classes": ["a", 5]},
        {"metrics": {"epoch": "x"}},
        {"flip_average": "yes"},
    ],
    ids=str,
)
def test_metadata_of_ours_is_what_we_write_and_others_are_left_out(tmp_path: Path, metadata):
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in resnet18(3).state_dict().items()}
    save_weights(tmp_path / "ours.safetensors", state, metadata)
    with pytest.raises(FastradError, match=r"ours\.safetensors") as refused:
        load_weights(tmp_path / "ours.safetensors")
    assert "\n" not in str(refused.value)
    save_file(state, tmp_path / "other.safetensors", {key: json.dumps(value) for key, value in metadata.items()})
    weights = load_weights(tmp_path / "other.safetensors")
    assert weights.metadata == {}
    assert weights.normalisation is None
    assert any("left out" in notice for notice in weights.notices)


def test_metrics_that_are_not_finite_are_read(tmp_path):
    """They were written so: AUROC is not defined where a class has no validation image."""
    save_weights(tmp_path / "w.safetensors", resnet18(3).state_dict(), {"metrics": {"epoch": 1, "val": float("nan")}})
    assert load_weights(tmp_path / "w.safetensors").metadata["metrics"]["epoch"] == 1


def test_a_checkpoint_that_unpacks_without_end_is_refused(tmp_path):
    from fastrad.train.checkpoint import MAGIC, read_checkpoint

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/0", bytes(1 << 26))
    path = tmp_path / "step-000000001.ckpt"
    path.write_bytes(MAGIC + hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    with pytest.raises(FormatError, match="something other than tensors"):
        read_checkpoint(path)
