"""The metrics of a run, read back by TensorBoard itself."""

from __future__ import annotations

import pytest

from fastrad.train.products import write_events

ROWS = [
    {"epoch": 1, "train_loss": 2.5, "val_macro_auroc": 0.61},
    {"epoch": 2, "train_loss": 1.25, "val_macro_auroc": 0.74},
]


def scalars(folder, name):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]


def test_tensorboard_reads_each_epoch_once_even_when_written_again(tmp_path):
    pytest.importorskip("tensorboard")
    assert write_events(tmp_path, ROWS[:1])
    assert write_events(tmp_path, ROWS)
    assert scalars(tmp_path / "tensorboard", "train_loss") == [(1, 2.5), (2, 1.25)]
    assert scalars(tmp_path / "tensorboard", "val_macro_auroc") == [(1, 0.61), (2, 0.74)]


def test_the_file_does_not_name_the_machine(tmp_path):
    pytest.importorskip("tensorboard")
    write_events(tmp_path, ROWS)
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["events.out.tfevents.run"]
