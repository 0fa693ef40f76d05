"""The engines of the loader: each is given one step after another and hands back its images.

To add an engine
----------------
1. Write a module here with a class that fulfils `base.Engine`: `__init__(samples, delivery)`, `run(steps, size)` and
   `capabilities`, which says what it does by itself. What it leaves (rotation, intensities, normalisation, or all of
   the geometry) the loader does on the device.
2. Add one line to `ENGINES` below.

The choices of the command line, the contract tests in `tests/loading/` and the fuzz tests take the list from here.
A class is imported when a loader asks for it, so an engine may need a library that is not installed: then it raises
`MissingDependencyError`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fastrad.errors import InputError

if TYPE_CHECKING:
    from fastrad.loading.engines.base import Engine

# name -> module and class
ENGINES = {
    "dali": "fastrad.loading.engines.dali:DaliEngine",
    "direct": "fastrad.loading.engines.direct:DirectEngine",
    "resident": "fastrad.loading.engines.resident:ResidentEngine",
    "torch": "fastrad.loading.engines.torch:TorchEngine",
}
# What training takes of a GPU's memory beside the images: a batch's activations, for each input pixel and byte of the
# number format (ResNet-18's add up to 109 in float32 and 117 in bfloat16, counted by fake tensors in
# tests/train/test_fake_cuda_training.py; the rest is for gradients in passing); and weights, gradients, the optimiser,
# cuDNN's workspace and what CUDA itself takes.
_ACTIVATIONS, _REST = 150, 3 << 30
# what 0.1.0 called them
ALIASES = {"ffcv": "direct"}


def engine_choices() -> tuple[str, ...]:
    """What may be asked for: "auto", the engines, and their former names."""
    return ("auto", *ENGINES, *ALIASES)


def engine_name(asked: str) -> str:
    """The name that an engine has now; "auto" stays.

    Raises
    ------
    InputError
        If there is no such engine.
    """
    if asked not in engine_choices():
        raise InputError(f"engine {asked!r} is none of {', '.join(engine_choices())}")
    return ALIASES.get(asked, asked)


def model_bytes(batch_size: int, size: int, itemsize: int = 4) -> int:
    """What a ResNet-18 needs of a GPU's memory for training, an estimate in bytes.

    Parameters
    ----------
    batch_size : int
        Of one GPU.
    size : int
        Pixels a side.
    itemsize : int
        Bytes of a number: 4 for float32, 2 for mixed precision.
    """
    return batch_size * size * size * itemsize * _ACTIVATIONS + _REST


def engine_class(name: str) -> type[Engine]:
    """The class of one of `ENGINES`."""
    module, _, found = ENGINES[name].partition(":")
    return getattr(import_module(module), found)
