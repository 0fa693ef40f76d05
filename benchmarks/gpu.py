"""What a machine with a GPU is for, and whether everything is right there: one command, eight minutes at most.

    python benchmarks/gpu.py [TRAIN.beton] [--jpeg TRAIN_JPEG.beton] [--out benchmarks/results/gpu.json]

In: a raw and perhaps a JPEG file of the same kind of images; where none is given, the script makes 43,000 frames of
noise of 224 px, which are more than 2**31 pixels. Out: one JSON with provenance, written anew after each part, and a
table. The parts, in this order:

- `correct`: each engine's batches on the device against the reference on the CPU, and the last frames of the file;
- `overflow`: a step of float16 whose gradient overflows;
- `pretraining`: two epochs at 64 px against the CPU's metrics, twice the same, stopped and resumed;
- `training`: images/s of ResNet-18 in mixed precision, real over constant batch (`fastrad.train.bench`; the goal is
  0.98 for resident and direct), and the parts of a step;
- `variants`: stems, small batches, batch normalisation, compiled, CUDA graphs, on a constant batch;
- `loading`: images/s of each engine alone, in the training dtype; for dali with a JPEG file that is decoding;
- `epoch`: a whole epoch of `--epoch-images` (1,350,000) samples, the file's indices repeated;
- `study`: `--networks` (45) networks of a study, as many as there is time for, and what all of them would take.

Every part has a process and a time limit of its own; one that fails, is cut off or lacks a library is listed with its
reason and what it gave until then. It runs from a source tree with torch, torchvision, numba, OpenCV, scikit-learn,
pandas, rich, safetensors and NumPy alone, and goes the same way with `--device cpu` and small numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import provenance

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a source tree need not be installed

ENGINES = ("resident", "direct", "dali")
# part -> seconds at most, and the engines that it is run for (none: it has no engine)
PARTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "correct": (60, ENGINES),
    "overflow": (40, ()),
    "pretraining": (80, ()),
    "training": (90, ENGINES),
    "variants": (120, ()),
    "loading": (45, ENGINES),
    "epoch": (110, ("resident",)),
    "study": (300, ()),
}
_JPEG_FRAMES = 4096


def make_file(folder: Path, count: int, encode: str) -> Path:
    """Frames of smoothed noise, 224 x 224, eight classes: a few thousand of their own, then these moved."""
    import cv2

    from fastrad.dataset import write_beton

    path = folder / f"{encode}.beton"
    noise = np.random.default_rng(0).integers(0, 256, (min(count, 4096), 28, 28), dtype=np.uint8)
    base = np.stack([cv2.resize(frame, (224, 224), interpolation=cv2.INTER_CUBIC) for frame in noise])
    frames = np.empty((count, 224, 224), np.uint8)
    for number, start in enumerate(range(0, count, len(base))):
        part = frames[start : start + len(base)]
        np.copyto(part, np.roll(base, 16 * number, axis=2)[: len(part)])
    write_beton(path, frames, np.arange(count) % 8, encode=encode)
    return path


def ask(part: str, engine: str, settings: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A part in a process of its own: its last line, and why there is no more where it failed or was cut off."""
    if seconds < 5:
        return {"error": "not begun: the time is used up"}
    words = [sys.executable, str(HERE / "gpu_parts.py"), json.dumps([part, engine, settings])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            status = subprocess.run(words, stdout=out, stderr=errors, env=environment, timeout=seconds).returncode
            reason = f"exit status {status}" if status else ""
        except subprocess.TimeoutExpired:
            status, reason = 0, f"cut off after {seconds:.0f} s"
        out.seek(0)
        errors.seek(0)
        whole = [line for line in out.read().splitlines() if line.startswith("{") and line.endswith("}")]
        if status:
            reason = (errors.read().strip().splitlines() or [reason])[-1]
    found = json.loads(whole[-1]) if whole else {}
    found["part_seconds"] = round(time.monotonic() - began, 1)
    return found | ({"error": reason} if reason else {})


def machine(device: str) -> dict[str, Any]:
    """The machine and the versions."""
    import torch

    import fastrad

    about: dict[str, Any] = {"benchmark": "gpu", "device": "cpu"}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        about |= {"device": properties.name, "device_memory_mb": round(properties.total_memory / 1e6)}
    versions = {"fastrad": fastrad.__version__, "torch": torch.__version__, "cuda": torch.version.cuda}
    return about | {
        "cpu": provenance.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions | {"cudnn": torch.backends.cudnn.version(), "numpy": np.__version__},
        "commit": provenance.commit(),
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Replace the file at once: whatever happens next, what is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".part")
    new.write_text(json.dumps(result, indent=1) + "\n")
    new.replace(path)


def table(result: dict[str, Any]) -> str:
    """Markdown: a line a measurement."""
    lines = ["| part | engine | result |", "|---|---|---|"]
    for part, engine, found in result["measured"]:
        for line in _lines(part, found) + ([f"**{found['error']}**"] if "error" in found else []):
            lines.append(f"| {part} | {engine} | {line} |")
    return "\n".join(lines)


def _lines(part: str, found: dict[str, Any]) -> list[str]:
    if part == "training" and "variants" in found:
        rates = [f"{name}: {value['median']:,.0f} images/s" for name, value in found["variants"].items()]
        steps = ", ".join(f"{name} {value} ms" for name, value in found["parts"].items())
        return [f"real / constant {found['real_to_constant']:.3f}", *rates, steps]
    if part == "epoch" and "images" in found:
        return [
            f"{found['images_per_second']:,} images/s; {found['images']:,} of {found['of']:,} images in "
            f"{found['seconds']:,} s, {found['waited_seconds']} s of them waiting for images"
        ]
    if part == "study" and "networks" in found:
        return [f"{found['networks']} of {found['of']} networks in {found['seconds']:,} s"]
    left_out = ("error", "part_seconds", "host_peak_mb", "device_peak_mb", "estimated_for_the_model_mb")
    return [f"{name}: {_short(value)}" for name, value in found.items() if name not in left_out]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_short(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(_short, value))
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def parse() -> argparse.Namespace:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, nargs="?", help="a raw file; made of noise where missing")
    parser.add_argument("--jpeg", type=Path, help="a JPEG file; made of noise where TRAIN is missing too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="of loading alone")
    parser.add_argument("--frames", type=int, default=43_000, help="of the file that is made")
    parser.add_argument("--small-images", type=int, default=1200, help="of the pretraining that is compared")
    parser.add_argument("--epoch-images", type=int, default=1_350_000)
    parser.add_argument("--networks", type=int, default=45)
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="leave out what is compiled")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing is begun or goes on")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.json")
    return parser.parse_args()


def main() -> None:
    """Run every part for every engine that it has."""
    began = time.monotonic()
    words = parse()
    names = ("device", "size", "batch_size", "rounds", "steps", "seconds", "epoch_images", "small_images", "networks")
    settings = {name: getattr(words, name) for name in (*names, "compiled")}
    result = machine(words.device) | {"arguments": settings, "noise": words.train is None, "measured": []}
    with tempfile.TemporaryDirectory() as name:
        raw, encoded = words.train, words.jpeg
        if raw is None:
            raw = make_file(Path(name), words.frames, "raw")
            encoded = encoded or make_file(Path(name), min(words.frames, _JPEG_FRAMES), "jpeg")
        files = {"raw": str(raw), "jpeg": str(encoded or "")}
        result["making_the_data_seconds"] = round(time.monotonic() - began, 1)
        for part in (part for part in PARTS if part in words.parts):
            limit, engines = PARTS[part]
            for engine in [engine for engine in engines if engine in words.engines] or ([] if engines else [""]):
                left = 60 * words.minutes - (time.monotonic() - began) - 3
                found = ask(part, engine, settings | files, min(limit, left))
                result["measured"].append([part, engine, found])
                result["seconds"] = round(time.monotonic() - began, 1)
                write(words.out, result)
                print(part, engine, json.dumps(found), file=sys.stderr, flush=True)
    print(table(result))


if __name__ == "__main__":
    main()
