"""Development beside test, hardware, time, and the lines of the ledger."""

from __future__ import annotations

from dataclasses import replace

from fastrad.study.protocol.ledger import Scoring
from fastrad.study.report.beside import development_beside_test
from fastrad.study.report.notation import duration, listed
from fastrad.study.report.provenance import computing_lines, ledger_lines


def test_development_stands_beside_test(record):
    ages = {"median": 50.0, "low": 41.5, "high": 63.0, "known": 30}
    none = {"median": None, "low": None, "high": None, "known": 0}
    counted = [
        {"column": "sex", "value": "f", "development": 10, "test": 16},
        {"column": "age", "value": "", "development": ages, "test": none},
    ]
    assert [tuple(line) for line in development_beside_test({**record, "characteristics": counted})] == [
        ("Patients", "31", "32"),
        ("Images", "45", "45"),
        ("Images a patient, mean", "1.45", "1.41"),
        ("Malignant patients", "15 (48 %)", "14 (44 %)"),
        ("sex: f", "10 (32 %)", "16 (50 %)"),
        ("age, median (quartiles)", "50 (41.5 to 63), 30 known", "unknown"),
    ]


def test_an_archive_without_patients_has_images(record):
    nameless = {**record, "dataset": {**record["dataset"], "patient_ids": "none"}}
    assert [line.name for line in development_beside_test(nameless)] == ["Images", "Malignant"]


def test_hardware_and_time_are_those_of_the_networks():
    cpu = {"processor": "Two Cores", "cores": 2, "memory": 8_000_000_000}
    gpu = {"processor": "Sixteen", "cores": 16, "memory": 64_000_000_000, "gpu": "H100"}
    networks = [
        {"hardware": cpu, "seconds": 30.0},
        {"hardware": cpu, "seconds": 90.0},
        {"hardware": gpu, "seconds": 60},
    ]
    lines = dict(computing_lines({"networks": networks, "limited_networks": [{"name": "of 0.1.0"}]}))
    assert lines["Hardware"] == (
        "Two Cores, 2 cores, 8.00 GB of memory: 2 networks; H100, Sixteen, 16 cores, 64.00 GB of memory: 1 networks"
    )
    assert lines["Tuning time"] == "3 networks, 30 s to 2 min each, 3 min together"
    assert computing_lines({}) == []


def test_the_ledgers_lines_say_what_was_set_otherwise():
    now = Scoring("2026-02-01T00:00:00Z", "0.2.0", "a", 0b1110, {"learning_rate": 3e-4, "arms": {"none": ""}})
    before = replace(now, when="2026-01-01T00:00:00Z", rows=0b0111)
    before = replace(before, settings={"learning_rate": 0.001, "arms": {"none": "", "mine": "x"}})
    assert [tuple(line) for line in ledger_lines(now, [before])] == [
        ("2026-01-01T00:00:00Z", "0.2.0", 2, "other arms, learning_rate 0.001"),
        ("2026-02-01T00:00:00Z", "0.2.0", 3, "this study"),
    ]
    assert ledger_lines(None, []) == []


def test_lengths_of_time_and_lists_are_short():
    assert [duration(seconds) for seconds in (4, 89, 91, 600, 5400, 12_000)] == [
        *("4 s", "89 s", "2 min", "10 min"),
        *("1 h 30 min", "3 h 20 min"),
    ]
    assert listed(list("abc")) == "a, b, c"
    assert listed(list("abcdefghi"), 4) == "a, b, c, d and 5 more"
