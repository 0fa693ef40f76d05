from __future__ import annotations

import pickle

import pytest
import torch

from fastrad.errors import FormatError
from fastrad.train.checkpoint import newest_checkpoint, read_checkpoint, write_checkpoint

SETTINGS = {"epochs": 2, "train": "aa"}


def _write(folder, step, settings=None):
    content = {"settings": settings or SETTINGS, "step": step, "weights": torch.arange(5.0) + step}
    return write_checkpoint(folder, step, content)


def test_the_newest_comes_back_and_older_ones_go(tmp_path):
    for step in (3, 20, 100):
        _write(tmp_path, step)
    content, refused = newest_checkpoint(tmp_path, SETTINGS)
    assert refused == []
    assert content["step"] == 100
    assert torch.equal(content["weights"], torch.arange(5.0) + 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000020.ckpt", "step-000000100.ckpt"]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it_and_named(tmp_path, damage):
    _write(tmp_path, 1)
    newest = _write(tmp_path, 2)
    whole = newest.read_bytes()
    if damage == "flipped":
        middle = len(whole) // 2
        newest.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    else:
        newest.write_bytes(whole[: len(whole) // 2 if damage == "cut" else 0])
    content, refused = newest_checkpoint(tmp_path, SETTINGS)
    assert content["step"] == 1
    assert len(refused) == 1
    assert str(newest) in refused[0]


def test_a_checkpoint_of_another_dataset_is_passed_over(tmp_path):
    _write(tmp_path, 1)
    _write(tmp_path, 2, {"epochs": 2, "train": "bb"})
    content, refused = newest_checkpoint(tmp_path, SETTINGS)
    assert content["step"] == 1
    assert "another dataset" in refused[0]


def test_without_checkpoints_there_is_nothing_to_go_on_from(tmp_path):
    assert newest_checkpoint(tmp_path / "absent", SETTINGS) == (None, [])


class _Trap:
    def __reduce__(self):
        import os

        return os.mkdir, ("trap-was-sprung",)


def test_objects_in_a_checkpoint_are_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path, 1, {"settings": _Trap()})
    with pytest.raises(FormatError, match="something other than tensors"):
        read_checkpoint(path)
    (tmp_path / "step-000000002.ckpt").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(FormatError, match="not a fastrad checkpoint"):
        read_checkpoint(tmp_path / "step-000000002.ckpt")
    assert not (tmp_path / "trap-was-sprung").exists()
