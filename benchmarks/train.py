"""Training speed beside a constant batch and the recipe that people write, as JSON with provenance.

    python benchmarks/train.py TRAIN.beton [--sizes 64 128 224]

In: a training file of 224 px. Out: `benchmarks/results/train.json`, what `fastrad bench train --json` gives at each
size, each in a fresh process (fastrad/train/bench.py says what is measured). Run it with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import provenance

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--engine", default="direct")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train.json")
    words = parser.parse_args()
    result = {
        "benchmark": "train",
        "cpu": provenance.processor(),
        "python": platform.python_version(),
        "commit": provenance.commit(),
        "arguments": {name: value for name, value in vars(words).items() if name not in ("train", "out")},
        "sizes": {str(size): measure(size, words) for size in words.sizes},
    }
    words.out.write_text(json.dumps(result, indent=1) + "\n")
    for size, found in result["sizes"].items():
        print(f"{size} px: real / constant {found['real_to_constant']}, real / plain {found['real_to_plain']}")


def measure(size: int, words: argparse.Namespace) -> dict:
    command = [sys.executable, "-m", "fastrad", "bench", "train", str(words.train), "--json", "--size", str(size)]
    command += ["--batch-size", str(words.batch_size), "--rounds", str(words.rounds), "--steps", str(words.steps)]
    command += ["--engine", words.engine, *(["--compile"] if words.compile else [])]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
