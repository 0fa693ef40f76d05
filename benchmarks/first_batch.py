"""How long a file as large as RadImageNet takes to its first batch, and how much memory above the data.

    python benchmarks/first_batch.py --folder WORK [--samples 1350000] [--processes 3]

In: nothing; a file with so many samples of 8 x 8 pixels is made once. Out: `benchmarks/results/first_batch.json`:
seconds from the end of `import torch` to the first batch in a fresh process, its parts, and the growth of the
process's proportional set size, with the file in the page cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import provenance


def proportional_set_mb() -> float:
    """Of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure(path: str) -> dict[str, float]:
    """In a fresh process, with torch imported and nothing else."""
    import torch  # noqa: F401

    before, begun = proportional_set_mb(), time.perf_counter()
    from fastrad.loading import Loader

    imported = time.perf_counter()
    loader = Loader(path, 256, size=8)
    opened = time.perf_counter()
    next(iter(loader))
    ended = time.perf_counter()
    return {
        "seconds": round(ended - begun, 2),
        "import_seconds": round(imported - begun, 2),
        "open_seconds": round(opened - imported, 2),
        "first_batch_seconds": round(ended - opened, 2),
        "memory_mb": round(proportional_set_mb() - before),
    }


def main() -> None:
    """Make the file, measure, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder, with room for 0.3 GB")
    parser.add_argument("--samples", type=int, default=1_350_000)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "first_batch.json")
    arguments = parser.parse_args()
    path = arguments.folder / f"{arguments.samples}.beton"
    if not path.exists():
        from fastrad.dataset import write_beton

        frames = np.random.default_rng(0).integers(0, 256, (arguments.samples, 8, 8), dtype=np.uint8)
        write_beton(path, frames, np.arange(arguments.samples) % 10)
    runs = []
    for _ in range(arguments.processes + 1):  # the first one warms the page cache and numba's
        words = [sys.executable, __file__, "--measure", str(path)]
        runs.append(json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
    result = {
        "benchmark": "first_batch",
        "samples": arguments.samples,
        "median": {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]},
        "runs": runs[1:],
        "python": platform.python_version(),
        "commit": provenance.commit(),
    }
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["median"]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main()
