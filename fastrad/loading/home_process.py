"""An iteration belongs to the process that began it: its threads stay there, and its samples are that process's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fastrad.errors import InputError


class HomeProcess:
    """The process that begins an iteration.

    Raises
    ------
    InputError
        If it is a worker of a `DataLoader`.
    """

    def __init__(self) -> None:
        if torch.utils.data.get_worker_info() is not None:
            raise InputError(
                "a Loader inside a DataLoader with workers would give each of its samples once a worker: iterate over "
                "the Loader itself, which has threads of its own, or give num_workers=0"
            )
        self._process = os.getpid()

    @contextmanager
    def closing(self, delivered: Any) -> Iterator[None]:
        """Close a generator at the end; not in a forked child, where it has no threads to wait for."""
        try:
            yield
        finally:
            if os.getpid() == self._process:
                delivered.close()

    def refuse_elsewhere(self) -> None:
        """Raise InputError in a forked child, which would wait for threads that it does not have."""
        if os.getpid() != self._process:
            raise InputError(
                "an iteration that another process began cannot go on after a fork: its threads have stayed there; "
                "begin a new one (`iter(loader)`)"
            )
