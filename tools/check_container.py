#!/usr/bin/env python3
"""Runs the Dockerfile's own steps in clean Debian roots, for machines without Docker.

In: the Dockerfile of this repository; root rights, debootstrap, a network and about 25 GB of disk. Out: exit status 0
where every step passed and `fastrad doctor`, run as the image's user through its entry point, found what the image
promises. The base image is replaced by Debian 12, which the steps are written for as well; what only the base image
brings (CUDA, the GPU) stays untried.

    sudo tools/check_container.py [FOLDER]      a new folder in FOLDER is filled, and removed at the end
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MIRROR = "http://deb.debian.org/debian"
# How this machine reaches the network, where that needs saying.
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_CERT", "PIP_DEFAULT_TIMEOUT")
EXPECTED = {"FFCV": "works", "DALI": "works", "torch": "works", "torchvision": "works", "OpenCV": "works"}


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction's name and its words, with comments left out and continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    pairs = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name.upper(), words.strip()) for name, _, words in pairs]


class Stage:
    """One build stage: a root folder, its environment, working directory and user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        self.folder, self.user, self.entry = "/", "0", ["sh"]
        for file in ("resolv.conf", "hosts", "ssl/certs/ca-certificates.crt"):
            if Path("/etc", file).exists():
                (root / "etc" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path("/etc", file), root / "etc" / file)

    def run(self, words: list[str], **options: object) -> subprocess.CompletedProcess:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        inside = [f"cd {shlex.quote(self.folder)} && exec {shlex.join(words)}"]
        command = ["chroot", f"--userspec={self.user}:{self.user}", self.root, "/bin/sh", "-c", *inside]
        # chroot itself is found along our PATH, what runs inside along the stage's
        command[0] = shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin") or "chroot"
        return subprocess.run(command, env={**passed, **self.environment}, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]

    def copy(self, sources: list[Path], target: str) -> None:
        where = self.root / os.path.join(self.folder, target).lstrip("/")
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, where, symlinks=True, dirs_exist_ok=True)
            else:
                where.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, where)


def sent(name: str) -> Path:
    """A path of the build context, which .dockerignore must let through."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = False
    for line in lines:
        if fnmatch.fnmatch(name, line.lstrip("!")):
            allowed = line.startswith("!")
    if not allowed:
        sys.exit(f"Dockerfile copies {name}, which .dockerignore keeps out")
    return REPOSITORY / name


def build(folder: Path, mounted: ExitStack) -> Stage:
    """Carry out every instruction, and leave what was mounted for it to `mounted`; the last stage."""
    base = folder / "base"
    packages = "--include=ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", packages, "bookworm", base, MIRROR], check=True)
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for name, words in instructions(REPOSITORY / "Dockerfile"):
        print(f"--- {name} {words}", flush=True)
        if name == "FROM":
            alias = words.split(" AS ")[1] if " AS " in words else "final"
            subprocess.run(["cp", "-a", base, folder / alias], check=True)
            stage = stages[alias] = Stage(folder / alias)
            subprocess.run(["mount", "-t", "proc", "proc", stage.root / "proc"], check=True)
            mounted.callback(subprocess.run, ["umount", stage.root / "proc"], check=True)
            continue
        assert stage is not None, f"{name} before FROM"
        if name == "RUN":
            if stage.run(["/bin/sh", "-c", words]).returncode:
                sys.exit(f"the step failed: RUN {words}")
        elif name == "ENV":
            for word in shlex.split(words):
                key, _, value = word.partition("=")
                stage.environment[key] = value.replace("$PATH", stage.environment["PATH"])
        elif name == "WORKDIR":
            stage.folder = words
            (stage.root / words.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            *sources, target = shlex.split(words)
            if sources[0].startswith("--from="):
                other = stages[sources.pop(0).removeprefix("--from=")]
                stage.copy([other.root / source.lstrip("/") for source in sources], target)
            else:
                stage.copy([sent(source) for source in sources], target)
        elif name == "USER":
            stage.user = words
        elif name == "ENTRYPOINT":
            stage.entry = json.loads(words)
        elif name != "CMD":
            sys.exit(f"tools/check_container.py does not know {name}")
    assert stage is not None
    return stage


def check(stage: Stage) -> None:
    """Run what a user of the image runs."""
    doctor = stage.run([*stage.entry, "doctor", "--json"], capture_output=True, text=True)
    if doctor.returncode:
        sys.exit(f"fastrad doctor failed in the image: {doctor.stderr}{doctor.stdout}")
    states = {finding["name"]: finding["state"] for finding in json.loads(doctor.stdout)["findings"]}
    print(states)
    wrong = {name: states[name] for name, state in EXPECTED.items() if states[name] != state}
    if wrong:
        sys.exit(f"in the image this does not work: {wrong}")
    who = stage.run(["id", "-u"], capture_output=True, text=True).stdout.strip()
    if who == "0":
        sys.exit("the image runs as root")
    if stage.run([*stage.entry, "--help"]).returncode:
        sys.exit("fastrad --help failed in the image")


def main() -> None:
    if os.geteuid() != 0 or shutil.which("debootstrap", path="/usr/sbin:/usr/bin") is None:
        sys.exit("run as root, with debootstrap: apt-get install -y debootstrap && tools/check_container.py")
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder, ExitStack() as mounted:
        stage = build(Path(folder), mounted)
        size = subprocess.run(["du", "-sxh", stage.root], capture_output=True, text=True).stdout.split()[0]
        print(f"the final stage holds {size}", flush=True)
        check(stage)


if __name__ == "__main__":
    main()
