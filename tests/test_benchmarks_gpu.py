"""`benchmarks/gpu.py` from a bare source tree on a CPU: every part, with the libraries alone that a lent card has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
LACKING = (
    "click dask distributed ffcv fsspec h5py imagecodecs jinja2 matplotlib nvidia onnx psutil pydicom simplejpeg "
    "tensorboard tifffile"
)
WITHOUT = f"""
import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {LACKING.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Lacking())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in {LACKING.split()!r} else found(name)
"""
SMALL = {
    "--size": 32,
    "--batch-size": 4,
    "--rounds": 1,
    "--steps": 1,
    "--seconds": 0.05,
    "--frames": 24,
    "--small-images": 32,
    "--epoch-images": 12,
    "--networks": 1,
}


def _run(folder: Path, *words: str, **environment: str) -> tuple[dict[str, Any], str]:
    small = [str(word) for pair in SMALL.items() for word in pair]
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--no-compile", *small, *words]
    (folder / "sitecustomize.py").write_text(WITHOUT)
    place = {"PYTHONPATH": str(folder), "PATH": str(folder), "OMP_NUM_THREADS": "1"}  # no git, no fastrad installed
    done = subprocess.run(
        [*command, "--out", str(folder / "gpu.json")],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | place | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "gpu.json").read_text()), done.stdout


@pytest.mark.slow
def test_every_part_gives_its_result(tmp_path: Path) -> None:
    parts = ["correct", "overflow", "pretraining", "variants", "loading", "epoch", "study"]  # training: tests/train
    result, table = _run(tmp_path, "--engines", "resident", "--minutes", "10", "--parts", *parts)
    measured = {(part, engine): found for part, engine, found in result["measured"]}
    assert result["commit"] == ""
    for (part, engine), found in measured.items():
        assert f"| {part} | {engine} |" in table
        assert "error" not in found, (part, found)
        assert found["host_peak_mb"] > 100
    correct = measured["correct", "resident"]
    assert all(correct[policy]["passes"] and correct[policy]["is_the_cpus"] for policy in ("whole", "crops", "all"))
    assert correct["last_frames_are_the_files"]
    assert measured["overflow", ""]["passes"]
    assert measured["pretraining", ""]["resumed_loss_is_the_undisturbed_one"]
    assert measured["pretraining", ""]["a_second_run_apart_by"] == 0
    assert measured["variants", ""]["stem of space to depth"] > 0
    assert measured["epoch", "resident"]["images"] == 12
    assert measured["study", ""]["networks"] == 1
    assert {"raw", "JPEG"} <= set(measured["loading", "resident"])


def test_an_engine_that_is_missing_is_listed(tmp_path: Path) -> None:
    result, table = _run(tmp_path, "--parts", "training", "--engines", "dali")
    ((part, engine, found),) = result["measured"]
    assert (part, engine) == ("training", "dali")
    assert "NVIDIA DALI" in found["error"]
    assert found["error"] in table


def test_what_was_measured_before_the_time_is_up_is_kept(tmp_path: Path) -> None:
    result, _ = _run(tmp_path, "--parts", "study", "--minutes", "0.3", "--networks", "1000")
    ((_, _, found),) = result["measured"]
    assert "cut off after" in found["error"]
    assert found.get("networks", 0) < 1000
