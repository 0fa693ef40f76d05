"""One finished study for all tests of this room: as 0.1.0 wrote it, from phantoms of 32 pixels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fastrad.study.inference.evaluation import StudyResult, evaluate
from fastrad.study.predictions import read_predictions
from fastrad.study.report.page import write_report
from fastrad.study.report.values import table_values


@pytest.fixture(scope="session")
def kept() -> Path:
    """The folder; not to be changed. Four arms, two folds, two seeds; external set, subgroups and learning curve."""
    return Path(__file__).parent / "study-0.1.0"


@pytest.fixture(scope="session")
def record(kept) -> dict:
    return json.loads((kept / "study.json").read_text())


@pytest.fixture(scope="session")
def result(kept) -> StudyResult:
    return evaluate(read_predictions(kept / "predictions.csv"))


@pytest.fixture
def values(kept) -> dict:
    """What `table.json` holds; a test may change its copy."""
    return json.loads((kept / "table.json").read_text())


@pytest.fixture(scope="session")
def reported(kept, tmp_path_factory) -> Path:
    """The folder with its report written again; not to be changed."""
    folder = tmp_path_factory.mktemp("reported") / "study"
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns("table.*"))
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def computed(record, result) -> dict:
    """The table's values, without external sets and subgroups."""
    return table_values({**record, "external": []}, result)
