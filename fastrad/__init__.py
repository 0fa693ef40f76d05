"""fastrad: grayscale medical image archives to FFCV and DALI files, fast loading, pretraining, and a study.

The public surface is what `__all__` names; the stages are the sub-packages. Names are imported on first use,
so that `import fastrad` needs neither torch nor FFCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

_HOME = {
    "Batch": "fastrad.loading",
    "Dataset": "fastrad.dataset.opening",
    "FastradError": "fastrad.errors",
    "Loader": "fastrad.loading",
    "Manifest": "fastrad.archives.manifest",
}

__all__ = ["Batch", "Dataset", "FastradError", "Loader", "Manifest", "__version__"]

if TYPE_CHECKING:
    from fastrad.archives.manifest import Manifest
    from fastrad.dataset.opening import Dataset
    from fastrad.errors import FastradError
    from fastrad.loading import Batch, Loader


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fastrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
