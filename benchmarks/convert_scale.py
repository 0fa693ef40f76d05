"""Planning time and peak memory of a conversion at RadImageNet's size: 1.35 million rows of tiny images.

    python benchmarks/convert_scale.py --folder WORK

In: a scratch folder. Out: `benchmarks/results/convert_scale.json`: seconds to read the tables and to plan, images/s,
and the peak resident memory of the parent and of each worker, read from /proc while the conversion runs. The CSV files
have RadImageNet's names; the files are hard links to a thousand 8 x 8 PNG, so that disk space does not decide.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import provenance
import psutil

CLASSES, DISTINCT, SIDE = 165, 1000, 8


def make_archive(root: Path, rows: int) -> None:
    """RadImageNet's layout with `rows` rows in three CSV files, in its proportions 75 : 10 : 15."""
    rng = np.random.default_rng(0)
    folders = [root / "radiology_ai" / "CT" / f"organ{label % 11}" / f"finding{label}" for label in range(CLASSES)]
    for folder in folders:
        folder.mkdir(parents=True)
    originals = [root / f"original{number}" for number in range(DISTINCT)]
    for original in originals:
        image = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        original.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    number = 0
    for split, part in (("train", 0.75), ("val", 0.1), ("test", 0.15)):
        with open(root / f"RadiologyAI_{split}.csv", "w") as file:
            file.write("filename,label\n")
            for number in range(number, number + round(rows * part)):  # noqa: B020 - goes on where the last split ended
                label = number % CLASSES
                path = folders[label] / f"image{number:07d}.png"
                os.link(originals[number % DISTINCT], path)
                file.write(f"{path.relative_to(root)},finding{label}\n")
            number += 1


class PeakMemory(threading.Thread):
    """Follows the peak resident memory of this process's descendants."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[int, int] = {}
        self.start()

    def run(self) -> None:
        while True:
            for process in psutil.Process().children(recursive=True):
                with suppress(OSError):  # it has ended
                    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                        if line.startswith("VmHWM:"):  # the peak, which psutil does not give
                            self.peaks[process.pid] = int(line.split()[1])
            time.sleep(0.5)


def main() -> None:
    """Make the archive, convert it, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_350_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "convert_scale.json")
    arguments = parser.parse_args()
    root, out = arguments.folder / "archive", arguments.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    if not root.exists():
        make_archive(root, arguments.rows)

    from fastrad.archives import read_source
    from fastrad.convert.plan import plan_splits
    from fastrad.convert.run import ConvertOptions, convert

    options = ConvertOptions(size=SIDE, workers=arguments.workers)
    memory = PeakMemory()
    times = [time.monotonic()]
    manifest = read_source("radimagenet", root)
    times.append(time.monotonic())
    plan_splits(manifest, options, None)
    times.append(time.monotonic())
    summary = convert(manifest, out, options)
    result = {
        "benchmark": "convert_scale",
        "rows": len(manifest),
        "stored": sum(file.card.samples for file in summary.files),
        "workers": arguments.workers,
        "seconds_to_read_tables": round(times[1] - times[0], 2),
        "seconds_to_plan": round(times[2] - times[1], 2),
        "images_per_second": round(summary.converted / summary.seconds),
        "parent_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "worker_peak_mib": [round(peak / 1024) for peak in sorted(memory.peaks.values(), reverse=True)],
        "python": platform.python_version(),
        "commit": provenance.commit(),
    }
    shutil.rmtree(out)
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
