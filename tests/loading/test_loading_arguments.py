"""What a loader is asked for: sizes, channels, whole batches alone, and names that other loaders have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.loading import Loader

FRAMES = 61


def test_without_a_size_images_come_as_stored(engine: str, raw_beton: Path, frames) -> None:
    batch = next(iter(Loader(raw_beton, FRAMES, engine=engine, train=False)))
    assert np.array_equal(batch.images[:, 0].numpy(), frames)


def test_a_frame_that_is_not_square_needs_a_size(tmp_path: Path) -> None:
    write_beton(tmp_path / "a.beton", np.zeros((3, 40, 50), np.uint8), [0, 0, 0])
    with pytest.raises(InputError, match="stored as 50 x 40 pixels; give a size"):
        Loader(tmp_path / "a.beton", 2)
    assert next(iter(Loader(tmp_path / "a.beton", 2, size=32))).images.shape == (2, 1, 32, 32)


def test_enlarging_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.beton"
    write_beton(path, np.zeros((3, 40, 40), np.uint8), [0, 0, 0])
    for _ in range(2):
        loader = Loader(path, 2, size=40)
        loader.size = 48
    assert caplog.messages == [f"{path}: stored as 40 x 40 pixels, enlarged to 48, which adds no detail"]


@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 1), (61, 1), (4, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_drop_last_leaves_out_the_smaller_last_step_and_nothing_else(engine, raw_beton, batch_size, world_size, train):
    for rank in range(world_size):
        options = {"engine": engine, "size": 32, "train": train, "rank": rank, "world_size": world_size}
        whole = list(Loader(raw_beton, batch_size, **options))
        loader = Loader(raw_beton, batch_size, drop_last=True, **options)
        kept = list(loader)
        assert len(kept) == len(loader) == FRAMES // (batch_size * world_size)
        assert loader.num_samples == len(kept) * batch_size * world_size
        for ours, theirs in zip(kept, whole, strict=False):
            assert len(ours.rows) == batch_size
            assert torch.equal(ours.rows, theirs.rows)
            assert torch.equal(ours.images, theirs.images)


def test_drop_last_that_leaves_nothing_is_refused(raw_beton: Path) -> None:
    with pytest.raises(InputError, match="61 samples are fewer than the 32 of each of 2 ranks"):
        Loader(raw_beton, 32, drop_last=True, rank=0, world_size=2)


def test_a_state_with_and_one_without_drop_last_are_told_apart(raw_beton: Path) -> None:
    state = Loader(raw_beton, 8, drop_last=True).state_dict()
    with pytest.raises(InputError, match="drop last"):
        Loader(raw_beton, 8).load_state_dict(state)
    former = Loader(raw_beton, 8).state_dict()
    del former["drop_last"]  # as 0.1.0 left it
    Loader(raw_beton, 8).load_state_dict(former)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_three_channels_are_the_gray_image_three_times(engine: str, raw_beton: Path, dtype: torch.dtype) -> None:
    one = next(iter(Loader(raw_beton, 8, engine=engine, size=32, dtype=dtype)))
    three = next(iter(Loader(raw_beton, 8, engine=engine, size=32, dtype=dtype, channels=3)))
    assert torch.equal(three.images, one.images.repeat(1, 3, 1, 1))
    assert three.images.is_contiguous(memory_format=torch.channels_last)
    three.images[:, 0] = 0  # the caller's own: not one channel seen three times
    assert torch.equal(three.images[:, 1:2], one.images)
    with pytest.raises(InputError, match="channels is 2"):
        Loader(raw_beton, 8, channels=2)


@pytest.mark.parametrize(
    ("name", "meant"), [("num_workers", "`workers`"), ("shuffle", "`train=True`"), ("transform", "fastrad.Dataset")]
)
def test_the_names_of_other_loaders_are_answered(raw_beton: Path, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"no argument '{name}'.*{meant}"):
        Loader(raw_beton, 8, **{name: 1})


def test_a_loader_is_not_indexed(raw_beton: Path) -> None:
    with pytest.raises(TypeError, match=r"one sample is fastrad.Dataset\(...\)\[i\]"):
        Loader(raw_beton, 8)[0]
