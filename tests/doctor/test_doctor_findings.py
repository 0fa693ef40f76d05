"""What `fastrad doctor` says about an installation and a machine, on environments that really lack the parts."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastrad.doctor import Finding, Machine, examine
from fastrad.doctor.machine import Gpu

REPOSITORY = Path(__file__).parents[2]
# What `fastrad doctor` itself stands on; torch, OpenCV, FFCV and DALI are not among it.
BASE = ("click", "msgspec", "numpy", "psutil")


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.here(REPOSITORY)


@pytest.fixture
def bare_site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds fastrad, click, msgspec, numpy and psutil, and nothing else."""
    for name in BASE:
        specification = importlib.util.find_spec(name)
        assert specification is not None
        package = Path(specification.submodule_search_locations[0])
        (tmp_path / name).symlink_to(package)
        libraries = package.with_name(f"{name}.libs")
        if libraries.is_dir():
            (tmp_path / libraries.name).symlink_to(libraries)
    (tmp_path / "fastrad").symlink_to(REPOSITORY / "fastrad")
    return tmp_path


def run_bare(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
    # -S: without the packages of the environment that the tests run in
    return subprocess.run([sys.executable, "-S", *words], env=environment, capture_output=True, text=True, timeout=60)


def finding(findings: tuple[Finding, ...], name: str) -> Finding:
    (found,) = [each for each in findings if each.name == name]
    return found


def test_works_where_only_the_base_package_is_installed(bare_site: Path) -> None:
    result = run_bare(bare_site, "-m", "fastrad", "doctor", "--json")
    states = {each["name"]: each for each in json.loads(result.stdout)["findings"]}
    for name in ("torch", "FFCV", "DALI", "OpenCV"):
        assert states[name]["state"] == "missing"
    assert states["Python"]["state"] == "works"
    assert states["torch"]["mend"] == f"{sys.executable} -m pip install torch torchvision"
    assert states["DALI"]["mend"] == f"{sys.executable} -m pip install nvidia-dali-cuda120"
    assert result.returncode == 1
    assert result.stderr.strip().splitlines() == ["fastrad: not usable without torch, OpenCV"]


def test_each_extra_says_what_it_is_for_and_how_it_comes(bare_site: Path, machine: Machine) -> None:
    def extras(findings: list[dict]) -> dict[str, dict]:
        return {each["name"].removeprefix("extra "): each for each in findings if each["name"].startswith("extra ")}

    absent = extras(json.loads(run_bare(bare_site, "-m", "fastrad", "doctor", "--json").stdout)["findings"])
    assert set(absent) == {"audit", "cluster", "export", "frozen", "tensorboard"}
    for name, found in absent.items():
        assert found["state"] == "missing"
        assert found["mend"].endswith(f"'fastrad[{name}]'")
    there = extras([dataclasses.asdict(finding) for finding in examine(machine)])
    assert {found["state"] for found in there.values()} == {"works"}


def test_ffcv_whose_compiled_part_does_not_load_is_told_apart_from_absent_ffcv(bare_site: Path) -> None:
    package = bare_site / "ffcv"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('doctor must not import FFCV')")
    (package / "_libffcv.so").write_bytes(b"not a library")
    result = run_bare(bare_site, "-m", "fastrad", "doctor", "--json")
    ffcv = next(each for each in json.loads(result.stdout)["findings"] if each["name"] == "FFCV")
    assert ffcv["state"] == "missing"
    assert "does not load" in ffcv["detail"]
    assert "libopencv-dev" in ffcv["mend"]
    assert "--force-reinstall" in ffcv["mend"]


def test_affinity_bounds_the_usable_cores() -> None:
    program = (
        "import os; from pathlib import Path; from fastrad.doctor import Machine; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(Machine.here(Path()).usable_cores)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1"


def test_fewer_cores_than_the_machine_has_is_a_limitation(machine: Machine) -> None:
    bound = dataclasses.replace(machine, cores=64, usable_cores=2)
    cpu = finding(examine(bound), "CPU")
    assert cpu.state == "limited"
    assert cpu.detail.startswith("2 of 64 CPUs usable")


def test_few_descriptors_name_the_ulimit_that_needs_no_root(machine: Machine) -> None:
    findings = examine(dataclasses.replace(machine, descriptors=256, descriptors_limit=2048))
    assert finding(findings, "file descriptors").fix == "ulimit -n 2048"


def test_docker_sized_shared_memory_is_a_limitation(machine: Machine) -> None:
    assert finding(examine(dataclasses.replace(machine, shared_memory=64 << 20)), "/dev/shm").state == "limited"
    assert finding(examine(dataclasses.replace(machine, shared_memory=8 << 30)), "/dev/shm").state == "works"


def test_driver_too_old_for_the_installed_torch_names_an_older_build(machine: Machine) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available() or not (torch.version.cuda or "").startswith("13."):
        pytest.skip("needs torch built for CUDA 13 and no usable GPU")
    old = dataclasses.replace(machine, gpus=(Gpu("NVIDIA GeForce RTX 3090", 24 << 30, 23 << 30, "470.57.02"),))
    gpu = finding(examine(old), "GPU")
    assert gpu.state == "limited"
    assert "driver 470.57.02 is too old" in gpu.detail
    assert gpu.fix.endswith("--index-url https://download.pytorch.org/whl/cu126 torch torchvision")


def test_everything_that_the_tests_run_with_is_found_to_work(machine: Machine) -> None:
    findings = examine(machine)
    for name, module in (("torch", "torch"), ("OpenCV", "cv2"), ("FFCV", "ffcv"), ("DALI", "nvidia.dali")):
        if importlib.util.find_spec(module) is not None:
            assert finding(findings, name).state == "works", finding(findings, name).detail
