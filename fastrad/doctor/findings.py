"""What works here, what is missing, and the exact command that fixes it, in the order in which a reader would go.

Only torch, torchvision, OpenCV and DALI are imported, and only where they are installed; FFCV is judged by its
compiled part, because importing it takes seconds and changes torch's number of threads.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastrad.doctor.machine import Machine

WORKS, LIMITED, MISSING = "works", "limited", "missing"
_GIGABYTE = 1e9
_PIP = f"{sys.executable} -m pip install"
_FFCV_PACKAGES = ("g++", "pkg-config", "libopencv-dev", "libturbojpeg0-dev")
_APT = "sudo apt-get install -y --no-install-recommends"
# https://docs.nvidia.com/deploy/cuda-compatibility/: the first driver branch of each CUDA major version.
_DRIVER_FOR_CUDA = {"12": 525, "13": 580}
_OLDER_CUDA_INDEX = "https://download.pytorch.org/whl/cu126"
# of the installation: a package that each brings, and what for
EXTRAS = {
    "audit": ("rapidocr", "text burned into images, in `audit`"),
    "cluster": ("distributed", "conversion on a Dask cluster"),
    "export": ("onnx", "weights for ONNX and timm"),
    "frozen": ("sklearn", "frozen features, in `compare --frozen` and `--search` and in `controls`"),
    "tensorboard": ("tensorboard", "curves for TensorBoard while `pretrain` runs"),
}
_COMFORTABLE_SHARED_MEMORY = 1 << 30
_COMFORTABLE_DESCRIPTORS = 1024


@dataclass(frozen=True)
class Finding:
    """One part of the installation or the machine.

    Attributes
    ----------
    name : str
        The part.
    state : str
        "works", "limited" (usable, with the limitation in `detail`) or "missing".
    detail : str
        What was found, in one line.
    fix : str
        The command that fixes it; "" where there is nothing to fix.
    required : bool
        True where fastrad does nothing useful without it.
    """

    name: str
    state: str
    detail: str
    fix: str = ""
    required: bool = False


def examine(machine: Machine) -> tuple[Finding, ...]:
    """Look at everything that fastrad uses. Takes a few seconds where torch is installed, for its import."""
    return (
        _python(),
        *_torch(machine),
        _gpu(machine),
        _mixed_precision(),
        _opencv(),
        _ffcv(),
        _dali(machine),
        *_extras(),
        _jpeg(),
        _cores(machine),
        _memory(machine),
        _shared_memory(machine),
        _disk(machine),
        _descriptors(machine),
    )


def _python() -> Finding:
    detail = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("Python", WORKS, detail, required=True)
    return Finding("Python", MISSING, f"{detail}; CPython 3.11 to 3.13 is needed", "make setup PYTHON=python3.12", True)


def _torch(machine: Machine) -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        absent = importlib.util.find_spec("torch") is None
        detail = "not installed" if absent else f"does not load: {_one_line(error)}"
        command = f"{_PIP} torch torchvision" if absent else f"{_PIP} --force-reinstall torch torchvision"
        yield Finding("torch", MISSING, detail, command, True)
        return
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU-only build"
    if torch.version.cuda or not machine.gpus:
        yield Finding("torch", WORKS, f"{torch.__version__}, {built}", required=True)
    else:
        command = f"{_PIP} --force-reinstall --index-url https://download.pytorch.org/whl/cu130 torch torchvision"
        yield Finding("torch", LIMITED, f"{torch.__version__}, {built}, though there is a GPU", command, True)
    try:
        import torchvision
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: built for another torch
        command = f"{_PIP} --force-reinstall torch torchvision   (both from one index)"
        yield Finding("torchvision", MISSING, f"does not load: {_one_line(error)}", command, True)
    else:
        yield Finding("torchvision", WORKS, torchvision.__version__, required=True)


def _gpu(machine: Machine) -> Finding:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            names.append(
                f"{torch.cuda.get_device_name(index)} with {free / _GIGABYTE:.0f} of {total / _GIGABYTE:.0f} GB free"
            )
        return Finding("GPU", WORKS, "; ".join(names))
    if not machine.gpus:
        detail = "none that the NVIDIA driver lists; training runs on the CPU"
        return Finding("GPU", MISSING, detail, "run on a machine with one; on SLURM: srun --gres=gpu:1 --pty bash")
    listed = ", ".join(gpu.name for gpu in machine.gpus)
    if torch is None:
        return Finding("GPU", LIMITED, f"{listed}; usable once torch is installed", f"{_PIP} torch torchvision")
    driver = machine.gpus[0].driver
    needed = _DRIVER_FOR_CUDA.get((torch.version.cuda or "").split(".")[0])
    if needed and driver.split(".")[0].isdigit() and int(driver.split(".")[0]) < needed:
        detail = f"{listed}; driver {driver} is too old for CUDA {torch.version.cuda}, which needs {needed} or newer"
        command = f"{_PIP} --force-reinstall --index-url {_OLDER_CUDA_INDEX} torch torchvision"
        return Finding("GPU", LIMITED, detail, command)
    detail = f"{listed}; torch {torch.__version__} cannot use it (driver {driver})"
    return Finding("GPU", LIMITED, detail, "nvidia-smi   (says why)")


def _mixed_precision() -> Finding:
    torch = sys.modules.get("torch")
    if torch is None:
        return Finding("mixed precision", MISSING, "torch is not there to compute in it", f"{_PIP} torch torchvision")
    from fastrad.train.precision import choose_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = choose_precision("amp", device)
    if precision.name == "float32":
        return Finding("mixed precision", LIMITED, precision.notice)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU"
    scaled = ", with a loss scaler" if precision.name == "float16" else ""
    return Finding("mixed precision", WORKS, f"{precision.name} on {where}{scaled}")


def _opencv() -> Finding:
    versions = {name: version for name in ("opencv-python-headless", "opencv-python") if (version := _version(name))}
    headless = f"{_PIP} --force-reinstall --no-deps opencv-python-headless"
    try:
        import cv2
    except (ImportError, OSError) as error:
        detail = f"does not load: {_one_line(error)}" if versions else "not installed"
        return Finding("OpenCV", MISSING, detail, headless, True)
    if len(set(versions.values())) > 1:
        both = " and ".join(f"{name} {version}" for name, version in versions.items())
        command = f"{headless}=={versions['opencv-python']}"
        return Finding("OpenCV", LIMITED, f"{both} overwrite each other's files", command, True)
    return Finding("OpenCV", WORKS, cv2.__version__, required=True)


def _ffcv() -> Finding:
    purpose = "for stock FFCV loaders; fastrad's own engine does without"
    specification = importlib.util.find_spec("ffcv")
    if specification is None or not specification.origin:
        lacking = _lacking_for_ffcv()
        detail = f"not installed ({purpose})" + (f"; its build lacks {', '.join(lacking)}" if lacking else "")
        first = f"{_APT} {' '.join(lacking)} && " if lacking else ""
        return Finding("FFCV", MISSING, detail, f"{first}{_PIP} ffcv")
    version = _version("ffcv")
    rebuild = f"{_APT} {' '.join(_FFCV_PACKAGES)} && {_PIP} --force-reinstall --no-deps --no-cache-dir ffcv"
    folder = Path(specification.origin).parent
    compiled = [*sorted(folder.glob("_libffcv*.so")), *sorted(folder.parent.glob("_libffcv*.so"))]
    if not compiled:
        return Finding("FFCV", MISSING, f"{version}, but its compiled part is not there", rebuild)
    try:
        library = ctypes.CDLL(str(compiled[0]))
    except OSError as error:
        return Finding("FFCV", MISSING, f"{version}, but its compiled part does not load: {_one_line(error)}", rebuild)
    absent = [name for name in ("imdecode", "resize", "my_memcpy", "tjDecompress2") if not hasattr(library, name)]
    if absent:
        return Finding("FFCV", LIMITED, f"{version}, but its build lacks {', '.join(absent)}", rebuild)
    return Finding("FFCV", WORKS, f"{version}; RGB only by itself, fastrad brings the one-channel field")


def _lacking_for_ffcv() -> list[str]:
    present = [shutil.which("g++") is not None, shutil.which("pkg-config") is not None]
    for library in ("opencv4", "libturbojpeg"):
        found = present[1] and subprocess.run(["pkg-config", "--exists", library], check=False).returncode == 0
        present.append(found)
    return [package for package, there in zip(_FFCV_PACKAGES, present, strict=True) if not there]


def _dali(machine: Machine) -> Finding:
    command = f"{_PIP} nvidia-dali-cuda120"
    try:
        from nvidia import dali
    except ImportError:
        return Finding("DALI", MISSING, "not installed", command)
    except (OSError, RuntimeError) as error:
        return Finding("DALI", MISSING, f"does not load: {_one_line(error)}", command)
    where = "" if machine.gpus else "; without a GPU only its CPU operators"
    return Finding("DALI", WORKS, f"{dali.__version__}{where}")


def _extras() -> Iterator[Finding]:
    for name, (package, purpose) in EXTRAS.items():
        if importlib.util.find_spec(package) is not None:
            yield Finding(f"extra {name}", WORKS, purpose)
        else:
            yield Finding(f"extra {name}", MISSING, f"{purpose}; nothing else needs it", f"{_PIP} 'fastrad[{name}]'")


def _jpeg() -> Finding:
    library = ctypes.util.find_library("turbojpeg")
    if library is None:
        detail = "no system library; OpenCV decodes JPEG instead, and damage may pass unnoticed"
        return Finding("libjpeg-turbo", LIMITED, detail, f"{_APT} libturbojpeg0")
    return Finding("libjpeg-turbo", WORKS, library)


def _cores(machine: Machine) -> Finding:
    detail = f"{machine.usable_cores} of {machine.cores} CPUs usable"
    if machine.usable_cores < machine.cores:
        command = "ask for more; on SLURM: --cpus-per-task, in Docker: --cpus"
        return Finding("CPU", LIMITED, f"{detail} (affinity or a container's quota)", command)
    return Finding("CPU", WORKS, detail)


def _memory(machine: Machine) -> Finding:
    detail = f"{machine.free_memory / _GIGABYTE:.1f} of {machine.memory / _GIGABYTE:.1f} GB free"
    return Finding("memory", WORKS, detail)


def _shared_memory(machine: Machine) -> Finding:
    detail = f"{machine.shared_memory / _GIGABYTE:.1f} GB"
    if machine.shared_memory >= _COMFORTABLE_SHARED_MEMORY:
        return Finding("/dev/shm", WORKS, detail)
    if Path("/.dockerenv").exists():
        command = "docker run --shm-size=8g ..."
    else:
        command = "sudo mount -o remount,size=8G /dev/shm"
    return Finding("/dev/shm", LIMITED, f"{detail}: little for loaders that work in several processes", command)


def _disk(machine: Machine) -> Finding:
    temporary = tempfile.gettempdir()
    detail = f"{machine.free_disk / _GIGABYTE:.1f} GB free in {machine.disk_folder}"
    return Finding("disk", WORKS, f"{detail}, {shutil.disk_usage(temporary).free / _GIGABYTE:.1f} GB in {temporary}")


def _descriptors(machine: Machine) -> Finding:
    detail = f"{machine.descriptors} files open at once, up to {machine.descriptors_limit} without root"
    if machine.descriptors >= _COMFORTABLE_DESCRIPTORS:
        return Finding("file descriptors", WORKS, detail)
    return Finding("file descriptors", LIMITED, detail, f"ulimit -n {min(machine.descriptors_limit, 4096)}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _one_line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:200]
