"""What a machine with a GPU is for: training on real loading over training on a constant batch, for each engine.

    python benchmarks/gpu.py TRAIN.beton [--jpeg TRAIN_JPEG.beton] [--out benchmarks/results/gpu.json]

In: a raw and perhaps a JPEG file of the same kind of images (the script makes 4,096 frames of noise where none is
given). Out: one JSON with provenance, and a table:

- `training`: images/s of ResNet-18 with mixed precision for engines resident, direct and dali, real over constant batch
  (`fastrad.train.bench`); the goal is 0.98 for resident and direct.
- `loading`: images/s of each engine alone, crops and flips done, batches on the device, float16; for dali with a JPEG
  file that is decoding.
- `epoch`: one whole epoch of `--epoch-images` (1,350,000) samples, the file's indices repeated, loaded and trained on:
  seconds, images/s, memory of host and device.

Every part runs in a process of its own. `--device cpu` with small numbers goes the same way without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import commit

ENGINES = ("resident", "direct", "dali")


def training(path: Path, engine: str, words: dict[str, Any]) -> dict[str, Any]:
    """Training with real loading, beside a constant batch."""
    from fastrad.train.bench import measure_training

    return measure_training(
        path,
        size=words["size"],
        batch_size=words["batch_size"],
        device=torch.device(words["device"]),
        engine=engine,
        rounds=words["rounds"],
        steps=words["steps"],
    )


def loading(path: Path, engine: str, words: dict[str, Any]) -> dict[str, Any]:
    """Images/s of the loader alone, each batch waited for."""
    from fastrad.loading import Loader
    from fastrad.loading.bench import measure

    device = torch.device(words["device"])
    loader = Loader(path, words["batch_size"], engine=engine, size=words["size"], device=device, dtype=torch.float16)

    def epoch():
        for batch in loader:
            _wait(device)
            yield len(batch.labels)

    found = measure(epoch, words["seconds"])
    return {
        "images_per_second": [round(rate) for rate in found.images_per_second],
        "gap_ms": [round(gap, 2) for gap in (found.gap_p50, found.gap_p95, found.gap_p99)],
        "first_batch_seconds": round(found.first_batch_seconds, 2),
        "encoding": loader.card.parameters.get("encode"),
    }


def epoch(path: Path, engine: str, words: dict[str, Any]) -> dict[str, Any]:
    """One epoch of training on as many samples as RadImageNet has."""
    from functools import partial

    from torch.nn import functional

    from fastrad.imaging.normalisation import Normalisation
    from fastrad.loading import Loader
    from fastrad.models.resnet import resnet18
    from fastrad.train.precision import choose_precision
    from fastrad.train.ranks import Ranks
    from fastrad.train.schedule import set_lr, sgd
    from fastrad.train.step import Learner, timed_convolutions

    device, count = torch.device(words["device"]), words["epoch_images"]
    begun = time.perf_counter()
    stored = len(Loader(path, 1, engine="torch"))
    loader = Loader(
        path,
        words["batch_size"],
        engine=engine,
        size=words["size"],
        device=device,
        indices=np.arange(count) % stored,
    )
    normalisation = Normalisation.gray(loader.card.mean, loader.card.std)
    model = resnet18(max(2, len(loader.card.classes))).to(device)
    optimiser, precision = sgd(model, momentum=0.9, weight_decay=5e-5), choose_precision("amp", device, words["size"])
    set_lr(optimiser, 0.01)
    learner = Learner(model, optimiser, precision, normalisation, Ranks(0, 1, device))
    first, seen = 0.0, 0
    with timed_convolutions():
        for step, (images, labels, _) in enumerate(loader):
            learner.step(images, partial(functional.cross_entropy, target=labels), number=step)
            seen += len(labels)
            first = first or time.perf_counter() - begun
    _wait(device)
    seconds = time.perf_counter() - begun
    assert seen == count
    on_gpu = device.type == "cuda"
    return {
        "images": seen,
        "seconds": round(seconds, 2),
        "first_step_seconds": round(first, 2),
        "images_per_second": round(seen / (seconds - first)) if seconds > first else 0,
        "host_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "device_peak_mb": round(torch.cuda.max_memory_allocated(device) / 1e6) if on_gpu else 0,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_file(folder: Path, encode: str) -> Path:
    """Frames of smoothed noise, 224 x 224, where no real file is at hand."""
    import cv2

    from fastrad.dataset import write_beton

    path = folder / f"{encode}.beton"
    noise = np.random.default_rng(0).integers(0, 256, (4096, 28, 28), dtype=np.uint8)
    frames = np.stack([cv2.resize(frame, (224, 224), interpolation=cv2.INTER_CUBIC) for frame in noise])
    write_beton(path, frames, np.arange(len(frames)) % 8, encode=encode)
    return path


PARTS = {"training": training, "loading": loading, "epoch": epoch}


def ask(part: str, path: Path, engine: str, words: dict[str, Any]) -> dict[str, Any]:
    """A part in a process of its own; its last line where it fails."""
    request = json.dumps([part, str(path), engine, words])
    done = subprocess.run([sys.executable, __file__, "--part", request], capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def provenance(words: dict[str, Any]) -> dict[str, Any]:
    """The machine, the versions and the arguments."""
    import fastrad

    on_gpu = words["device"].startswith("cuda")
    return {
        "benchmark": "gpu",
        "device": torch.cuda.get_device_name(words["device"]) if on_gpu else "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {"fastrad": fastrad.__version__, "torch": torch.__version__, "cuda": torch.version.cuda},
        "commit": commit(),
        "arguments": words,
    }


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["| part | engine | file | images/s | real / constant |", "|---|---|---|---|---|"]
    for part, engine, file, found in result["measured"]:
        ratio = ""
        if "error" in found:
            rate = found["error"]
        elif part == "training":
            (rate,) = (f"{v['median']:,.0f}" for name, v in found["variants"].items() if name.startswith("real"))
            ratio = f"{found['real_to_constant']:.3f}"
        elif part == "loading":
            rate = f"{np.median(found['images_per_second']):,.0f}"
        else:
            rate = f"{found['images_per_second']:,} ({found['images']:,} images in {found['seconds']:,} s)"
        lines.append(f"| {part} | {engine} | {file} | {rate} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Run every part for every engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, nargs="?", help="a raw file; made of noise where missing")
    parser.add_argument("--jpeg", type=Path, help="a JPEG file; made of noise where TRAIN is missing too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="of loading alone")
    parser.add_argument("--epoch-images", type=int, default=1_350_000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    arguments = parser.parse_args()
    names = ("device", "size", "batch_size", "rounds", "steps", "seconds", "epoch_images")
    words = {name: getattr(arguments, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        raw, encoded = arguments.train, arguments.jpeg
        if raw is None:
            raw, encoded = (make_file(Path(folder), encode) for encode in ("raw", "jpeg"))
        measured = []
        for part in arguments.parts:
            for engine in arguments.engines:
                for file in [raw] if part == "epoch" or encoded is None else [raw, encoded]:
                    found = ask(part, file, engine, words)
                    measured.append([part, engine, "JPEG" if file is encoded else "raw", found])
                    print(part, engine, file.name, json.dumps(found), file=sys.stderr, flush=True)
    result = {**provenance(words), "noise": arguments.train is None, "measured": measured}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        part_of, file_of, engine_of, words_of = json.loads(sys.argv[2])
        print(json.dumps(PARTS[part_of](Path(file_of), engine_of, words_of)))
    else:
        main()
