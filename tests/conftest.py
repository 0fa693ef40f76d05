"""What several test modules share: the real images at `../shared/data`, or a skip that says why."""

from __future__ import annotations

import os
import signal
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from fastrad.cli import set_environment

set_environment()

# Keys and ledgers go into a configuration folder of the tests' own, which ends with them.
_CONFIGURATION = tempfile.TemporaryDirectory(prefix="fastrad-tests-")
os.environ["XDG_CONFIG_HOME"] = _CONFIGURATION.name

# A shell's background job begins with Ctrl-C ignored, and so would the programs that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

_COUNTS: Counter[tuple[str, str]] = Counter()  # of the matrices of generated images, from several test processes

SHARED_DATA = Path(os.environ.get("FASTRAD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def _archive(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"the real images {name} are not at {SHARED_DATA} (set FASTRAD_TEST_DATA to their folder)")
    return path


def _extract(name: str, folder: Path) -> Path:
    with tarfile.open(_archive(name)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def mini_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole mini RadImageNet archive: 12,131 PNG and three CSVs, in the official layout. Not to be changed."""
    return _extract("radimagenet-mini.tar", tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="session")
def ddti_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DDTI whole: 480 JPEG and 390 XML in one folder. Not to be changed."""
    return _extract("ddti.tar", tmp_path_factory.mktemp("ddti")) / "ddti"


@pytest.fixture(scope="session")
def dicom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real ultrasound DICOM files. Not to be changed."""
    return _extract("ultrasound-dicom.tar", tmp_path_factory.mktemp("dicom")) / "ultrasound-dicom"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of several test processes, each hands what its generated images became to the first."""
    matrix = sys.modules.get("matrix")
    if matrix is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput["matrix"] = [[*key, count] for key, count in matrix.COUNTS.items()]


def pytest_testnodedown(node) -> None:
    """Add what one of several test processes counted."""
    for family, outcome, count in getattr(node, "workeroutput", {}).get("matrix", ()):
        _COUNTS[family, outcome] += count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with what the generated images became: right, refused, wrong."""
    matrix = sys.modules.get("matrix")
    counts = matrix.COUNTS if matrix is not None else _COUNTS
    families = sorted({family for family, _ in counts})
    if families:
        terminalreporter.write_line(f"{'images read':24}{'right':>8}{'refused':>9}{'wrong':>7}")
    for family in families:
        right, refused, wrong = (counts[family, outcome] for outcome in ("right", "refused", "wrong"))
        terminalreporter.write_line(f"{family:24}{right:8}{refused:9}{wrong:7}")
