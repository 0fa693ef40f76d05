"""What a job of a given size would need on a machine: disk, memory, hours a step, and the engine that fits.

Every duration is a count divided by a rate that was measured somewhere, and says where. This machine is not measured:
the scripts of benchmarks/ do that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from fastrad.dataset.beton.layout import ALLOCATION, DEFAULT_PAGE_SIZE, METADATA, METADATA_START
from fastrad.doctor.machine import Machine
from fastrad.loading.engines import model_bytes

RADIMAGENET_IMAGES = 1_350_000
TRAINING_PATIENTS = 461  # of a fold, one image each: four fifths of the 576 of the study that fastrad repeats
ARMS, FOLDS, SEEDS, STUDY_EPOCHS = 3, 5, 3, 30
# An epoch's working memory beside the pages themselves: torch with FFCV is 0.7 GB a process, buffers about as much.
_PROCESS_BYTES = 1_500_000_000
# Conversion holds numpy, OpenCV and a few pages in each process.
_CONVERTER_BYTES = 52_000_000 + 3 * DEFAULT_PAGE_SIZE
_FREE_SHARE_FOR_CACHE = 0.8

_PNG_PER_CORE = 4_563 / 2
_PNG_SOURCE = "fastrad convert: 4,563 gray PNG of 224 px a second with two workers on two cores (benchmarks/convert.py)"
_LOADING_PER_CORE = 108_541 / 2
_LOADING_SOURCE = (
    "crop, resize and flip: 108,541 raw images of 224 px a second with two threads (benchmarks/loaders.py)"
)
_TWO_CORES = {32: 139.0, 48: 118.0, 64: 85.0, 128: 37.0, 224: 9.0}
_CPU_SOURCE = "ResNet-18, float32, channels_last on two cores: 139, 118, 85, 37, 9 images/s at 32, 48, 64, 128, 224 px"


@dataclass(frozen=True)
class _GpuRate:
    """ResNet-18 training with mixed precision: images/s at `size` px."""

    images_per_second: float
    size: int
    source: str


_A100 = _GpuRate(10_030, 176, "A100 of 40 GB with FFCV's recipe at 160 to 192 px (ffcv-imagenet README)")
_RTX_3090 = _GpuRate(3_482, 224, "RTX 3090 with mixed precision and channels_last at 224 px (timm results)")
# GB/s of memory as NVIDIA's data sheets give them; the first pattern that is found in the driver's name of a card
# counts. Training a ResNet-18 is bound by memory: the two cards that were measured give 3.7 and 4.0 images/s at 224 px
# for each GB/s, so the others are estimated from the A100 by their memory.
_BANDWIDTH = (
    (r"B200\b", 8000),  # HGX and DGX B200: 64 TB/s over eight
    (r"H200\b", 4800),
    (r"H100 NVL\b", 3900),
    (r"H100 PCIe\b", 2000),
    (r"H100\b", 3350),  # SXM
    (r"A100.*80GB.*PCIe|A100.*PCIe.*80GB", 1935),
    (r"A100.*80GB", 2039),
    (r"A100\b", 1555),
    (r"RTX 5090\b", 1792),
    (r"RTX 4090\b", 1008),
    (r"RTX 3090\b", 936),
    (r"L40S?\b", 864),
    (r"A10G?\b", 600),
    (r"T4\b", 320),
    (r"L4\b", 300),
)
_A100_BANDWIDTH = 1555
_GPU_BATCH = 1024  # of the recipes for a GPU


@dataclass(frozen=True)
class Step:
    """One step of the job.

    Attributes
    ----------
    name : str
        The command.
    hours : float
        What `images / images_per_second` comes to, over all the step's epochs.
    images : int
        Images that pass through, all epochs counted.
    images_per_second : float
        The rate on this machine's cores or GPU.
    rests_on : str
        The measured figure behind the rate.
    """

    name: str
    hours: float
    images: int
    images_per_second: float
    rests_on: str


@dataclass(frozen=True)
class Job:
    """The plan; bytes and pixels.

    Attributes
    ----------
    images, size, epochs : int
        What was asked: images, their stored side length, epochs of pretraining.
    disk : int
        Bytes of the dataset file, raw; `free_disk` is what the folder has. The archive itself comes on top.
    memory : int
        Bytes below which a step cannot work; `comfortable_memory` also holds the whole file.
    engine : str
        The engine that fits, and `engine_reason` why.
    steps : tuple of Step
        In the order of the work.
    obstacles : tuple of str
        What stands in the way here, one line each.
    """

    images: int
    size: int
    epochs: int
    disk: int
    free_disk: int
    memory: int
    comfortable_memory: int
    engine: str
    engine_reason: str
    steps: tuple[Step, ...]
    obstacles: tuple[str, ...]


def file_bytes(images: int, size: int) -> int:
    """Bytes of a raw dataset file of `images` samples of `size` x `size` pixels, with pages of the default size."""
    page = DEFAULT_PAGE_SIZE
    while page < size * size:
        page *= 2
    head = -(-(METADATA_START + images * METADATA.itemsize) // page) * page
    pages = -(-images // (page // (size * size)))
    return head + pages * page + images * ALLOCATION.itemsize


def estimate(machine: Machine, images: int, size: int, epochs: int) -> Job:
    """Plan the job of converting, pretraining and comparing on this machine.

    Parameters
    ----------
    machine : Machine
    images : int
        In the archive.
    size : int
        Side of the stored square, pixels.
    epochs : int
        Of pretraining.

    Returns
    -------
    Job
        Its times rest on measured rates, whose origin each `Step` names.
    """
    disk = file_bytes(images, size)
    memory = max(machine.usable_cores * _CONVERTER_BYTES, _PROCESS_BYTES + images * METADATA.itemsize)
    comfortable = _PROCESS_BYTES + disk
    rate, source = _training_rate(machine, size)
    resident = _stays_on_gpu(machine, images, size)
    loading = _LOADING_PER_CORE * machine.usable_cores
    if not resident and loading < rate:
        rate, source = loading, _LOADING_SOURCE
    networks = f"{ARMS} arms x {FOLDS} folds x {SEEDS} seeds"
    study = TRAINING_PATIENTS * ARMS * FOLDS * SEEDS * STUDY_EPOCHS
    steps = (
        _step("convert", images, _PNG_PER_CORE * machine.usable_cores, _PNG_SOURCE),
        _step("pretrain, one epoch", images, rate, source),
        _step(f"pretrain, {epochs} epochs", images * epochs, rate, source),
        _step(f"compare, {networks} x {STUDY_EPOCHS} epochs at most", study, rate, source),
    )
    engine, reason = _engine(machine, resident, disk, comfortable, rate * size * size)
    return Job(
        images=images,
        size=size,
        epochs=epochs,
        disk=disk,
        free_disk=machine.free_disk,
        memory=memory,
        comfortable_memory=comfortable,
        engine=engine,
        engine_reason=reason,
        steps=steps,
        obstacles=tuple(_obstacles(machine, disk, memory)),
    )


def _step(name: str, images: int, rate: float, rests_on: str) -> Step:
    return Step(name, images / rate / 3600, images, rate, rests_on)


def _training_rate(machine: Machine, size: int) -> tuple[float, str]:
    """Images a second of one GPU, or of the usable cores; work grows with the number of pixels."""
    if machine.gpus:
        rate = _gpu_rate(machine.gpus[0].name)
        return rate.images_per_second * (rate.size / size) ** 2, rate.source
    sizes = np.array(list(_TWO_CORES))
    nearest = int(np.clip(size, sizes[0], sizes[-1]))
    rate_two = np.exp(np.interp(np.log(nearest), np.log(sizes), np.log(list(_TWO_CORES.values()))))
    return float(rate_two) * (nearest / size) ** 2 * machine.usable_cores / 2, _CPU_SOURCE


def _gpu_rate(name: str) -> _GpuRate:
    """The measured figure of a GPU, an estimate by its memory, or for one that is not known another's figure."""
    bandwidth = next((found for pattern, found in _BANDWIDTH if re.search(pattern, name)), None)
    if bandwidth is None:
        stand_in = f"no figure for {name}, so another stands in: {_RTX_3090.source}"
        return _GpuRate(_RTX_3090.images_per_second, _RTX_3090.size, stand_in)
    if "3090" in name:
        return _RTX_3090
    if bandwidth == _A100_BANDWIDTH:
        return _A100
    share = bandwidth / _A100_BANDWIDTH
    source = f"an estimate for {name}, not measured: {share:.2f} times the memory bandwidth ({bandwidth:,} GB/s) of the"
    return _GpuRate(_A100.images_per_second * share, _A100.size, f"{source} {_A100.source}")


def _stays_on_gpu(machine: Machine, images: int, size: int) -> bool:
    model = model_bytes(_GPU_BATCH, size, itemsize=2)
    return bool(machine.gpus) and images * size * size + model <= machine.gpus[0].free_memory


def _engine(machine: Machine, resident: bool, disk: int, comfortable: int, bytes_per_second: float) -> tuple[str, str]:
    gigabytes = f"{disk / 1e9:.1f} GB"
    if resident:
        return (
            "resident",
            f"the images of the {gigabytes} file fit into {machine.gpus[0].free_memory / 1e9:.0f} GB of GPU memory",
        )
    if machine.free_memory * _FREE_SHARE_FOR_CACHE >= comfortable:
        return "direct", f"the {gigabytes} file stays in memory after the first epoch"
    return "direct", (
        f"the {gigabytes} file is larger than the free memory, so every epoch reads it from the disk, "
        f"which has to give {bytes_per_second / 1e6:,.1f} MB/s to keep up"
    )


def _obstacles(machine: Machine, disk: int, memory: int) -> list[str]:
    lines = []
    if machine.free_disk < disk:
        lines.append(
            f"{machine.disk_folder} has {machine.free_disk / 1e9:.1f} GB free, the file needs {disk / 1e9:.1f} GB: "
            "choose another disk, a smaller --size or --encode jpeg"
        )
    if machine.free_memory < memory:
        lines.append(f"{machine.free_memory / 1e9:.1f} GB of memory are free, the steps need {memory / 1e9:.1f} GB")
    if not machine.gpus:
        lines.append("without a GPU the training runs on the CPU: at this size the hours above say whether that helps")
    return lines
