"""Damaged weights and checkpoints: the same tensors, or one line that says what is wrong."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from isolated import Unforeseen, run_isolated
from mutations import damaged
from safetensors.torch import save

from fastrad.errors import FastradError
from fastrad.models.resnet import resnet18
from fastrad.models.weights import load_weights, save_weights
from fastrad.train.checkpoint import MAGIC, read_checkpoint, write_checkpoint


def _load(path: str) -> str:
    """A digest of every tensor, or "error: ..."."""
    try:
        state = load_weights(path).state
    except FastradError as error:
        return f"error: {error}"
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_checkpoint(path: str) -> str:
    try:
        return repr(read_checkpoint(Path(path)))
    except FastradError as error:
        return f"error: {error}"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network as fastrad writes it and as `torch.save` does."""
    torch.manual_seed(0)
    folder, state = tmp_path_factory.mktemp("weights"), resnet18(3).state_dict()
    save_weights(folder / "w.safetensors", state, {"classes": ["a", "b", "c"], "size": 64})
    torch.save(state, folder / "w.pth")
    return {".safetensors": folder / "w.safetensors", ".pth": folder / "w.pth"}


def _check(whole: Path, folder: Path, seed: int, count: int) -> None:
    """Damage in the first and the last 20,000 bytes, where everything but numbers is, and anywhere."""
    content = whole.read_bytes()
    (sound,) = run_isolated(_load, [("whole", str(whole))])
    assert not sound.startswith("error")
    parts = [(0, 20_000), (len(content) - 20_000, len(content)), (0, len(content))]
    for number, (start, stop) in enumerate(parts):
        for name, part in damaged(content[start:stop], seed + number, count):
            target = folder / f"damaged{whole.suffix}"
            target.write_bytes(content[:start] + part + content[stop:])
            (found,) = run_isolated(_load, [(name, str(target))], seconds=60)
            assert not isinstance(found, Unforeseen), f"{start}:{stop}, {name}: {found}"
            assert "\n" not in found
            assert found.startswith("error") or found == sound, f"{start}:{stop}, {name}: other weights"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_weights_are_refused_or_the_same(weights, suffix, tmp_path, seed):
    _check(weights[suffix], tmp_path, seed, 7)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_many_damaged_weights_are_refused_or_the_same(weights, suffix, tmp_path, seed):
    _check(weights[suffix], tmp_path, seed + 100, 25)


def test_safetensors_headers_of_extreme_size_and_shape_are_refused(tmp_path, seed):
    whole = save({"conv1.weight": torch.zeros(64, 1, 7, 7)})
    cases = []
    for value in (0, 1, 7, 2**31, 2**63, 2**64 - 1, 100_000_000):
        cases.append((f"header of {value}", value.to_bytes(8, "little") + whole[8:]))
    for shape in ("[64,1,7,99999999999]", "[-1]", "[0]", "[1e9]", "null", "[64,1,7,7,1]"):
        header = whole[8:].split(b"}}")[0].replace(b"[64,1,7,7]", shape.encode()) + b"}}"
        cases.append((f"shape {shape}", len(header).to_bytes(8, "little") + header + bytes(12544)))
    paths = []
    for number, (name, content) in enumerate(cases):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        paths.append((name, str(path)))
    for (name, _), found in zip(paths, run_isolated(_load, paths), strict=True):
        assert found.startswith("error"), f"{name}: {found}"
        assert "\n" not in found


class _Payload:
    def __reduce__(self):
        return os.system, ("touch PWNED",)


def test_nothing_that_a_file_says_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"conv1.weight": _Payload()}, buffer)
    named = {
        "torch.pth": buffer.getvalue(),
        "plain.pth": pickle.dumps(_Payload()),
        "text.pt": b"cos\nsystem\n(S'touch PWNED'\ntR.",
        "named.safetensors": pickle.dumps(_Payload()),
    }
    for name, content in named.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FastradError):
            load_weights(tmp_path / name)
    for content in named.values():
        path = tmp_path / "step-000000001.ckpt"
        path.write_bytes(MAGIC + hashlib.sha256(content).digest() + content)
        with pytest.raises(FastradError):
            read_checkpoint(path)
    assert not (tmp_path / "PWNED").exists()


def _checkpoint_cases(folder: Path, seed: int, count: int) -> list[tuple[str, str]]:
    content = {"step": 3, "model": {"w": torch.arange(30.0)}, "settings": {"lr": 0.1}, "generator": np.pi}
    whole = write_checkpoint(folder, 3, content).read_bytes()
    cases = []
    for number, (name, bad) in enumerate(damaged(whole, seed, count)):
        path = folder / f"damaged-{number}.ckpt"
        path.write_bytes(bad)
        cases.append((name, str(path)))
    start = len(MAGIC) + 32  # and damage that was there before the checksum
    for number, (name, bad) in enumerate(damaged(whole[start:], seed + 1, count)):
        path = folder / f"hashed-{number}.ckpt"
        path.write_bytes(MAGIC + hashlib.sha256(bad).digest() + bad)
        cases.append((f"hashed, {name}", str(path)))
    return cases


def test_damaged_checkpoints_are_refused(tmp_path, seed):
    cases = _checkpoint_cases(tmp_path, seed, 60)
    for (name, _), found in zip(cases, run_isolated(_read_checkpoint, cases), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        assert found.startswith("error") or name.startswith("hashed"), name
        assert "\n" not in found or not found.startswith("error"), name
