"""How fast an archive of PNG becomes dataset files: fastrad beside FFCV, LitData and WebDataset, on the same images.

    benchmarks/peers.sh .peers                                     # once: the peers, pinned
    python benchmarks/convert.py --source ARCHIVE --folder WORK --peers .peers/bin/python

In: a folder of real images (any RadImageNet-like tree of PNG or JPEG); 20,000 gray 224 x 224 PNG are made of them by
resizing, the second time round mirrored. Out: one JSON, `benchmarks/results/convert.json`, and a table.

The limits are measured in the same run: `decode` reads each file and calls `cv2.imdecode`, nothing else, in as many
processes; `decode + encode` encodes a JPEG as well. Every contender runs in a fresh process with a warm page cache, in
interleaved rounds; the time is that of its conversion call, which for fastrad includes planning, the start of workers,
checksums, hashes and fsync. Start-up of interpreters and imports is left out for all of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import provenance

SIDE = 224
QUALITY = 90
PEERS = ("litdata", "webdataset")
CONTENDERS = (
    "decode",
    "decode+encode",
    "fastrad raw",
    "fastrad jpeg",
    "fastrad shards",
    "ffcv rgb",
    "ffcv gray field",
    "litdata",
    "webdataset",
)
VERSIONS = ("fastrad", "ffcv", "numpy", "opencv-python", "opencv-python-headless", "litdata", "webdataset", "torch")


def files_of(folder: Path) -> list[str]:
    """The images made by `make_images`, in order."""
    return sorted(str(path) for path in folder.rglob("*.png"))


def make_images(source: Path, folder: Path, count: int) -> None:
    """Write `count` gray PNG of 224 x 224 made from the images under `source`, ten classes of folders."""
    originals = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".png", ".jpg"))
    if len(files_of(folder)) == count:
        return
    if not originals:
        sys.exit(f"{source}: no PNG or JPEG in there")
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = cv2.imread(str(originals[number % len(originals)]), cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        if number // len(originals) % 2:
            image = cv2.flip(image, 1)
        target = folder / f"class{number % 10}" / f"{number:06d}.png"
        cv2.imwrite(str(target), image, [cv2.IMWRITE_PNG_COMPRESSION, 6])


def read(path: str) -> np.ndarray:
    """One gray image."""
    with open(path, "rb") as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_GRAYSCALE)


def loop(paths: list[str], encode: bool, barrier, ends) -> None:
    """The bare loop of one process."""
    cv2.setNumThreads(1)
    barrier.wait()
    for path in paths:
        image = read(path)
        if encode:
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    ends.put(time.monotonic())


def time_bare_loop(paths: list[str], workers: int, encode: bool) -> float:
    """Seconds from the common start to the last process's end."""
    context = multiprocessing.get_context("fork")
    barrier, ends = context.Barrier(workers + 1), context.Queue()
    processes = [context.Process(target=loop, args=(paths[k::workers], encode, barrier, ends)) for k in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.monotonic()
    last = max(ends.get() for _ in processes)
    for process in processes:
        process.join()
    return last - started


def time_fastrad(folder: Path, out: Path, workers: int, **options) -> float:
    """`fastrad.convert.run` from the manifest to the finished file."""
    from fastrad.archives import read_source
    from fastrad.convert.run import ConvertOptions, convert

    started = time.monotonic()
    convert(read_source("folder", folder), out, ConvertOptions(size=SIDE, quality=QUALITY, workers=workers, **options))
    return time.monotonic() - started


class Pairs:
    """(image, label) of each file, for FFCV's writer."""

    def __init__(self, paths: list[str], rgb: bool) -> None:
        self.paths, self.rgb = paths, rgb

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        image = read(self.paths[index])
        return (cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if self.rgb else image), index % 10


def time_ffcv(paths: list[str], out: Path, workers: int, rgb: bool) -> float:
    """FFCV's `DatasetWriter`, raw: its own RGB field, or fastrad's one-channel field."""
    from ffcv import DatasetWriter
    from ffcv.fields import IntField, RGBImageField

    from fastrad.dataset import GrayscaleImageField

    image = RGBImageField(write_mode="raw") if rgb else GrayscaleImageField("raw", SIDE, SIDE)
    started = time.monotonic()
    writer = DatasetWriter(str(out / "x.beton"), {"image": image, "label": IntField()}, num_workers=workers)
    writer.from_indexed_dataset(Pairs(paths, rgb))
    os.sync()
    return time.monotonic() - started


def as_jpeg(path: str) -> dict:
    """One LitData sample: the same gray JPEG as fastrad's shards hold."""
    encoded = cv2.imencode(".jpg", read(path), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return {"image": encoded, "label": int(Path(path).parent.name[5:])}


def time_litdata(paths: list[str], out: Path, workers: int) -> float:
    """LitData's `optimize`."""
    import litdata

    started = time.monotonic()
    litdata.optimize(as_jpeg, paths, str(out), chunk_bytes="64MB", num_workers=workers)
    os.sync()
    return time.monotonic() - started


def write_tar(paths: list[str], pattern: str) -> None:
    """WebDataset's writer, which is one process's."""
    import webdataset

    cv2.setNumThreads(1)
    with webdataset.ShardWriter(pattern, maxsize=1 << 30, verbose=0) as writer:
        for path in paths:
            sample = as_jpeg(path)
            writer.write({"__key__": Path(path).stem, "jpg": sample["image"], "cls": sample["label"]})


def time_webdataset(paths: list[str], out: Path, workers: int) -> float:
    """One `ShardWriter` a process, as its users do."""
    context = multiprocessing.get_context("fork")
    started = time.monotonic()
    processes = [
        context.Process(target=write_tar, args=(paths[k::workers], f"{out}/{k}-%06d.tar")) for k in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a ShardWriter's process failed")
    os.sync()
    return time.monotonic() - started


def time_contender(name: str, folder: Path, out: Path, workers: int) -> float:
    """Seconds that one contender takes for all images, in this process."""
    paths = files_of(folder)
    cv2.setNumThreads(1)
    match name:
        case "decode" | "decode+encode":
            return time_bare_loop(paths, workers, encode=name != "decode")
        case "fastrad raw" | "fastrad jpeg":
            return time_fastrad(folder, out, workers, encode=name.split()[1])
        case "fastrad shards":
            return time_fastrad(folder, out, workers, encode="jpeg", format="webdataset")
        case "ffcv rgb" | "ffcv gray field":
            return time_ffcv(paths, out, workers, rgb=name == "ffcv rgb")
        case "litdata":
            return time_litdata(paths, out, workers)
        case _:
            return time_webdataset(paths, out, workers)


def run(name: str, arguments: argparse.Namespace) -> dict:
    """Time one contender in a fresh process; its error line where it fails."""
    out = arguments.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    python = arguments.peers if name in PEERS else sys.executable
    if python is None:
        return {"error": "not installed; see benchmarks/peers.sh"}
    words = [python, __file__, "--one", name, "--folder", arguments.folder, "--workers", str(arguments.workers)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, env={**os.environ, **threads})
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"}
    return {"seconds": float(done.stdout.strip().splitlines()[-1]), "bytes": size}


def installed(python: str) -> dict[str, str]:
    """Versions of what matters, as that interpreter has them."""
    program = (
        "import json, importlib.metadata as m\n"
        f"names = {VERSIONS!r}\n"
        "found = {d.metadata['Name']: d.version for d in m.distributions()}\n"
        "print(json.dumps({n: found[n] for n in names if n in found}))"
    )
    return json.loads(subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Make the images, run the rounds, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="real images to make the archive of")
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder, with room for 5 GB")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--peers", help="the Python of benchmarks/peers.sh")
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "convert.json")
    parser.add_argument("--add", action="store_true", help="add the rounds to those that the result already has")
    parser.add_argument("--make-only", action="store_true", help="make the images and stop")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    images = arguments.folder / "images"
    if arguments.one:
        print(time_contender(arguments.one, images, arguments.folder / "out", arguments.workers))
        return
    make_images(arguments.source, images, arguments.images)
    if arguments.make_only:
        return
    for path in files_of(images):
        Path(path).read_bytes()  # warm
    runs: dict[str, list[dict]] = {name: [] for name in arguments.only}
    if arguments.add:
        earlier = json.loads(arguments.result.read_text())["contenders"]
        runs = {name: earlier.get(name, {}).get("runs", []) for name in {**earlier, **runs}}
    before = max((len(entries) for entries in runs.values()), default=0)
    for number in range(before, before + arguments.rounds):
        for name in arguments.only[number % len(arguments.only) :] + arguments.only[: number % len(arguments.only)]:
            runs[name].append(run(name, arguments))
            print(name, runs[name][-1], file=sys.stderr)
    result = {
        "benchmark": "convert",
        "images": arguments.images,
        "pixels": [SIDE, SIDE],
        "png_bytes_an_image": round(sum(os.path.getsize(path) for path in files_of(images)) / arguments.images),
        "workers": arguments.workers,
        "rounds": before + arguments.rounds,
        "cpu": provenance.processor(),
        "python": platform.python_version(),
        "commit": provenance.commit(),
        "versions": installed(sys.executable),
        "peer_versions": installed(arguments.peers) if arguments.peers else {},
        "arguments": {"images": arguments.images, "workers": arguments.workers, "quality": QUALITY},
        "contenders": {name: summary(entries, arguments.images) for name, entries in runs.items()},
    }
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["contenders"]))


def summary(entries: list[dict], images: int) -> dict:
    """Median, minimum and maximum of images/s, and bytes an image."""
    rates = [images / entry["seconds"] for entry in entries if "seconds" in entry]
    if not rates:
        return {"error": entries[-1]["error"], "runs": entries}
    return {
        "images_per_second": round(statistics.median(rates)),
        "min": round(min(rates)),
        "max": round(max(rates)),
        "bytes_an_image": round(entries[-1].get("bytes", 0) / images),
        "runs": entries,
    }


def table(contenders: dict[str, dict]) -> str:
    """Markdown, with each rate as a part of its limit."""
    lines = [
        "| contender | images/s | min to max | of decode | of decode + encode | bytes an image |",
        "|---|---|---|---|---|---|",
    ]
    limits = [contenders.get(name, {}).get("images_per_second") for name in ("decode", "decode+encode")]
    for name, entry in contenders.items():
        if "error" in entry:
            lines.append(f"| {name} | {entry['error']} | | | | |")
            continue
        rate = entry["images_per_second"]
        parts = " | ".join(f"{rate / limit:.0%}" if limit else "" for limit in limits)
        lines.append(
            f"| {name} | {rate:,} | {entry['min']:,} to {entry['max']:,} | {parts} | {entry['bytes_an_image']:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
