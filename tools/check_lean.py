#!/usr/bin/env python3
"""Installs fastrad without any extra into a fresh environment that has torch, and runs the four main commands there.

    .venv/bin/python tools/check_lean.py

In: the environment that runs this, whose torch and torchvision (with all that they require) are lent by links, since
they weigh gigabytes; a network or PIP_FIND_LINKS for the rest. Out: what the installation adds, in megabytes, and exit
status 0 where nothing of an extra came along and convert, pretrain, compare and bench did their work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
LENT = ("torch", "torchvision")


def required(names: tuple[str, ...]) -> set[str]:
    """Distributions by name, and all that they require here, directly or not, with the extras that they ask for."""
    found: set[str] = set()
    done: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in done:
            continue
        done.add((name, extra))
        try:
            wanted = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
        found.add(name)
        for requirement in map(Requirement, wanted):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)]
    return found


def lend(names: set[str], folder: Path) -> None:
    """Fill a folder with links to everything that distributions have installed."""
    for name in sorted(names):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            source, target = Path(distribution.locate_file(top)), folder / top
            if source.exists() and not target.exists():
                target.symlink_to(source)


def size(folder: Path) -> float:
    """Megabytes of the files below a folder, links left out."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> None:
    """Build the environment, look at it, use it."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
        python = root / "venv" / "bin" / "python"
        (packages,) = (root / "venv" / "lib").glob("python*/site-packages")
        (root / "lent").mkdir()
        lend(required(LENT), root / "lent")
        (packages / "lent.pth").write_text(f"{root / 'lent'}\n")
        before = size(packages)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        if subprocess.run([*pip, "--constraint", REPOSITORY / "constraints.txt", REPOSITORY]).returncode:
            sys.exit("not tried: pip could not install fastrad and says why above; needs a network or PIP_FIND_LINKS")
        listed = json.loads(
            subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True).stdout
        )
        there = {canonicalize_name(each["name"]) for each in listed}
        wanted = list(map(Requirement, metadata.requires("fastrad") or []))
        extras = {canonicalize_name(each.name) for each in wanted if "extra" in str(each.marker)}
        came_along = sorted((extras & there) - required(LENT))
        assert not came_along, f"of extras came along: {', '.join(came_along)}"
        print(f"fastrad without extras adds {size(packages) - before:,.0f} MB to an environment with torch")

        def fastrad(*words: object) -> None:
            command = [python, "-m", "fastrad", *map(str, words)]
            plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(command, cwd=root, env=plain, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"fastrad {words[0]} failed without the extras:\n{done.stdout}{done.stderr}")
            print(f"fastrad {words[0]}: works")

        fastrad("convert", "phantom", "thyroid", "--kind", "thyroid", "--images", 90, "--size", 32)
        fastrad("convert", "phantom", "radiology", "--kind", "radiology", "--images", 96, "--size", 32)
        for seed in (0, 1):
            recipe = ("--epochs", 1, "--batch-size", 32, "--amp", "--seed", seed)
            fastrad("pretrain", "radiology", "--val", "radiology", "--out", f"run{seed}", *recipe)
        weights = ("--radimagenet", "run0/weights.safetensors", "--imagenet", "run1/weights.safetensors")
        study = ("--epochs", 1, "--seeds", 1, "--folds", 2, "--size", 32)
        fastrad("compare", "thyroid", *weights, "--out", "study", *study)
        fastrad("bench", "loaders", "radiology/train.beton", "--seconds", 1)
        subprocess.run([python, "-m", "fastrad", "doctor"], cwd=root, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
