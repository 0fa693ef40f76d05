"""Loading onto a GPU that is not there: devices, dtypes, strides, and where the host would wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda import fake_cuda

from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Augmentation, Loader
from fastrad.loading.augment import augment_batch
from fastrad.loading.engines import model_bytes, resident
from fastrad.loading.kernels import fused
from fastrad.loading.policy import draw

POLICIES = {
    "none": Augmentation.none(),
    "crops": Augmentation(flip_vertical=True),
    "nodule": Augmentation.nodule(),
    "rotation": Augmentation(max_rotation=20),
    "gray": replace(Augmentation(), brightness=0.2, contrast=0.2, gamma=0.2),
    "noise": replace(Augmentation.none(), speckle=0.1, noise=0.1),
    "all": Augmentation(
        max_rotation=9, brightness=0.1, contrast=0.1, gamma=0.1, speckle=0.1, noise=0.1, erase=0.5, flip_vertical=True
    ),
}
DTYPES = (torch.uint8, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_augmentation_stays_on_the_card_and_the_host_never_waits(policy: str, dtype: torch.dtype) -> None:
    parameters = draw(POLICIES[policy], 1, 0, np.arange(6), np.zeros(6, np.int64), 60, 80)
    parameters = replace(parameters, erase=np.tile([0.1, 0.1, 0.5, 0.5], (6, 1))) if policy == "all" else parameters
    with fake_cuda() as seen:
        images = torch.empty((6, 1, 60, 80), dtype=torch.uint8, device="cuda")
        out = augment_batch(images, parameters, 48, Normalisation.gray(0.3, 0.2), dtype)
    assert (out.device, out.dtype, out.shape) == (torch.device("cuda", 0), dtype, (6, 1, 48, 48))
    assert out.stride() == (48 * 48, 1, 48, 1)
    assert not seen.waits


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("policy", ["none", "crops", "rotation", "all"])
@pytest.mark.parametrize("engine", ["direct", "resident by kernel", "resident by operations", "torch"])
def test_every_batch_comes_on_the_card_in_its_dtype(
    engine: str, policy: str, dtype: torch.dtype, raw_beton: Path, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.startswith("resident"):  # what a card would answer
        name = "_by_kernel" if engine.endswith("kernel") else "_by_operations"
        monkeypatch.setattr(resident, "_maker", lambda device: getattr(resident, name))
    with fake_cuda() as seen:
        loader = Loader(
            raw_beton, 16, engine=engine.split()[0], size=48, device="cuda", dtype=dtype, augment=POLICIES[policy]
        )
        batches = iter(loader)
        shapes = [tuple(next(batches).images.shape)]  # filling the card's memory may wait
        seen.waits.clear()
        for images, labels, of_rows in batches:
            assert {images.device, labels.device, of_rows.device} == {torch.device("cuda", 0)}
            assert (images.dtype, labels.dtype, of_rows.dtype) == (dtype, torch.int64, torch.int64)
            assert images.stride() == (48 * 48, 1, 48, 1)
            shapes.append(tuple(images.shape))
    assert shapes == [(count, 1, 48, 48) for count in (16, 16, 16, 13)]
    if engine != "torch":  # the reference sends its batches from ordinary memory
        assert not seen.waits


def test_the_kernel_replaces_some_thirty_operations_by_two(raw_beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel and the copy of its plan, against a gather, a resampling, a rounding and a look-up."""

    def operations(name: str) -> int:
        monkeypatch.setattr(resident, "_maker", lambda device: getattr(resident, name))
        frames = torch.empty((61, 96, 96), dtype=torch.uint8, device="cuda")
        table = torch.empty(256, dtype=torch.bfloat16, device="cuda")
        parameters = draw(Augmentation(), 1, 0, np.arange(8), np.zeros(8, np.int64), 96, 96)
        before = seen.operations
        getattr(resident, name)(frames, np.arange(8), parameters, table, 48)
        return seen.operations - before

    with fake_cuda() as seen:
        kernel, plain = operations("_by_kernel"), operations("_by_operations")
    assert kernel <= 3
    assert plain >= 20


def test_a_card_that_cannot_answer_gets_torchs_operations_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    fused.why_not.cache_clear()
    resident._maker.cache_clear()
    try:
        with fake_cuda():
            assert resident._maker(torch.device("cuda", 0)) is resident._by_operations
    finally:
        fused.why_not.cache_clear()
        resident._maker.cache_clear()
    assert "no Triton kernel" in caplog.text


FAULTS = {
    "a CPU operand": lambda images: images + torch.ones(images.shape),
    "item": lambda images: images * images.float().sum().item(),
    "a copy to the host": lambda images: images.cpu(),
    "an index that is counted": lambda images: images[images > 3],
    "a copy from ordinary memory": lambda images: images + torch.ones(images.shape).to(images.device),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault: str) -> None:
    with fake_cuda() as seen:
        images = torch.empty((6, 1, 60, 80), device="cuda")
        try:
            FAULTS[fault](images)
            caught = bool(seen.waits)
        except Exception as error:  # torch names the devices, or has no value to give
            caught = "device" in str(error) or bool(seen.waits)
    assert caught


@pytest.mark.parametrize(("free", "chosen"), [(9 << 30, "resident"), (3 << 30, "direct")])
def test_images_stay_on_a_card_that_has_room_for_them_and_a_model(raw_beton: Path, free: int, chosen: str) -> None:
    """61 frames are 0.6 MB; the model of batches of 16 takes 3 GiB and a little."""
    with fake_cuda(free=free):
        loader = Loader(raw_beton, 16, size=48, device="cuda")
    assert loader.engine == chosen
    assert f"{free:,} bytes free" in loader.engine_reason


def test_a_card_is_shared_out_once_over_all_loaders_of_a_process(raw_beton: Path) -> None:
    """Room for the frames of one loader and a half beside the model: the second one's stay in the file."""
    frames = resident.needed_bytes(61, 96, 96)
    with fake_cuda(free=model_bytes(16, 48) + frames + frames // 2):
        first = Loader(raw_beton, 16, size=48, device="cuda")
        second = Loader(raw_beton, 16, size=48, device="cuda")
        assert (first.engine, second.engine) == ("resident", "direct")
        del first
        assert Loader(raw_beton, 16, size=48, device="cuda").engine == "resident"


def test_what_torch_holds_without_using_it_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cuda(free=1 << 30):
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 7 << 30)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 2 << 30)
        assert resident.free_bytes(torch.device("cuda", 0)) == 6 << 30
