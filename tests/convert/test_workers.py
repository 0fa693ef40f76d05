"""Worker processes stay small, and only they change what holds for a whole process."""

from __future__ import annotations

import subprocess
import sys

from fastrad.convert.chunk import convert_chunk
from fastrad.convert.journal import Journal
from fastrad.convert.options import ConvertOptions
from fastrad.convert.plan import plan_splits
from fastrad.convert.pool import LocalWorkers

HEAVY = {"torch", "ffcv", "pandas", "psutil", "matplotlib", "pydicom", "h5py"}


def test_a_worker_that_has_converted_imported_nothing_heavy_and_left_opencv_one_thread(archive, tmp_path):
    (plan,) = plan_splits(archive(3), ConvertOptions(size=32), str)
    journal = Journal(plan, tmp_path / "out")
    workers = LocalWorkers(1)
    try:
        assert workers.submit(convert_chunk, journal.task(0)).result() == 3
        modules = workers.submit(eval, f"sorted({HEAVY} & set(__import__('sys').modules))").result()
        threads = workers.submit(eval, "__import__('cv2').getNumThreads()").result()
    finally:
        workers.close()
        journal.close()
    assert (modules, threads) == ([], 1)


def test_importing_a_conversion_changes_no_setting_of_the_process():
    program = (
        "import cv2, multiprocessing, signal; "
        "cv2.setNumThreads(3); level = cv2.utils.logging.getLogLevel(); "
        "before = [signal.getsignal(number) for number in (2, 15)]; "
        "import fastrad.convert.run, fastrad.verify, fastrad.doctor; "
        "print(cv2.getNumThreads(), cv2.utils.logging.getLogLevel() == level, "
        "multiprocessing.get_start_method(allow_none=True), "
        "before == [signal.getsignal(number) for number in (2, 15)])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "3 True None True\n"
