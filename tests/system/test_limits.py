"""What containers and jobs leave, read from files as the kernel's documentation of control groups shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fastrad.doctor import Machine
from fastrad.system import limits
from fastrad.system.cores import available_cores
from fastrad.system.files import free_space, in_units
from fastrad.system.memory import _of_the_machine, available_memory, total_memory

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lay out control groups: the lines of /proc/self/cgroup, and the files below /sys/fs/cgroup."""

    def lay_out(lines: str, files: dict[str, str]) -> None:
        (tmp_path / "cgroup").write_text(lines)
        for name, content in files.items():
            path = tmp_path / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")
        monkeypatch.setattr(limits, "_OWN_GROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(limits, "_MOUNT", tmp_path / "sys")

    return lay_out


def test_version_2_takes_the_tightest_of_a_group_and_those_around_it(groups) -> None:
    groups(
        "0::/slurm/job7\n",
        {
            "slurm/job7/memory.max": "max",
            "slurm/job7/memory.current": str(GIB),
            "slurm/memory.max": str(4 * GIB),
            "slurm/memory.current": str(3 * GIB),
            "slurm/memory.stat": f"anon 7\nactive_file {GIB}\ninactive_file {GIB // 2}\nslab_reclaimable 1\nshmem 99",
            "slurm/job7/cpu.max": "max 100000",
            "slurm/cpu.max": "150000 100000",
        },
    )
    assert list(limits.memory_limits()) == [(4 * GIB, GIB + GIB + GIB // 2 + 1)]
    assert limits.cpu_quota() == 2


def test_version_1_is_read_where_its_controllers_are_mounted(groups) -> None:
    groups(
        "9:name=systemd:/\n4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
        {  # inside the container its own group is the top of what is mounted
            "memory/memory.limit_in_bytes": str(2 * GIB),
            "memory/memory.usage_in_bytes": str(GIB),
            "memory/memory.stat": f"cache 3\ninactive_file 5\ntotal_active_file {GIB // 4}\ntotal_inactive_file 16",
            "cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert list(limits.memory_limits()) == [(2 * GIB, GIB + GIB // 4 + 16)]
    assert limits.cpu_quota() == 1


def test_groups_without_a_limit_limit_nothing(groups) -> None:
    groups(
        "4:memory:/\n3:cpu:/\n0::/\n",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": "5142257664",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert limits.cpu_quota() is None
    assert available_cores() == len(os.sched_getaffinity(0))
    assert total_memory() == psutil.virtual_memory().total
    groups("", {})
    assert list(limits.memory_limits()) == []


def test_conversion_loading_and_doctor_go_by_the_same_numbers(groups, tmp_path: Path) -> None:
    groups(
        "0::/\n",
        {"cpu.max": "1000 100000", "memory.max": str(GIB // 64), "memory.current": str(GIB // 128)},
    )
    machine = Machine.here(tmp_path)
    assert (available_cores(), machine.usable_cores) == (1, 1)
    assert (total_memory(), machine.memory) == (GIB // 64, GIB // 64)
    assert (available_memory(), machine.free_memory) == (GIB // 128, GIB // 128)


def test_memory_on_this_machine_is_what_the_kernel_says() -> None:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    assert total_memory() <= total
    assert available_memory() <= min(total, free + GIB)


def test_space_is_that_of_the_disk_where_a_folder_will_be(tmp_path: Path) -> None:
    assert abs(free_space(tmp_path / "not" / "yet") - psutil.disk_usage(str(tmp_path)).free) < GIB


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (67.9e9, "67.90 GB")]
)
def test_bytes_are_written_in_decimal_units(count: float, text: str) -> None:
    assert in_units(count) == text


def test_loading_and_training_import_without_click_pydicom_and_psutil() -> None:
    program = (
        "import sys; import fastrad.loading.loader, fastrad.train.pretrain; "
        "print(*sorted({'click', 'pydicom', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_linux_says_of_its_memory_what_psutil_says(tmp_path):
    total, available = _of_the_machine()
    assert total == psutil.virtual_memory().total
    assert available == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert _of_the_machine(tmp_path / "none")[0] == total
