"""The Triton kernel without a GPU: its pixels in Triton's interpreter, and its machine code for the cards in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from math import floor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

PROGRAM = """
import sys
import numpy as np
import torch
from fastrad.loading.kernels.fused import resample_frames
asked, answer = np.load(sys.argv[1]), {}
for name in asked["names"]:
    frames, plan = (torch.from_numpy(asked[f"{name} {part}"]) for part in ("frames", "plan"))
    table = torch.from_numpy(asked[f"{name} table"])
    answer[str(name)] = resample_frames(frames, plan, table, int(asked[f"{name} size"])).numpy()
np.savez(sys.argv[2], **answer)
"""


def _cases() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Frames, plan, table and size: growing, shrinking, the whole frame, one pixel, all flips, sizes off the tiles."""
    random = np.random.default_rng(3)
    frames = random.integers(0, 256, (5, 40, 37), dtype=np.uint8)
    square = random.integers(0, 256, (3, 33, 33), dtype=np.uint8)
    plan = np.array(
        [
            [4, 0, 0, 40, 37, 0],
            [0, 3, 5, 31, 29, 1],
            [2, 20, 1, 9, 36, 2],
            [1, 39, 36, 1, 1, 3],
            [1, 0, 30, 40, 7, 3],
            [3, 10, 10, 2, 3, 0],
        ]
    )
    whole = np.array([[2, 0, 0, 33, 33, 0], [0, 0, 0, 33, 33, 3]])
    gray, halves = np.arange(256, dtype=np.uint8), (np.arange(256) / 51 - 2.5).astype(np.float16)
    return {
        "shrink": (frames, plan, gray, 16),
        "grow": (frames, plan, gray, 67),
        "one pixel": (frames, plan, gray, 1),
        "whole": (square, whole, gray, 33),
        "half": (frames, plan, halves, 33),
        "single": (frames, plan, halves.astype(np.float32), 20),
        "nothing": (frames, plan[:0], gray, 16),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the kernel gives for each case, in a process of its own: Triton chooses its interpreter at its import."""
    folder, cases = tmp_path_factory.mktemp("kernel"), _cases()
    parts = {"names": np.array(list(cases))}
    for name, values in cases.items():
        parts |= {
            f"{name} {part}": value for part, value in zip(("frames", "plan", "table", "size"), values, strict=True)
        }
    np.savez(folder / "asked.npz", **parts)
    words = [sys.executable, "-c", PROGRAM, str(folder / "asked.npz"), str(folder / "answer.npz")]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "answer.npz"))


def _positions(size: int, crop: int, bits: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each output pixel's first source pixel and its neighbour's share in 2 ** -bits, in exact fractions."""
    unit = 1 << bits
    exact = [floor(Fraction((2 * at + 1) * crop, 2 * size) * unit + Fraction(1, 2)) - unit // 2 for at in range(size)]
    position = np.clip(np.array(exact, dtype=np.int64), 0, (crop - 1) * unit)
    return tuple(values[::-1] if flip else values for values in (position // unit, position % unit))


def _expected(frames: np.ndarray, plan: np.ndarray, table: np.ndarray, size: int) -> np.ndarray:
    """The same from the filter's definition: weights of 7 bits across, 15 down, each sum rounded half up."""
    out = np.empty((len(plan), size, size), dtype=np.int64)
    for index, (place, top, left, height, width, flips) in enumerate(plan):
        crop = frames[place, top : top + height, left : left + width].astype(np.int64)
        column, share = _positions(size, width, 7, bool(flips & 1))
        row, weight = _positions(size, height, 15, bool(flips & 2))
        padded = np.pad(crop, ((0, 1), (0, 1)), mode="edge")
        lines = padded[:, column] * (128 - share) + padded[:, column + 1] * share
        upper, lower = lines[row], lines[row + 1]
        blended = upper + (((lower - upper) * weight[:, None] + (1 << 14)) >> 15)
        out[index] = (blended + 64) >> 7
    return table[out]


@pytest.mark.parametrize("name", _cases())
def test_pixel_for_pixel_the_filters_definition(found: dict[str, np.ndarray], name: str) -> None:
    expected = _expected(*_cases()[name])
    assert found[name].dtype == expected.dtype
    assert np.array_equal(found[name], expected)


@pytest.mark.parametrize("name", ["shrink", "grow", "whole", "one pixel"])
def test_byte_for_byte_what_the_engines_on_the_cpu_give(found: dict[str, np.ndarray], name: str) -> None:
    from fastrad.loading.kernels.fused import on_cpu

    frames, plan, _, size = _cases()[name]
    assert np.array_equal(found[name], on_cpu(frames, plan, size))


@pytest.mark.parametrize("name", ["shrink", "grow"])
def test_at_most_one_level_from_opencv_and_from_torchs_operations(found: dict[str, np.ndarray], name: str) -> None:
    from fastrad.loading.engines.resident import _by_operations
    from fastrad.loading.policy import whole_frame

    frames, plan, table, size = _cases()[name]
    columns = dict(zip(("top", "left", "height", "width"), plan.T[1:5], strict=True))
    flips = {"flip_horizontal": plan[:, 5] & 1 > 0, "flip_vertical": plan[:, 5] & 2 > 0}
    parameters = type(whole_frame(1, 1, 1))(**(vars(whole_frame(len(plan), 40, 37)) | columns | flips))
    plain = _by_operations(torch.from_numpy(frames), plan[:, 0], parameters, torch.from_numpy(table), size).numpy()
    assert np.abs(found[name].astype(int) - plain).max() <= 1
    for image, (place, top, left, height, width, flips) in zip(found[name].astype(int), plan, strict=True):
        crop = frames[place, top : top + height, left : left + width]
        opencv = cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
        opencv = opencv[:: -1 if flips & 2 else 1, :: -1 if flips & 1 else 1]
        assert np.abs(image - opencv).max() <= 1


def test_it_compiles_for_the_cards_in_use_and_counts_pixels_in_64_bits(tmp_path: Path) -> None:
    """T4, A100, H100 and H200, B200: Triton brings the assembler, no GPU is asked."""
    code = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fastrad.loading.kernels.fused import _make_tile
names = _make_tile.arg_names
kinds = ["*u8", "*i64", "*fp16", "*fp16", "i32", "i32", "i32", "constexpr", "constexpr"]
constants = {(names.index("LOOK_UP"),): True, (names.index("TILE"),): 32}
for capability in (75, 80, 90, 100):
    source = ASTSource(_make_tile, dict(zip(names, kinds)), constants)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    print(json.dumps([capability, len(made.asm["cubin"]), made.asm["ttir"]]))
"""
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [capability for capability, _, _ in made] == [75, 80, 90, 100]
    for _, size, intermediate in made:
        assert size > 1000
        offsets = [line for line in intermediate.splitlines() if "tt.addptr" in line and "!tt.ptr<i8>" in line]
        tiles = [line for line in offsets if "32x32" in line]
        assert tiles
        assert all("tensor<32x32xi64>" in line for line in tiles)
