"""Training speed on this machine, as JSON: `python benchmarks/train.py TRAIN.beton [--size PX] [--out FILE]`.

See `fastrad.training.bench` for what is measured. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from fastrad.training.bench import measure_training

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("train", type=Path)
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--engine", default="auto")
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
parser.add_argument("--out", type=Path)

if __name__ == "__main__":
    words = parser.parse_args()
    result = measure_training(
        words.train,
        size=words.size,
        batch_size=words.batch_size,
        device=torch.device(words.device),
        engine=words.engine,
        rounds=words.rounds,
        steps=words.steps,
    )
    result |= {"python": platform.python_version(), "machine": platform.machine()}
    text = json.dumps(result, indent=1)
    print(text)
    if words.out:
        words.out.write_text(text + "\n")
