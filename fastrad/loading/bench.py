"""How fast a file is loaded on this machine: images/s of each engine beside the limits that it could reach.

In: a dataset file and a workload: "A" stored frames to uint8 batches, "B" A with random resized crop and flip, "C" B
normalised to float32. Out: `Measurement`. Each is taken in a process of its own, after one untimed epoch that warms the
page cache; whatever is measured first passes a check of its output. `benchmarks/loaders.py` measures other libraries
with the same clock.

The limits ("rooflines") do nothing but the work itself, on the same threads: `copy` reads each sample from the page
cache into a few batches in turn, `gather` copies them from memory, `resize` is a bare `cv2.resize` of each crop,
`decode` a bare JPEG decode.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from fastrad.errors import FastradError, InputError
from fastrad.system.processes import import_settings

ROOFLINES = ("copy", "gather", "resize", "decode")
_BATCH_SIZE = 256
_ROTATING_BATCHES = 3  # a thread: one alone would stay in the cache, which a batch that is handed over cannot


@dataclass(frozen=True)
class Measurement:
    """What one process measured.

    Attributes
    ----------
    images_per_second : list of float
        One a window.
    images_per_cpu_second : float
        Over all windows, of the process and its children.
    first_batch_seconds : float
        From the making of the loader to its first batch.
    gap_p50, gap_p95, gap_p99 : float
        Milliseconds between batches handed over.
    memory_mb : float
        Largest proportional set size of the process tree, seen at the ends of the windows.
    """

    images_per_second: list[float]
    images_per_cpu_second: float
    first_batch_seconds: float
    gap_p50: float
    gap_p95: float
    gap_p99: float
    memory_mb: float


def measure(
    epoch: Callable[[], Iterator[int]],
    seconds: float,
    *,
    windows: int = 3,
    warm_up: float = float("inf"),
    begun: float | None = None,
    once: bool = False,
) -> Measurement:
    """Time a loader, epoch after epoch.

    Parameters
    ----------
    epoch : callable
        Starts an epoch; its iterator gives the number of images of each batch.
    seconds : float
        Of all windows together; a window ends with a batch, wherever that stands in its epoch.
    warm_up : float
        Seconds from the first batch that are not timed; an epoch at most.
    begun : float, optional
        `time.perf_counter()` before the loader was made; now by default.
    once : bool
        End with the first epoch, for a file that is read from disk but once.
    """
    begun = begun or time.perf_counter()
    stream = _epochs(epoch, once)
    next(stream)
    warm = time.perf_counter()
    first = warm - begun
    while time.perf_counter() - warm < warm_up and next(stream, None) is not None:
        pass
    rates: list[float] = []
    gaps: list[float] = []
    total, cpu, memory = 0, 0.0, 0.0
    ended = False
    while len(rates) < windows and not ended:
        count, spent = 0, _cpu_seconds()
        opened = last = time.perf_counter()
        while not count or time.perf_counter() - opened < seconds / windows:
            images = next(stream, 0)
            ended = images == 0
            if ended:
                break
            if images is not None:
                now = time.perf_counter()
                gaps.append(now - last)
                last, count = now, count + images
        if count:
            rates.append(count / (last - opened))
        cpu += _cpu_seconds() - spent
        total += count
        memory = max(memory, _memory_mb())
    p50, p95, p99 = (float(value) for value in np.quantile(gaps, (0.5, 0.95, 0.99)) * 1000)
    return Measurement(rates, total / cpu, first, p50, p95, p99, memory)


def _epochs(epoch: Callable[[], Iterator[int]], once: bool) -> Iterator[int | None]:
    """The batches of one epoch after another, with None where an epoch ends."""
    while True:
        yield from epoch()
        if once:
            return
        yield None


def _cpu_seconds() -> float:
    """CPU time of this process and of its children, those that live and those that have ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    ended = os.times()
    total = time.process_time() + ended.children_user + ended.children_system
    for process in _descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def _descendants(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _memory_mb() -> float:
    total = 0
    for process in [os.getpid(), *_descendants(os.getpid())]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def loader_epochs(path: Path, engine: str, workload: str, workers: int) -> Callable[[], Iterator[int]]:
    """Epochs of `Loader`, after a check of its output.

    Raises
    ------
    FastradError
        If a sample is missing or repeated, or the images differ from the reference engine's.
    """
    import torch

    from fastrad.loading.loader import Loader
    from fastrad.loading.policy import Augmentation

    policy = Augmentation.none() if workload == "A" else Augmentation()
    dtype = torch.float32 if workload == "C" else torch.uint8
    size = Loader(path, 1, engine="torch").card.parameters.get("size", 224)

    def make(name: str, **options) -> Loader:
        return Loader(
            path, _BATCH_SIZE, engine=name, size=size, augment=policy, dtype=dtype, workers=workers, **options
        )

    seen = np.sort(np.concatenate([batch.rows.numpy() for batch in make(engine)]))
    if len(seen) != len(np.unique(seen)) or len(seen) != make("torch").num_samples:
        raise FastradError(f"engine {engine}: an epoch of {path} does not hold every sample once")
    ours, reference = (next(iter(make(name))).images.double() for name in (engine, "torch"))
    error = float((ours - reference).abs().mean()) * (1 if dtype == torch.uint8 else 255 / 4)
    if error > 1.5:
        raise FastradError(f"engine {engine}: its images differ from the reference by {error:.1f} gray levels")
    loader = make(engine)
    return lambda: (len(batch.labels) for batch in loader)


def roofline_epochs(path: Path, limit: str, workers: int) -> Callable[[], Iterator[int]]:
    """Epochs of bare work on `workers` threads over the whole file in a random order, one number for the epoch."""
    import cv2

    from fastrad.dataset import BetonFile
    from fastrad.loading.kernels import jpeg, resample
    from fastrad.loading.policy import Augmentation, draw
    from fastrad.loading.samples import BetonSamples

    file = BetonFile(path)
    samples = BetonSamples(file, "never")
    area, count = file.height * file.width, file.num_samples
    order = np.random.default_rng(0).permutation(count)
    memory = np.zeros(0, np.uint8)
    if limit in ("gather", "resize"):
        memory = np.stack([file.decode(index) for index in range(count)])
    size = file.height
    crops = draw(Augmentation(), 0, 0, file.rows[order], np.zeros(count, np.int64), file.height, file.width)
    boxes, _ = resample.boxes_and_flips(crops)
    cv2.setNumThreads(1)

    def work(share: np.ndarray) -> None:
        batches = cycle(np.empty((_ROTATING_BATCHES, _BATCH_SIZE * area), np.uint8))
        missing = np.empty(_BATCH_SIZE, np.int64)
        decode = jpeg.decoder() if limit == "decode" else None
        for places in np.split(share, range(_BATCH_SIZE, len(share), _BATCH_SIZE)):
            batch = next(batches)
            if limit == "copy":
                sources = file.offsets[order[places]].astype(np.int64)
                resample.read(samples.descriptor, sources, area, batch.ctypes.data, missing)
            elif limit == "gather":
                resample.copy(memory.ctypes.data + order[places] * area, area, batch.ctypes.data)
            elif limit == "resize":
                images = batch[: size * size * len(places)].reshape(-1, size, size)
                for image, place in zip(images, places, strict=True):
                    top, left, height, width = boxes[place]
                    crop = memory[order[place], top : top + height, left : left + width]
                    cv2.resize(crop, (size, size), dst=image, interpolation=cv2.INTER_LINEAR)
            else:
                assert decode is not None
                frame = batch[:area].reshape(file.height, file.width)
                for place in places:
                    decode(file.image_bytes(order[place]), frame)

    def epoch() -> Iterator[int]:
        threads = [threading.Thread(target=work, args=(share,)) for share in np.array_split(np.arange(count), workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield count

    return epoch


def measure_in_fresh_process(path: Path, name: str, workload: str, workers: int, seconds: float) -> Measurement:
    """Measure an engine, or a roofline for its name, in a process of its own with library threads pinned to 1.

    Raises
    ------
    FastradError
        If it fails, with the last line that it said.
    """
    request = json.dumps([str(path), name, workload, workers, seconds])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= import_settings()
    command = [sys.executable, "-m", "fastrad.loading.bench", request]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no reason given"]
        raise FastradError(f"{name} on {path}: {lines[-1]}")
    return Measurement(**json.loads(answer.stdout))


def _main(request: str) -> None:
    path, name, workload, workers, seconds = json.loads(request)
    if workload not in "ABC":
        raise InputError(f"workload {workload!r} is none of A, B, C")
    if name in ROOFLINES:
        epoch = roofline_epochs(Path(path), name, workers)
    else:
        epoch = loader_epochs(Path(path), name, workload, workers)
    print(json.dumps(asdict(measure(epoch, seconds))))


if __name__ == "__main__":
    _main(sys.argv[1])
