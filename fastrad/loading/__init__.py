"""Feeds batches from a dataset to a device, in one order and with one randomness for every engine.

    loader.py    `Loader`, the one constructor
    policy.py    what may happen to an image, and what does happen to each sample
    order.py     which sample comes when; plan.py puts order and policy together into steps
    samples.py   a dataset's stored bytes, compared with their checksums
    engines/     who moves the pixels; a registry
    kernels/     compiled inner loops
    augment.py   on the device: what an engine left to be done
    bench.py     how fast the engines are here

Names are imported on first use, so that the command line can list the engines without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastrad.loading.loader import Batch, Loader
    from fastrad.loading.policy import Augmentation

__all__ = ["Augmentation", "Batch", "Loader"]

_HOME = {"Augmentation": "policy", "Batch": "loader", "Loader": "loader"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"fastrad.loading.{_HOME[name]}"), name)
    raise AttributeError(f"module 'fastrad.loading' has no attribute {name!r}")
