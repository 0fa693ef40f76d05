"""The one pass over a batch on a GPU: pick frames, crop, resize bilinearly, flip, normalise, in one Triton kernel.

In: frames in the GPU's memory, and for each sample its place among them, its crop box and its flips. Out: squares in
the training dtype. An image costs the reading of its crop and the writing of its pixels, where single operations of
torch move float copies of whole frames to and fro.

The arithmetic is that of `resample`, integer weights of 7 bits across and 15 down, and the floats are looked up in the
same table of 256: a GPU's batches are the CPU's, byte for byte. Triton is imported with this module; whether it works
on a card (it compiles with the machine's C compiler and the card's driver) is tried once by `why_not`.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache

import numpy as np
import torch
import triton
import triton.language as tl

from fastrad.loading.kernels import resample
from fastrad.loading.policy import Parameters

COLUMNS = 6  # of a plan: place, top, left, height, width, flips
_TILE = 32  # pixels a side that one program makes


@triton.jit
def _make_tile(
    frames, plan, table, output, frame_height, frame_width, size, LOOK_UP: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    tiles = tl.cdiv(size, TILE)
    program = tl.program_id(0).to(tl.int64)
    sample, tile = program // (tiles * tiles), program % (tiles * tiles)
    y = (tile // tiles) * TILE + tl.arange(0, TILE)
    x = (tile % tiles) * TILE + tl.arange(0, TILE)
    place, top = tl.load(plan + 6 * sample), tl.load(plan + 6 * sample + 1)
    left, height = tl.load(plan + 6 * sample + 2), tl.load(plan + 6 * sample + 3)
    width, flips = tl.load(plan + 6 * sample + 4), tl.load(plan + 6 * sample + 5)

    # where an output pixel's centre lies in the crop: columns in 1 / 128, rows in 1 / 32768, to the nearest one
    across = tl.where((flips & 1) != 0, size - 1 - x, x)
    across = ((2 * across + 1) * width * 128 + size) // (2 * size) - 64
    across = tl.minimum(tl.maximum(across, 0), (width - 1) * 128)
    down = tl.where((flips & 2) != 0, size - 1 - y, y)
    down = ((2 * down + 1) * height * 32768 + size) // (2 * size) - 16384
    down = tl.minimum(tl.maximum(down, 0), (height - 1) * 32768)
    column, share = across >> 7, (across & 127).to(tl.int32)[None, :]
    row, weight = down >> 15, (down & 32767).to(tl.int32)[:, None]

    inside = (y < size)[:, None] & (x < size)[None, :]
    crop = frames + place * frame_height * frame_width + top * frame_width + left
    first = crop + (row * frame_width)[:, None]
    second = crop + ((row + ((down & 32767) != 0).to(tl.int64)) * frame_width)[:, None]
    near, far = column[None, :], (column + ((across & 127) != 0).to(tl.int64))[None, :]
    above = tl.load(first + near, mask=inside, other=0).to(tl.int32) * (128 - share)
    above += tl.load(first + far, mask=inside, other=0).to(tl.int32) * share
    below = tl.load(second + near, mask=inside, other=0).to(tl.int32) * (128 - share)
    below += tl.load(second + far, mask=inside, other=0).to(tl.int32) * share
    pixels = (above + (((below - above) * weight + 16384) >> 15) + 64) >> 7

    target = output + sample * size * size + y[:, None] * size + x[None, :]
    if LOOK_UP:
        tl.store(target, tl.load(table + pixels, mask=inside), mask=inside)
    else:
        tl.store(target, pixels.to(tl.uint8), mask=inside)


@torch.library.custom_op("fastrad::resample_frames", mutates_args=())
def resample_frames(frames: torch.Tensor, plan: torch.Tensor, table: torch.Tensor, size: int) -> torch.Tensor:
    """Make a batch of frames that lie in the device's memory.

    Parameters
    ----------
    frames : torch.Tensor
        uint8 (M, H, W), contiguous; there may be more than 2**31 pixels.
    plan : torch.Tensor
        int64 (N, 6), on the same device, a line a sample: which frame; top, left, height and width of the crop in
        pixels, inside the frame; 1 for a flip of left and right, 2 of top and bottom, 3 of both.
    table : torch.Tensor
        On the same device, (256,): what is written for a gray level. With dtype uint8 the level itself is written.
    size : int
        The output is size x size pixels.

    Returns
    -------
    torch.Tensor
        (N, size, size), contiguous, in the table's dtype.
    """
    count = len(plan)
    output = torch.empty((count, size, size), dtype=table.dtype, device=frames.device)
    if count:
        tiles = triton.cdiv(size, _TILE)
        # a launch goes to the current device, whatever device its arguments lie on
        with torch.cuda.device(frames.device) if frames.is_cuda else nullcontext():
            _make_tile[(count * tiles * tiles,)](
                frames, plan, table, output, frames.shape[1], frames.shape[2], size, table.dtype != torch.uint8, _TILE
            )
    return output


@resample_frames.register_fake
def _(frames: torch.Tensor, plan: torch.Tensor, table: torch.Tensor, size: int) -> torch.Tensor:
    return torch.empty((len(plan), size, size), dtype=table.dtype, device=frames.device)


def plan_of(places: np.ndarray, parameters: Parameters) -> np.ndarray:
    """The int64 (N, 6) plan of `resample_frames` for frames at `places`; `parameters` in pixels of the frame."""
    boxes, flips = resample.boxes_and_flips(parameters)
    return np.concatenate([places[:, None], boxes, flips[:, None]], axis=1, dtype=np.int64)


@cache
def why_not(device: torch.device) -> str:
    """Why the kernel cannot be used on a GPU, in one line; "" where it works: it gave there the CPU's own bytes.

    The first answer takes a second, for the compiler; Triton keeps what it compiled from run to run.
    """
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (3, 40, 37), dtype=np.uint8)
    plan = np.array([[2, 0, 0, 40, 37, 0], [0, 3, 5, 31, 29, 3], [1, 20, 1, 9, 36, 1]])
    try:
        for size in (20, 45):
            on_device = (torch.from_numpy(each).to(device) for each in (frames, plan, np.arange(256, dtype=np.uint8)))
            found = resample_frames(*on_device, size).cpu().numpy()
            if not np.array_equal(found, on_cpu(frames, plan, size)):
                return "its pixels are not those of the CPU"
    except Exception as error:  # the compiler, its C tool chain, its cache and the driver fail in their own ways
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"
    return ""


def on_cpu(frames: np.ndarray, plan: np.ndarray, size: int) -> np.ndarray:
    """What `resample_frames` gives for a uint8 table, by `resample.resample`: uint8 (N, size, size)."""
    padded = np.concatenate([frames.reshape(-1), np.zeros(resample.PADDING, np.uint8)])
    found, missing = np.empty((len(plan), size, size), np.uint8), np.empty(len(plan), np.int64)
    height, width = frames.shape[1:]
    sources = padded.ctypes.data + plan[:, 0] * height * width
    boxes, flips = np.ascontiguousarray(plan[:, 1:5]), plan[:, 5].astype(np.uint8)
    resample.resample(-1, sources, height, width, boxes, flips, size, found.ctypes.data, missing)
    return found
