"""How fast the same images are loaded: fastrad's engines, their peers, and the limits of the machine.

    benchmarks/peers.sh                                            # once: the peers, pinned
    .peers/bin/python benchmarks/loaders.py --folder WORK --source IMAGES

In: a folder of real images; 20,480 gray 224 x 224 images are made of it, stored as each loader likes it best
(`loader_data`). Out: `benchmarks/results/loaders.json`, a table, and with `--plot FILE` a plot (`loader_report`).

Workloads: A stored sample to uint8 batch; B A with random resized crop and flip; C B normalised to float32. First every
contender is checked: shape, dtype, an epoch that holds every row once, flips for about half of the images, and the
mean error against torchvision on the original image. In B and C the check asks for crops of a quarter of the area, and
finds where each lies. Who fails is listed with the reason and not timed.

Then each is timed in fresh processes, one after another in rounds that begin with another contender each, on as many
cores as threads, with the threads of libraries pinned to one. Time runs in a window after a warm-up: where an epoch
takes longer than that, its start, at which workers are made, does not count. `--cold` drops the files from the page
cache before each run, and times the first epoch from its first batch on. Results are added to those in the JSON, so
that a long measurement may be made in parts (`--only`, `--workloads`, `--threads`); `--afresh` begins anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from loader_contenders import BATCH_SIZE, CONTENDERS, Contender, Epoch, Work
from loader_data import SIDE, bytes_per_image, files_of, prepare
from loader_report import plot, table
from provenance import commit, processor

from fastrad.loading.bench import measure, roofline_epochs

LIMITS = {  # name -> (storage, workload)
    "copy": ("beton-raw", "A"),
    "gather": ("beton-raw", "A"),
    "resize": ("beton-raw", "B"),
    "decode": ("beton-jpeg", "B"),
}
PACKAGES = (
    "fastrad",
    "ffcv",
    "nvidia-dali-cuda120",
    "numba",
    "numpy",
    "opencv-python",
    "torch",
    "torchvision",
    "pillow",
)
PACKAGES += ("webdataset", "litdata", "mosaicml-streaming", "spdl")
_TOLERANCE = 4.0  # gray levels on average: JPEG and another filter stay below, another image is tens away
_COMPARED = 64  # images
_NORMALISED = 0.5, 0.25  # mean and SD of C for the peers
_USUAL = (0.08, 1.0), (3 / 4, 4 / 3)
_TIMEOUT_SECONDS = 300


def python_of(contender: Contender) -> str:
    """The interpreter that has the contender: this one, or that of an environment over this one."""
    own = Path(sys.prefix) / "over" / contender.environment / "bin" / "python"
    return str(own) if contender.environment and own.exists() else sys.executable


# in a fresh process


def load(contender: Contender, place: Path, workload: str, threads: int, crops=_USUAL) -> Epoch:
    """The contender's epochs for a workload; C is normalised by a plain torch operation where it is not ours."""
    scale, ratio = crops
    work = Work(place, threads, None if workload == "A" else scale, ratio, workload == "C")
    epoch = contender.load(work)
    if workload != "C" or contender.is_ours:
        return epoch
    mean, std = (255 * value for value in _NORMALISED)
    return lambda: ((torch.as_tensor(images).float().sub_(mean).div_(std), keys) for images, keys in epoch())


def check(contender: Contender, place: Path, workload: str, originals: list[str]) -> dict:
    """Mean error in gray levels against torchvision, and share of flipped images.

    Raises
    ------
    ValueError
        If the output is not what the workload asks for.
    """
    epoch = load(contender, place, workload, 2, ((0.25, 0.25), (1.0, 1.0)))
    mean_and_std = _card_of(place) if contender.is_ours else _NORMALISED
    seen, errors, flips = [], [], []
    for images, keys in epoch():
        rows = contender.rows_of(keys)
        seen.append(np.array(rows).ravel())
        if len(errors) < _COMPARED:
            for image, row in zip(_gray(images, workload, mean_and_std), seen[-1], strict=False):
                error, flipped = _difference(image, cv2.imread(originals[row], cv2.IMREAD_GRAYSCALE), workload)
                errors.append(error)
                flips.append(flipped)
    rows = np.concatenate(seen)
    if not np.array_equal(np.sort(rows), np.arange(len(originals))):
        raise ValueError(f"an epoch holds {len(rows)} images, {len(np.unique(rows))} of {len(originals)} rows")
    error, flipped = float(np.mean(errors)), float(np.mean(flips))
    if error > _TOLERANCE:
        raise ValueError(f"its images differ from torchvision's by {error:.1f} gray levels")
    if workload != "A" and not 0.3 < flipped < 0.7:
        raise ValueError(f"it flips {flipped:.0%} of the images")
    return {"mean_error": round(error, 2), "flipped": round(flipped, 2)}


def _card_of(place: Path) -> tuple[float, float]:
    from fastrad.dataset import Card

    card = Card.read(place / "all.card.json")
    return card.mean, card.std


def _gray(images, workload: str, mean_and_std: tuple[float, float]) -> np.ndarray:
    """A batch as uint8 (N, side, side): one channel, or three that are equal."""
    array = np.array(images[:_COMPARED] if hasattr(images, "shape") else images)
    wanted = np.float32 if workload == "C" else np.uint8
    if array.dtype != wanted:
        raise ValueError(f"its batches are {array.dtype}, not {np.dtype(wanted)}")
    if workload == "C":
        array = np.rint((array * mean_and_std[1] + mean_and_std[0]) * 255).clip(0, 255).astype(np.uint8)
    shape = array.shape
    if array.ndim == 4:
        array = np.moveaxis(array, 1, -1) if shape[1] in (1, 3) else array
        array = array[..., 0]
    if array.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"its batches have the shape {shape}")
    return array


def _difference(image: np.ndarray, original: np.ndarray, workload: str) -> tuple[float, bool]:
    """Mean absolute difference to torchvision's image, and whether it was flipped."""
    from torchvision.transforms.v2.functional import resized_crop

    if workload == "A":
        return float(np.abs(image.astype(int) - original).mean()), False
    side = SIDE // 2
    found = []
    for flipped in (False, True):
        straight = cv2.flip(image, 1) if flipped else image
        small = cv2.resize(straight, (side, side), interpolation=cv2.INTER_AREA)
        scores = cv2.matchTemplate(original, small, cv2.TM_SQDIFF)
        _, _, (left, top), _ = cv2.minMaxLoc(scores)
        reference = resized_crop(torch.from_numpy(original)[None], top, left, side, side, [SIDE, SIDE])[0].numpy()
        found.append((float(np.abs(straight.astype(int) - reference).mean()), flipped))
    return min(found)


def time_loader(
    name: str, place: Path, workload: str, threads: int, seconds: float, warm_up: float, cold: bool
) -> dict:
    """One measurement of a contender or a limit."""
    begun = time.perf_counter()
    if name in LIMITS:
        epoch = roofline_epochs(place / "all.beton", name, threads)
    else:
        batches = load(CONTENDERS[name], place, workload, threads)

        def epoch() -> Iterator[int]:
            return (len(keys) for _, keys in batches())

    windows, warm_up = (1, 0.0) if cold else (3, warm_up)
    return asdict(measure(epoch, seconds, windows=windows, warm_up=warm_up, begun=begun, once=cold))


def prepare_storage(request: dict) -> dict:
    """Make a contender's storage where it is missing."""
    contender = CONTENDERS[request["name"]]
    import_module(contender.package)
    prepare(contender.storage, Path(request["folder"]), Path(request["source"]), request["images"])
    return {}


def check_workloads(request: dict) -> dict:
    """Check a contender on each workload: what was found, or the error."""
    contender, folder = CONTENDERS[request["name"]], Path(request["folder"])
    import_module(contender.package)
    place = folder / contender.storage
    originals = files_of(folder / "png", ".png")
    found = {}
    for workload in request["workloads"]:
        try:
            found[workload] = check(contender, place, workload, originals)
        except Exception as error:  # whatever a library raises is the reason why it is not ranked
            found[workload] = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    return found


def answer(request: dict) -> dict:
    """What a fresh process does."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request["threads"]])
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if request["task"] != "time":
        return {"prepare": prepare_storage, "check": check_workloads}[request["task"]](request)
    names = "name", "workload", "threads", "seconds", "warm_up", "cold"
    return time_loader(place=Path(request["place"]), **{name: request[name] for name in names})


def ask(python: str, request: dict) -> dict:
    """`answer` from a fresh process, or its last line as an error."""
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    words = [python, __file__, "--answer", json.dumps(request)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | pinned, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return {"error": f"no end after {_TIMEOUT_SECONDS} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


# the conductor


def check_all(names: list[str], arguments: argparse.Namespace, result: dict) -> None:
    """Prepare and check what was not checked before."""
    for name in names:
        contender, found = CONTENDERS[name], result["checks"].setdefault(name, {})
        todo = [workload for workload in arguments.workloads if "mean_error" not in found.get(workload, {})]
        if not todo:
            continue
        place = arguments.folder / contender.storage
        request = {"name": name, "workloads": todo, "threads": 2, "folder": str(arguments.folder)}
        request |= {"source": str(arguments.source or ""), "images": arguments.images}
        answered: dict = {}
        if not place.exists():  # in a process of its own: some writers change how processes start
            answered = ask(python_of(contender), {"task": "prepare", **request})
        answered = answered or ask(python_of(contender), {"task": "check", **request})
        found |= {workload: answered.get(workload, answered) for workload in todo}
        print(name, found, file=sys.stderr, flush=True)
        if place.exists():
            result["bytes_an_image"][name] = bytes_per_image(place, arguments.images)
        write(arguments.result, result)


def touch(place: Path, cold: bool) -> None:
    """Bring the files of a storage into the page cache, or drop them from it."""
    for path in place.rglob("*"):
        if not path.is_file():
            continue
        with open(path, "rb") as file:
            if cold:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(1 << 24):
                    pass


def jobs(names: list[str], workloads: list[str], threads: list[int], result: dict) -> list[tuple[str, str, str, int]]:
    """(name, storage, workload, threads) of everything that is to be timed."""
    found = []
    for name, workload, count in product(names, workloads, threads):
        if name in LIMITS:
            storage, of_workload = LIMITS[name]
            if of_workload == workload:
                found.append((name, storage, workload, count))
        elif "error" not in result["checks"].get(name, {}).get(workload, {"error": ""}):
            found.append((name, CONTENDERS[name].storage, workload, count))
    return found


def provenance(arguments: argparse.Namespace) -> dict:
    """Where and with what a part of the result was measured."""
    words = ("images", "rounds", "seconds", "warm_up", "cold", "workloads", "threads", "only")
    return {
        "commit": commit(),
        "arguments": {word: getattr(arguments, word) for word in words},
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of fastrad and everybody else, as they are installed in this environment and in those over it."""
    program = (
        "import importlib.metadata as m, json\n"
        f"names = {PACKAGES!r}\n"
        "found = {d.metadata['Name']: d.version for d in m.distributions()}\n"
        "print(json.dumps({n: found[n] for n in names if n in found}))"
    )
    found: dict[str, str] = {}
    for python in dict.fromkeys([*map(python_of, CONTENDERS.values()), sys.executable]):
        answered = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
        found |= json.loads(answered.stdout)
    return found


def run_rounds(names: list[str], arguments: argparse.Namespace, result: dict) -> None:
    """Time everything `rounds` times, and write the result after each run: a long measurement may be broken off."""
    todo = jobs(names, arguments.workloads, arguments.threads, result)
    for turn in range(arguments.rounds):
        first = turn * len(todo) // arguments.rounds
        for name, storage, workload, threads in todo[first:] + todo[:first]:
            place = arguments.folder / storage
            touch(place, arguments.cold)
            python = sys.executable if name in LIMITS else python_of(CONTENDERS[name])
            facts = {"name": name, "workload": workload, "threads": threads, "cold": arguments.cold}
            times = {"task": "time", "place": str(place), "seconds": arguments.seconds, "warm_up": arguments.warm_up}
            load_average = round(os.getloadavg()[0], 2)
            result["runs"].append(facts | {"load": load_average} | ask(python, facts | times))
            print(json.dumps(result["runs"][-1]), file=sys.stderr, flush=True)
            write(arguments.result, result)


def write(path: Path, result: dict) -> None:
    """The JSON, one run a line."""
    runs = ",\n  ".join(json.dumps(run) for run in result["runs"])
    text = json.dumps({**result, "runs": []}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace('"runs": []', f'"runs": [\n  {runs}\n ]') + "\n")


def main() -> None:
    """Check, time, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder, with room for 7 GB")
    parser.add_argument("--source", type=Path, help="real images to make the set of, where the folder has none yet")
    parser.add_argument("--images", type=int, default=20_480)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="timed in each process")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before, an epoch at most")
    parser.add_argument("--workloads", nargs="+", choices=["A", "B", "C"], default=["A", "B"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=[*LIMITS, *CONTENDERS], default=[*LIMITS, *CONTENDERS])
    parser.add_argument("--cold", action="store_true", help="drop the files from the page cache before each run")
    parser.add_argument("--check-only", action="store_true", help="prepare and check, time nothing")
    parser.add_argument("--afresh", action="store_true", help="begin a new result")
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "loaders.json")
    parser.add_argument("--plot", type=Path, help="draw the result: .svg or .png")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    if "--answer" in sys.argv:
        print(json.dumps(answer(json.loads(sys.argv[-1]))))
        return
    arguments = parser.parse_args()
    result = {"benchmark": "loaders", "pixels": [SIDE, SIDE], "batch_size": BATCH_SIZE, "images": arguments.images}
    result |= {"sessions": [], "checks": {}, "bytes_an_image": {}, "runs": []}
    if arguments.result.exists() and not arguments.afresh:
        result = json.loads(arguments.result.read_text())
    check_all([name for name in arguments.only if name in CONTENDERS], arguments, result)
    if not arguments.check_only:
        result["sessions"].append(provenance(arguments))
        run_rounds(arguments.only, arguments, result)
    print(table(result))
    if arguments.plot:
        plot(result, arguments.plot)


if __name__ == "__main__":
    main()
