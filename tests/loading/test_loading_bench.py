"""The clock of `fastrad bench loaders`, and the command on a tiny file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrad.cli import main
from fastrad.errors import FastradError
from fastrad.loading.bench import Measurement, measure, measure_in_fresh_process


class _Steady:
    """Batches of 10 images, one every 2 ms, five an epoch; the first batch of all takes 50 ms."""

    def __init__(self) -> None:
        self.epochs = 0

    def __call__(self) -> Iterator[int]:
        self.epochs += 1
        if self.epochs == 1:
            time.sleep(0.05)
        for _ in range(5):
            time.sleep(0.002)
            yield 10


def _check_rates(found: Measurement, windows: int) -> None:
    assert len(found.images_per_second) == windows
    assert all(500 < rate <= 5000 for rate in found.images_per_second)  # 5,000 if sleeping were exact
    assert 2 <= found.gap_p50 <= found.gap_p95 <= found.gap_p99
    assert found.first_batch_seconds > 0.05
    assert found.memory_mb > 1


def test_windows_are_timed_after_one_epoch_and_span_epochs() -> None:
    epoch = _Steady()
    found = measure(epoch, 0.15, windows=3)
    _check_rates(found, 3)
    assert epoch.epochs > 3
    assert found.gap_p99 < 50  # the first batch is no gap


def test_a_warm_up_shorter_than_an_epoch_leaves_the_rest_of_it_to_the_windows() -> None:
    epoch = _Steady()
    _check_rates(measure(epoch, 0.001, windows=1, warm_up=0), 1)
    assert epoch.epochs == 1


def test_a_file_that_is_read_once_is_timed_to_its_end() -> None:
    epoch = _Steady()
    found = measure(epoch, 60, windows=1, warm_up=0, once=True)
    _check_rates(found, 1)
    assert epoch.epochs == 1


def test_bench_prints_the_figures_of_engines_and_limits(raw_beton: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "loaders", str(raw_beton), "--workload", "A", "--workers", "1", "--seconds", "0.1"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    title, _, limit, ours = capsys.readouterr().out.splitlines()
    assert title == "raw.beton (raw), workload A, 1 threads, warm"
    assert limit.split()[0] == "copy"
    assert limit.endswith("(limit)")
    assert ours.split()[0] == "direct"
    assert all(int(line.split()[1].replace(",", "")) > 100 for line in (limit, ours))
    assert [ours.split()[k] for k in (3, 5, 7, 9)] == ["s", "ms", "ms", "MB"]


@pytest.mark.slow
def test_bench_gives_the_measurements_as_json(raw_beton: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "loaders", str(raw_beton), "--workload", "C", "--engine", "torch", "--engine", "resident"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--workers", "1", "--seconds", "0.1", "--json"])
    assert not stop.value.code
    report = json.loads(capsys.readouterr().out)
    assert (report["file"], report["workload"], report["workers"]) == ("raw.beton", "C", 1)
    assert list(report["results"]) == ["copy", "resize", "torch", "resident"]
    for found in report["results"].values():
        assert min(found["images_per_second"]) > 10
        assert found["images_per_cpu_second"] > 10


def test_what_fails_in_the_process_is_said(raw_beton: Path) -> None:
    with pytest.raises(FastradError, match="engine 'fast' is none of"):
        measure_in_fresh_process(raw_beton, "fast", "A", 1, 0.1)
