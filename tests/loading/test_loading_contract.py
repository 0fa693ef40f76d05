"""The loader's contract, the same for every engine: order, randomness, ownership, damage, ends and beginnings."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from fastrad.dataset import BetonFile
from fastrad.dataset.opening import open_dataset
from fastrad.errors import DamagedSampleError, InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Batch, Loader
from fastrad.loading.augment import augment_batch
from fastrad.loading.policy import Augmentation, draw

FRAMES = 61


def _rows(loader: Loader) -> list[int]:
    return [row for batch in loader for row in batch.rows.tolist()]


def _join(batches: list[Batch]) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def _copy(path: Path, folder: Path) -> Path:
    """The dataset with all its files, to be damaged."""
    for source in path.parent.glob("*.*"):
        shutil.copy(source, folder / source.name)
    return folder / path.name


def _image(path: Path, position: int) -> tuple[Path, int, int]:
    """Where a sample's image lies: the file, its first byte in there, and its row."""
    file = open_dataset(path)
    if isinstance(file, BetonFile):
        return path, int(file.offsets[position]), int(file.rows[position])
    where = file.samples.where[position]
    return path.parent / file.samples.tar(position), int(where["image"]), int(where["row"])


def _damage(path: Path, position: int, at: int = 100) -> int:
    """Change one byte of a sample's image; returns its row."""
    file, start, row = _image(path, position)
    with file.open("r+b") as stream:
        stream.seek(start + at)
        value = stream.read(1)[0]
        stream.seek(start + at)
        stream.write(bytes([value ^ 0xFF]))
    return row


# order


def test_each_epoch_holds_every_row_once_and_epochs_differ(engine: str, dataset: Path, rows: np.ndarray) -> None:
    loader = Loader(dataset, 8, engine=engine, size=32, seed=4)
    first, second = _rows(loader), _rows(loader)
    assert sorted(first) == sorted(second) == rows.tolist()
    assert first != second
    assert loader.epoch == 1


def test_order_and_pixels_depend_on_neither_engine_nor_workers(engine: str, dataset: Path) -> None:
    reference = _join(list(Loader(dataset, 61, engine="torch", size=48, seed=9)))
    for workers, batch_size in ((1, 8), (3, 61)):
        loader = Loader(dataset, batch_size, engine=engine, size=48, seed=9, workers=workers)
        ours = _join(list(loader))
        assert torch.equal(ours.rows, reference.rows)
        assert torch.equal(ours.labels, reference.labels)
        difference = (ours.images.int() - reference.images.int()).abs().float()
        assert difference.mean(dim=(1, 2, 3)).max() <= 1.5
        assert difference.max() <= 2


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("train", [True, False])
def test_ranks_share_an_epoch_in_equal_steps(engine: str, raw_beton, rows, world_size: int, train: bool) -> None:
    loaders = [
        Loader(raw_beton, 3, engine=engine, size=16, train=train, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    batches = [list(loader) for loader in loaders]
    steps = -(-FRAMES // (3 * world_size))
    assert [len(loader) for loader in loaders] == [steps] * world_size
    assert [len(of_rank) for of_rank in batches] == [steps] * world_size
    assert sorted(row for of_rank in batches for batch in of_rank for row in batch.rows.tolist()) == rows.tolist()


def test_another_number_of_ranks_sees_the_same_samples_and_crops_at_each_step(engine: str, raw_beton: Path) -> None:
    alone = list(Loader(raw_beton, 12, engine=engine, size=16))
    shared = [list(Loader(raw_beton, 4, engine=engine, size=16, rank=rank, world_size=3)) for rank in range(3)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert torch.equal(whole.rows, torch.cat([part.rows for part in parts]))
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))


def test_evaluation_keeps_the_order_of_the_selection(engine: str, dataset: Path, rows: np.ndarray) -> None:
    chosen = [60, 3, 3, 17, 0]
    loader = Loader(dataset, 2, engine=engine, size=32, train=False, indices=chosen)
    for _ in range(2):
        assert _rows(loader) == rows[chosen].tolist()


def test_a_position_selected_twice_gets_two_crops(engine: str, raw_beton: Path) -> None:
    images = next(iter(Loader(raw_beton, 2, engine=engine, size=32, indices=[5, 5]))).images
    assert not torch.equal(images[0], images[1])


def test_balanced_sampler_draws_classes_equally_and_gives_repeats_their_own_crops(engine: str, raw_beton: Path) -> None:
    loader = Loader(raw_beton, 30, engine=engine, size=24, sampler="balanced", seed=2)
    reference = Loader(raw_beton, 61, engine="torch", size=24, sampler="balanced", seed=2)
    counts = np.zeros(3)
    for _ in range(12):
        ours, theirs = _join(list(loader)), _join(list(reference))
        assert torch.equal(ours.rows, theirs.rows)
        assert (ours.images.int() - theirs.images.int()).abs().max() <= 2
        counts += np.bincount(ours.labels, minlength=3)
        of_one_row = ours.images[ours.rows == ours.rows.mode().values]
        assert len(of_one_row) > 1
        assert len(torch.unique(of_one_row.flatten(1), dim=0)) == len(of_one_row)
    expected = counts.sum() / 3
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected * 2 / 3)


def test_sampler_weights_of_zero_leave_samples_out(engine: str, raw_beton: Path, rows: np.ndarray) -> None:
    weights = np.zeros(FRAMES)
    weights[[4, 40]] = 1
    assert set(_rows(Loader(raw_beton, 16, engine=engine, size=16, sampler=weights))) == set(rows[[4, 40]].tolist())


# pixels


def test_whole_frames_at_the_stored_size_are_exact(engine: str, raw_beton, frames, labels, rows) -> None:
    batch = _join(list(Loader(raw_beton, 7, engine=engine, size=96, train=False)))
    assert np.array_equal(batch.images[:, 0].numpy(), frames)
    assert np.array_equal(batch.labels.numpy(), labels)
    assert np.array_equal(batch.rows.numpy(), rows)
    assert batch.labels.dtype == batch.rows.dtype == torch.int64


def test_whole_frames_at_another_size_are_opencvs_bilinear(engine: str, raw_beton: Path, frames: np.ndarray) -> None:
    batch = _join(list(Loader(raw_beton, 7, engine=engine, size=64, train=False)))
    expected = np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_LINEAR) for frame in frames])
    assert np.abs(batch.images[:, 0].numpy().astype(int) - expected).max() <= 2


def test_images_are_channels_last_and_each_row_carries_its_own_picture(
    engine: str, dataset: Path, frames, rows
) -> None:
    """Without crops, an image tells which frame it is: the nearest one must be the one of its row."""
    loader = Loader(dataset, 8, engine=engine, size=96, augment=Augmentation.none())
    seen = 0
    for batch in loader:
        assert batch.images.shape[1:] == (1, 96, 96)
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.stride() == (96 * 96, 1, 96, 1)
        for image, row in zip(batch.images[:, 0].numpy(), batch.rows.tolist(), strict=True):
            distances = np.abs(frames.astype(np.int16) - image).mean(axis=(1, 2))
            assert rows[distances.argmin()] == row
            seen += 1
    assert seen == FRAMES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_floats_are_normalised_by_the_cards_mean_and_std(engine: str, raw_beton, frames, dtype) -> None:
    loader = Loader(raw_beton, 61, engine=engine, size=96, train=False, dtype=dtype)
    images = next(iter(loader)).images
    expected = (frames / 255 - frames.mean() / 255) / (frames.std() / 255)
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images[:, 0].double().numpy(), expected, atol=4 * torch.finfo(dtype).eps, rtol=2e-3)


def test_size_can_change_between_epochs(engine: str, raw_beton: Path) -> None:
    loader = Loader(raw_beton, 20, engine=engine, size=32)
    for size in (32, 48, 16):
        loader.size = size
        assert {batch.images.shape[-1] for batch in loader} == {size}


def test_an_epoch_can_be_set(engine: str, raw_beton: Path) -> None:
    loader = Loader(raw_beton, 61, engine=engine, size=16)
    epochs = [_join(list(loader)).rows for _ in range(3)]
    loader.epoch = 1
    assert torch.equal(_join(list(loader)).rows, epochs[1])
    assert torch.equal(_join(list(loader)).rows, epochs[2])


# ownership


def test_a_kept_list_of_batches_stays_what_it_was(engine: str, dataset: Path) -> None:
    loader = Loader(dataset, 4, engine=engine, size=32)
    kept, copies = [], []
    for _ in range(3):
        for batch in loader:
            kept.append(batch.images[1:])  # a view keeps the batch's memory too
            copies.append(batch.images[1:].clone())
    assert all(torch.equal(ours, copy) for ours, copy in zip(kept, copies, strict=True))


def test_a_batch_may_be_written_to(engine: str, raw_beton: Path) -> None:
    first, second = (Loader(raw_beton, 4, engine=engine, size=32, train=False) for _ in range(2))
    for ours, theirs in zip(first, second, strict=True):
        ours.images.fill_(0)
        assert theirs.images.any()


def test_breaking_off_leaks_neither_threads_nor_memory_nor_descriptors(engine: str, raw_beton: Path) -> None:
    loader = Loader(raw_beton, 61, engine=engine, size=96)

    def stop_early(times: int) -> None:
        for _ in range(times):
            for _batch in loader:
                break

    stop_early(10)
    gc.collect()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stop_early(100)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 20_000  # KiB; a batch is 549


# damage


def test_damaged_sample_raises_with_its_row(engine: str, dataset: Path, tmp_path: Path) -> None:
    path = _copy(dataset, tmp_path)
    row = _damage(path, 17)
    file, _, _ = _image(path, 17)
    with pytest.raises(DamagedSampleError, match=f"{file}.*row {row} .*checksum") as caught:
        list(Loader(path, 8, engine=engine, size=32))
    assert caught.value.row == row


def test_damaged_samples_can_be_skipped_and_are_counted(engine: str, dataset: Path, tmp_path: Path, rows) -> None:
    path = _copy(dataset, tmp_path)
    lost = [_damage(path, position) for position in (0, 1, 2, 3, 30)]
    loader = Loader(path, 4, engine=engine, size=32, train=False, on_damage="skip")
    batches = list(loader)
    assert len(batches) == len(loader) == 16
    assert batches[0].images.shape == (0, 1, 32, 32)
    assert _join(batches).rows.tolist() == [row for row in rows.tolist() if row not in lost]
    assert loader.skipped == 5
    reference = dict(zip(rows.tolist(), _join(_evaluation(dataset, "torch")).images, strict=True))
    for batch in batches:
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            assert (image.int() - reference[row].int()).abs().max() <= 2


def _evaluation(path: Path, engine: str, **options) -> list[Batch]:
    return list(Loader(path, 16, engine=engine, size=32, train=False, **options))


def test_an_image_that_does_not_decode_raises_even_without_checksums(
    engine: str, tmp_path: Path, dataset: Path
) -> None:
    if "raw" in dataset.name:
        pytest.skip("raw images have nothing to decode")
    path = _copy(dataset, tmp_path)
    file, start, row = _image(path, 9)
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\x00" * 200)
    with pytest.raises(DamagedSampleError, match=f"row {row} "):
        _evaluation(path, engine, verify="never")


def test_verify_always_sees_damage_that_comes_after_the_first_epoch(engine: str, raw_beton, tmp_path: Path) -> None:
    path = _copy(raw_beton, tmp_path)
    always, first, never = (
        Loader(path, 16, engine=engine, size=32, train=False, verify=verify) for verify in ("always", "first", "never")
    )
    for loader in (always, first, never):
        list(loader)
    _damage(path, 5)
    list(first)
    list(never)
    if engine == "resident":  # it reads the file once
        list(always)
    else:
        with pytest.raises(DamagedSampleError):
            list(always)


def test_a_file_cut_short_while_open_raises_within_seconds(engine: str, dataset: Path, tmp_path: Path) -> None:
    path = _copy(dataset, tmp_path)
    loader = Loader(path, 4, engine=engine, size=32)
    batches = iter(loader)
    next(batches)
    file, start, _ = _image(path, 0)
    os.truncate(file, start + 50)
    begun = time.monotonic()
    if engine == "resident":  # it holds the whole file by now
        assert len(list(batches)) == len(loader) - 1
    else:
        with pytest.raises(DamagedSampleError, match=r"row \d+ .*ends at byte"):
            list(batches)
    assert time.monotonic() - begun < 5


def test_ctrl_c_ends_an_epoch_within_seconds(engine: str, raw_beton: Path) -> None:
    code = f"""
from fastrad.loading import Loader
# long epochs: Python loses a Ctrl-C that comes while it forgets a thread, of which an epoch has some
loader = Loader({str(raw_beton)!r}, 4, engine={engine!r}, size=64, indices=list(range(61)) * 200)
next(iter(loader))
print("ready", flush=True)
while True:
    for batch in loader:
        pass
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()  # else a failure would wait for it for ever
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors


def test_an_error_of_the_plan_reaches_the_caller(engine: str, raw_beton: Path) -> None:
    """Whoever runs through the steps, on whatever thread: an epoch that ends early is no epoch."""
    loader = Loader(raw_beton, 4, engine=engine, size=32)

    def steps():
        yield from list(loader._plan.steps(0, 0))[:3]
        raise ZeroDivisionError("in the plan")

    with pytest.raises(ZeroDivisionError, match="in the plan"):
        list(loader._engine.run(steps(), 32))


def test_only_the_callers_wait_for_images_counts_as_waiting(engine: str, raw_beton: Path) -> None:
    loader = Loader(raw_beton, 4, engine=engine, size=96, workers=2)
    began = time.monotonic()
    for _ in loader:
        time.sleep(0.01)
    elapsed = time.monotonic() - began
    assert 0 < loader.waited < elapsed - 0.16  # sixteen batches


# ends and beginnings


def test_state_resumes_inside_an_epoch_bit_for_bit(engine: str, dataset: Path) -> None:
    def make() -> Loader:
        return Loader(dataset, 8, engine=engine, size=32, seed=3, sampler="balanced")

    undisturbed = make()
    expected = [list(undisturbed) for _ in range(3)]
    loader = make()
    list(loader)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    for epoch, first in ((1, 3), (2, 0)):
        ours = list(resumed)
        assert resumed.epoch == epoch
        for batch, other in zip(ours, expected[epoch][first:], strict=True):
            assert all(torch.equal(mine, its) for mine, its in zip(batch, other, strict=True))


def test_state_of_a_finished_epoch_goes_on_with_the_next(engine: str, raw_beton: Path) -> None:
    loader = Loader(raw_beton, 8, engine=engine, size=16)
    list(loader)
    resumed = Loader(raw_beton, 8, engine=engine, size=16)
    resumed.load_state_dict(loader.state_dict())
    assert _rows(resumed) == _rows(loader)
    assert resumed.epoch == 1


@pytest.mark.parametrize("change", [{"batch_size": 4}, {"seed": 1}, {"indices": [1, 2, 3]}, {"sampler": "balanced"}])
def test_state_of_another_loader_is_refused(raw_beton: Path, change: dict) -> None:
    state = Loader(raw_beton, 8, engine="torch").state_dict()
    options = {"batch_size": 8, **change}
    with pytest.raises(InputError, match="loader state of another"):
        Loader(raw_beton, options.pop("batch_size"), engine="torch", **options).load_state_dict(state)


def test_state_of_another_file_is_refused(raw_beton: Path, tmp_path: Path, frames, labels) -> None:
    from fastrad.dataset import write_beton

    write_beton(tmp_path / "other.beton", frames[::-1].copy(), labels)
    state = Loader(raw_beton, 8, engine="torch").state_dict()
    with pytest.raises(InputError, match="another file"):
        Loader(tmp_path / "other.beton", 8, engine="torch").load_state_dict(state)


def test_batch_size_one_last_partial_batch_and_empty_selection(engine: str, dataset: Path) -> None:
    assert [len(batch.rows) for batch in Loader(dataset, 1, engine=engine, size=16, indices=[4, 9])] == [1, 1]
    assert [len(batch.rows) for batch in Loader(dataset, 25, engine=engine, size=16)] == [25, 25, 11]
    empty = Loader(dataset, 8, engine=engine, size=16, indices=[])
    assert (len(empty), empty.num_samples, list(empty)) == (0, 0, [])


def test_ranks_without_samples_get_empty_batches(engine: str, raw_beton: Path) -> None:
    batches = list(Loader(raw_beton, 4, engine=engine, size=16, indices=[7], rank=0, world_size=3))
    assert [batch.images.shape for batch in batches] == [(0, 1, 16, 16)]


def _sum_of_epoch(loader: Loader, answers) -> None:
    torch.set_num_threads(1)
    batch = _join(list(loader))
    answers.put((batch.rows.tolist(), batch.images.sum(dtype=torch.int64).item()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loader_works_in_another_process(engine: str, raw_beton: Path, method: str) -> None:
    loader = Loader(raw_beton, 8, engine=engine, size=32, seed=6)
    list(loader)  # its engine has run before
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=_sum_of_epoch, args=(loader, answers))
    process.start()
    found = answers.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    batch = _join(list(loader))
    assert found == (batch.rows.tolist(), batch.images.sum(dtype=torch.int64).item())


def _collect(answers) -> None:
    gc.collect()
    answers.put("collected")


def _large_sum(answers) -> None:
    loader = Loader(_LARGE[0], 61, engine=_LARGE[1], size=224, train=False)
    answers.put(sum(int(batch.images.sum()) for batch in loader))


_LARGE: list = []


def test_a_new_loader_in_a_fork_does_not_wait_for_threads_of_its_parent(engine: str, raw_beton: Path) -> None:
    """Batches large enough that torch computes them with several threads."""
    _LARGE[:] = raw_beton, engine
    expected = sum(int(batch.images.sum()) for batch in Loader(raw_beton, 61, engine=engine, size=224, train=False))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_large_sum, args=(answers,))
    process.start()
    try:
        assert answers.get(timeout=60) == expected
    finally:
        process.kill()
        process.join()


def test_a_batch_size_beyond_all_measure_is_one_batch(engine: str, raw_beton: Path) -> None:
    assert [len(batch.rows) for batch in Loader(raw_beton, 10**9, engine=engine, size=16)] == [FRAMES]


def test_a_fork_may_collect_what_its_parent_dropped(engine: str, raw_beton: Path) -> None:
    """DALI's threads stay in the parent: a child that destroyed a pipeline of it would wait for them for ever."""
    gc.disable()
    try:
        loader = Loader(raw_beton, 8, engine=engine, size=32)
        list(loader)
        del loader
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        process = context.Process(target=_collect, args=(answers,))
        process.start()
    finally:
        gc.enable()
    try:
        assert answers.get(timeout=30) == "collected"
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"engine": "webdataset"}, "webdataset"),
        ({"indices": [0, 61]}, "61"),
        ({"indices": [-1]}, "-1"),
        ({"seed": -1}, "seed"),
        ({"rank": 0}, "world_size"),
        ({"rank": 2, "world_size": 2}, "rank 2"),
        ({"dtype": torch.int32}, "int32"),
        ({"on_damage": "ignore"}, "ignore"),
        ({"verify": "sometimes"}, "sometimes"),
        ({"size": 0}, "size"),
        ({"workers": 0}, "workers"),
        ({"sampler": [1.0, 2.0]}, "weights"),
        ({"sampler": "balanced", "train": False}, "train=True"),
    ],
)
def test_wrong_arguments_are_named(raw_beton: Path, options: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        Loader(raw_beton, 8, **options)


def test_rotation_and_intensities_follow_the_engines_crops(engine: str, raw_beton: Path, frames, rows) -> None:
    """The batch equals `augment_batch` on the stored frames, which has its own tests, within rounding."""
    turning = Augmentation(max_rotation=15, noise=0.05)
    shading = Augmentation(brightness=0.3, contrast=0.2, gamma=0.2, erase=0.5)
    for policy in (turning, shading):
        loader = Loader(raw_beton, 61, engine=engine, size=48, augment=policy, seed=5)
        batch = next(iter(loader))
        places = np.searchsorted(rows, batch.rows.numpy())
        parameters = draw(policy, 5, 0, batch.rows.numpy(), np.zeros(FRAMES, np.int64), 96, 96)
        stored = torch.from_numpy(frames[places])[:, None]
        expected = augment_batch(stored, parameters, 48, Normalisation.gray(0.0, 1.0), torch.uint8)
        difference = (batch.images.int() - expected.int()).abs().float()
        assert difference.mean() <= 1
        assert difference.quantile(0.999) <= 3  # a gray level before gamma and contrast is up to three after
        assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_resident_says_what_it_needs_when_memory_is_short(raw_beton: Path) -> None:
    from fastrad.loading.engines.base import Delivery
    from fastrad.loading.engines.resident import ResidentEngine, needed_bytes

    assert needed_bytes(1_350_000, 224, 224) == pytest.approx(67.7e9, rel=0.001)
    samples = SimpleNamespace(path=raw_beton, frame=(10**7, 10**7))
    delivery = Delivery(torch.device("cpu"), 1, torch.uint8, torch.arange(256), False, np.arange(1), 1)
    with pytest.raises(InputError, match=r"needs 100,000,000,000,\d+ bytes on cpu, [\d,]+ are free"):
        ResidentEngine(samples, delivery)


def test_auto_says_what_it_picked_and_why(raw_beton: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="fastrad.loading"):
        loader = Loader(raw_beton, 8)
    assert loader.engine == "direct"
    assert loader.engine_reason in caplog.text


@pytest.mark.parametrize("device", ["cuda:63", "tpu"])
def test_a_device_that_is_not_there_is_one_clear_line(raw_beton: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"device '?{device}"):
        Loader(raw_beton, 4, device=device)
