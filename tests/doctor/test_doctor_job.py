"""What a job of a given size would need: every number worked out by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fastrad.dataset import write_beton
from fastrad.doctor import Machine, estimate, job
from fastrad.doctor.job import file_bytes
from fastrad.doctor.machine import Gpu
from fastrad.study.protocol.config import CompareConfig, Tuning

WORKSTATION = Machine(
    cores=2,
    usable_cores=2,
    memory=64_000_000_000,
    free_memory=60_000_000_000,
    disk_folder=Path("/data"),
    free_disk=500_000_000_000,
    shared_memory=32 << 30,
    descriptors=1024,
    descriptors_limit=1 << 20,
    gpus=(),
)
RTX_3090 = Gpu("NVIDIA GeForce RTX 3090", 24 << 30, 23 << 30, "580.65.06")


@pytest.mark.parametrize(("count", "size"), [(700, 8), (300, 224), (2049, 64)])
def test_disk_is_the_size_of_the_file_that_gets_written(tmp_path: Path, count: int, size: int) -> None:
    images = np.zeros((count, size, size), dtype=np.uint8)
    write_beton(tmp_path / "all.beton", images, np.zeros(count, dtype=np.int64), page_size=1 << 23)
    assert file_bytes(count, size) == (tmp_path / "all.beton").stat().st_size


def test_converting_takes_images_over_the_stated_rate_of_the_cores() -> None:
    convert = estimate(WORKSTATION, 1_350_000, 224, epochs=16).steps[0]
    assert convert.hours == pytest.approx(1_350_000 / 4_563 / 3600)
    assert "4,563" in convert.rests_on


def test_cpu_training_follows_the_measured_sizes() -> None:
    job = estimate(WORKSTATION, 1_000, 64, epochs=3)
    epoch, run, study = job.steps[1:]
    assert epoch.hours == pytest.approx(1_000 / 85 / 3600)
    assert run.hours == pytest.approx(3 * epoch.hours)
    assert study.images == 461 * 3 * 5 * 3 * 30
    assert study.name.endswith("30 epochs at most")


def test_the_study_whose_time_is_said_is_the_one_that_compare_makes() -> None:
    fields = {each.name: each.default for each in dataclasses.fields(CompareConfig)}
    assert (fields["folds"], fields["seeds"], Tuning().epochs) == (job.FOLDS, job.SEEDS, job.STUDY_EPOCHS)


def test_gpu_nobody_measured_says_whose_figure_stands_in() -> None:
    machine = Machine(**{**vars(WORKSTATION), "gpus": (Gpu("NVIDIA RTX 4000 Ada", 20 << 30, 19 << 30, "580.65.06"),)})
    training = estimate(machine, 1_350_000, 224, epochs=1).steps[1]
    assert training.images_per_second == pytest.approx(3_482)
    assert training.rests_on.startswith("no figure for NVIDIA RTX 4000 Ada")
    assert "RTX 3090" in training.rests_on


def test_file_larger_than_memory_names_what_the_disk_has_to_give() -> None:
    machine = Machine(**{**vars(WORKSTATION), "gpus": (RTX_3090,)})
    job = estimate(machine, 1_350_000, 224, epochs=1)
    # 3,482 images/s of 224 x 224 bytes are 174.7 MB/s; the file has 67.9 GB
    assert "174.7 MB/s" in job.engine_reason
    assert "67.9 GB" in job.engine_reason


def test_images_that_fit_the_gpu_stay_there_and_loading_does_not_limit() -> None:
    h200 = Gpu("NVIDIA H200", 143_771 << 20, 140_000_000_000, "580.65.06")
    job = estimate(Machine(**{**vars(WORKSTATION), "gpus": (h200,)}), 1_350_000, 176, epochs=1)
    assert job.engine == "resident"
    assert job.steps[1].images_per_second == pytest.approx(10_030 * 4800 / 1555)
    assert "not measured: 3.09 times the memory bandwidth" in job.steps[1].rests_on
    # 121.5 GB of images leave 18 GB; a batch of 1024 of 300 px takes 31 GB with bfloat16's activations
    assert estimate(Machine(**{**vars(WORKSTATION), "gpus": (h200,)}), 1_350_000, 300, epochs=1).engine == "direct"


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [
        ("NVIDIA H100 80GB HBM3", 3350),
        ("NVIDIA H100 PCIe", 2000),
        ("NVIDIA H200", 4800),
        ("NVIDIA B200", 8000),
        ("NVIDIA GeForce RTX 4090", 1008),
        ("NVIDIA GeForce RTX 5090", 1792),
        ("NVIDIA L4", 300),
        ("NVIDIA L40S", 864),
        ("NVIDIA A100-SXM4-40GB", 1555),
        ("NVIDIA A100-SXM4-80GB", 2039),
        ("NVIDIA A100 80GB PCIe", 1935),
        ("NVIDIA A10", 600),
        ("NVIDIA A10G", 600),
        ("Tesla T4", 320),
    ],
)
def test_current_gpus_are_estimated_by_their_own_memory(name: str, bandwidth: int) -> None:
    machine = Machine(**{**vars(WORKSTATION), "gpus": (Gpu(name, 24 << 30, 23 << 30, "580.65.06"),)})
    training = estimate(machine, 1_000, 176, epochs=1).steps[1]
    assert training.images_per_second == pytest.approx(10_030 * bandwidth / 1555)
    assert "A100" in training.rests_on
    assert ("not measured" in training.rests_on) == (bandwidth != 1555)


def test_file_that_fits_memory_is_said_to_stay_there() -> None:
    assert "stays in memory" in estimate(WORKSTATION, 100_000, 224, epochs=1).engine_reason


def test_full_disk_is_named_with_what_the_file_needs() -> None:
    machine = Machine(**{**vars(WORKSTATION), "free_disk": 1_000_000_000})
    obstacle = estimate(machine, 1_350_000, 224, epochs=1).obstacles[0]
    assert "1.0 GB free" in obstacle
    assert "67.9 GB" in obstacle
