"""A loader in processes that it was not made in: an error where samples would come twice, or never."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, IterableDataset

from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.loading import Loader


@pytest.fixture
def beton(tmp_path) -> Path:
    path = tmp_path / "a.beton"
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
    write_beton(path, list(images), [number % 2 for number in range(40)], classes=["a", "b"])
    return path


class _Wrapped(IterableDataset):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self):
        return iter(Loader(self.path, 8, engine="direct", workers=1))


def test_in_a_data_loader_with_workers_no_sample_comes_twice(beton):
    rows = [row for batch in DataLoader(_Wrapped(beton), batch_size=None, num_workers=0) for row in batch.rows.tolist()]
    assert sorted(rows) == list(range(40))
    with pytest.raises(InputError, match="once a worker"):
        list(DataLoader(_Wrapped(beton), batch_size=None, num_workers=2))


@pytest.mark.parametrize("engine", ["direct", "resident"])
def test_a_forked_child_cannot_go_on_with_its_parents_iteration_and_may_begin_its_own(beton, engine):
    loader = Loader(beton, 4, engine=engine, workers=1)
    batches = iter(loader)
    next(batches)
    read, write = os.pipe()

    def child() -> None:
        try:
            next(batches)
        except InputError as error:
            os.write(write, str(error).encode())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(20)
    if process.is_alive():
        process.kill()
        pytest.fail("the child waits for threads that its parent has")
    assert b"after a fork" in os.read(read, 1000)
    assert len(list(batches)) == 9  # the parent goes on
