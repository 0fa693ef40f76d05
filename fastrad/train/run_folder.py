"""The folder of a pretraining run: what lies in it, and whether a run may start or go on there.

`config.json`, `metrics.csv`, `weights.safetensors`, `learning_curve.png`, `checkpoints/`, `tensorboard/` where that is
installed, and, when the run is finished, `classes.png`, `MODEL_CARD.md` and `summary.json`. Every file is written under
a temporary name and renamed.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fastrad.errors import InputError
from fastrad.system.files import write_atomically
from fastrad.system.json_file import convert, read_json, refuse_unbounded
from fastrad.train.config import changed_settings

_MAX_RECORD_BYTES = 1 << 28
_WAY_OUT = "it was altered or cut short: give another folder for the run"


class _Settings(msgspec.Struct):
    epochs: int


class Record(msgspec.Struct):
    """As much of `config.json` as is read again."""

    settings: dict[str, Any]


class Summary(msgspec.Struct):
    """As much of `summary.json` as is read again: figures by name, None where one is not finite."""

    best: dict[str, int | float | None]
    class_auroc: dict[str, float | None]


Read = TypeVar("Read", Record, Summary)


class RunFolder:
    """A run's folder; see `begin`.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self.weights = path / "weights.safetensors"
        self.metrics = path / "metrics.csv"
        self.config = path / "config.json"
        self.summary = path / "summary.json"
        self.curves = path / "learning_curve.png"
        self.classes = path / "classes.png"
        self.model_card = path / "MODEL_CARD.md"
        self.checkpoints = path / "checkpoints"

    def begin(self, settings: dict[str, object], resume: bool) -> bool:
        """Say whether the very same run is finished here already.

        Raises
        ------
        InputError
            If the folder holds something else, another run, or an unfinished one that is not to be resumed.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; give a folder for the run")
        if not self.config.is_file():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise InputError(f"{self.path}: is not empty and holds no run (no config.json); give another folder")
            return False
        different = changed_settings(self.read_config()["settings"], settings)
        if different:
            raise InputError(
                f"{self.path}: holds a run with other settings ({'; '.join(different)}); "
                "give another folder, or the same settings"
            )
        if self.summary.is_file():
            if not self.weights.is_file():
                raise InputError(f"{self.path}: a finished run whose {self.weights.name} is gone; give another folder")
            return True
        if not resume:
            raise InputError(f"{self.path}: holds an unfinished run; add --resume to go on, or give another folder")
        return False

    def lock(self) -> None:
        """Make the folder, and keep every other run out of it as long as this process lives.

        Raises
        ------
        InputError
            If another run is writing there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # the folder itself: no file of a lock is left
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise InputError(
                f"{self.path}: another fastrad pretrain is writing there; wait for it, or give another folder"
            ) from None
        except OSError:  # a file system without locks
            pass

    def unlock(self) -> None:
        """Let others into the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read_config(self) -> dict[str, Any]:
        """As much of `config.json` as is read again: its `settings`.

        Raises
        ------
        FormatError
            If it was altered or cut short.
        """
        settings = self._read(self.config, Record).settings
        convert(settings, _Settings, str(self.config), _WAY_OUT)
        refuse_unbounded(settings, str(self.config), _WAY_OUT)
        return {"settings": settings}

    def read_summary(self) -> Summary:
        """The content of `summary.json`; raises as `read_config`."""
        return self._read(self.summary, Summary)

    def _read(self, path: Path, kind: type[Read]) -> Read:
        return read_json(path, kind, _MAX_RECORD_BYTES, "the record of a run", _WAY_OUT)

    def write_config(self, record: dict[str, Any]) -> None:
        """Make the folder, and write what was asked and with what."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_json(self.config, record)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Write one line an epoch, all of them anew: after a resumption no line is there twice."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.metrics, text.getvalue().encode())

    def write_summary(self, content: dict[str, Any]) -> None:
        """Write the result, which marks the run as finished."""
        self._write_json(self.summary, content)

    def _write_json(self, path: Path, content: dict[str, Any]) -> None:
        write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
