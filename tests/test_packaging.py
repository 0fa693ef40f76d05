"""Set-up and packaging: pins that cover every requirement, clear lines of tools/setup.sh, a wheel that works."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fastrad

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The arguments that setup.py hands to setuptools."""
    arguments: dict = {}
    monkeypatch.setattr(setuptools, "setup", arguments.update)
    runpy.run_path(str(REPOSITORY / "setup.py"))
    return arguments


def pins() -> dict[str, Version]:
    lines = [line.partition("#")[0].strip() for line in (REPOSITORY / "constraints.txt").read_text().splitlines()]
    return {name: Version(version) for name, version in (line.split("==") for line in lines if line)}


def copy_of_the_repository(folder: Path) -> Path:
    """The source tree without the environment and build products."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("fastrad", "tools", "tests", "benchmarks"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy2(path, folder)
    return folder


def set_up(folder: Path, path: Path | str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": str(folder), **variables}
    for name in ("setup.py", "constraints.txt", "tools/setup.sh"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    return subprocess.run(
        [shutil.which("bash") or "bash", "tools/setup.sh"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def folder_of_programs(folder: Path, *names: str, **scripts: str) -> Path:
    """A folder for PATH that holds these programs of the system, and scripts by name."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or name)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


TOOLS = ("bash", "cat", "dirname", "flock", "id", "mkdir", "readlink", "rm", "sed", "sha256sum", "touch", "head")


def test_every_requirement_is_pinned_to_a_version_it_accepts(metadata: dict) -> None:
    pinned = pins()
    wanted = [*metadata["install_requires"], *(text for extra in metadata["extras_require"].values() for text in extra)]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} has no pin in constraints.txt"
        assert pinned[name] in requirement.specifier, f"{name} {pinned[name]} is not {requirement.specifier}"


def test_every_import_is_a_declared_requirement(metadata: dict) -> None:
    texts = [*metadata["install_requires"], *(text for extra in metadata["extras_require"].values() for text in extra)]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    distributions = importlib.metadata.packages_distributions()
    for path in (REPOSITORY / "fastrad").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            known = sys.stdlib_module_names | {"fastrad", "triton"}  # torch's wheels for CUDA bring triton
            for name in {name.partition(".")[0] for name in names} - known:
                providers = {canonicalize_name(each) for each in distributions.get(name, [name])}
                assert providers & declared, f"{path} imports {name}, which setup.py does not declare"


def test_both_opencv_packages_are_pinned_to_one_version() -> None:
    assert pins()["opencv-python"] == pins()["opencv-python-headless"]


def test_version_is_the_package_s_and_heads_the_changelog(metadata: dict) -> None:
    assert metadata["version"] == fastrad.__version__
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == fastrad.__version__


def test_unsupported_python_is_refused_in_one_line(tmp_path: Path) -> None:
    python = folder_of_programs(tmp_path / "bin", oldpython="echo 3.10") / "oldpython"
    result = set_up(tmp_path, os.environ["PATH"], PYTHON=str(python))
    assert result.returncode == 1
    assert result.stderr.splitlines() == [f"set-up: PYTHON={python} is CPython 3.10; fastrad needs 3.11, 3.12 or 3.13"]


def test_only_unsupported_pythons_are_named_with_the_way_out(tmp_path: Path) -> None:
    path = folder_of_programs(tmp_path / "bin", *TOOLS, python3="echo 3.9")
    result = set_up(tmp_path, path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "python3 is 3.9" in line
    assert "PYTHON=/path/to/python3.12 make" in line


def test_ordinary_user_without_debian_packages_gets_the_command_to_run(tmp_path: Path) -> None:
    tools = [name for name in TOOLS if name != "id"]
    path = folder_of_programs(tmp_path / "bin", *tools, **{"id": "echo 1000", "apt-get": "exit 1"})
    result = set_up(tmp_path, path, PYTHON=sys.executable)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "run: sudo apt-get install -y --no-install-recommends" in line
    for package in ("g++", "pkg-config", "libopencv-dev", "libturbojpeg0-dev"):
        assert package in line
    assert not (tmp_path / ".venv").exists()


def test_no_python_at_all_asks_for_debian_s_with_the_rest(tmp_path: Path) -> None:
    tools = [name for name in TOOLS if name != "id"]
    path = folder_of_programs(tmp_path / "bin", *tools, **{"id": "echo 1000", "apt-get": "exit 1"})
    result = set_up(tmp_path, path)
    (line,) = result.stderr.splitlines()
    assert "python3 python3-venv python3-dev g++ pkg-config libopencv-dev libturbojpeg0-dev" in line


@pytest.mark.slow
def test_environment_left_unfinished_is_built_anew(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    first = set_up(tmp_path, os.environ["PATH"], PYTHON=sys.executable, WHEELS="wheels")
    assert first.returncode == 1  # a folder without wheels
    assert first.stderr.splitlines()[-1].startswith("set-up: pip could not be brought to its pinned version")
    leftover = tmp_path / ".venv" / "leftover"
    leftover.touch()
    second = set_up(tmp_path, os.environ["PATH"], PYTHON=sys.executable, WHEELS="wheels")
    assert second.returncode == 1
    assert not leftover.exists()


@pytest.mark.slow
def test_wheel_out_of_the_sdist_works_without_the_source_tree(tmp_path: Path) -> None:
    source = copy_of_the_repository(tmp_path / "source")
    build = "from setuptools import build_meta; print(build_meta.build_sdist({!r}))".format(str(tmp_path / "dist"))
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (sdist,) = (tmp_path / "dist").glob("fastrad-*.tar.gz")
    wheel_command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*wheel_command, "--wheel-dir", tmp_path, sdist], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("fastrad-*.whl")

    expected = {
        str(path.relative_to(source))
        for path in (source / "fastrad").rglob("*")
        if path.suffix in {".py", ".toml", ".html"} or path.name == "py.typed"
    }
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= packed
    assert not [name for name in packed if name.startswith("tests/")]

    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    program = "import fastrad; print(fastrad.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(where.stdout.strip()) == site / "fastrad" / "__init__.py"
    helped = subprocess.run(
        [site / "bin" / "fastrad", "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "convert" in helped.stdout
