"""What weights say of themselves: the texts of a safetensors file, each checked against what fastrad writes there.

In: texts by key. Out: their values. A file of ours with another value is refused; of a file of other origin, which may
mean something else by a word like `size`, such a value is left out with a notice. `Pretrained` and `Tuned` are what
`fastrad export` and `fastrad predict` cannot do without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from fastrad.errors import FormatError
from fastrad.system.json_file import Count, Word, convert, refuse_unbounded

MAX_CLASSES = 1_000_000
_WAY_OUT = "copy or write it again"
_Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
_Mean = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
_Std = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
_Words = Annotated[list[Word], msgspec.Meta(min_length=1, max_length=MAX_CLASSES)]


class _Gray(msgspec.Struct):
    mean: tuple[_Mean]
    std: tuple[_Std]


class _Colour(msgspec.Struct):
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Std, _Std, _Std]


class _Dataset(msgspec.Struct):
    layout: Word
    split: Word
    samples: Count


class _SeenImages(msgspec.Struct):
    dataset: Word
    images: Count
    sha256: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]


_KINDS: dict[str, Any] = {
    "architecture": Word,
    "size": _Side,
    "classes": _Words,
    "card_sha256": Word,
    "seen": Any,  # `Weights.seen` takes what it knows
    "seen_images": list[_SeenImages],
    "synthetic": bool,
    "seed": int,
    "precision": Word,
    "fastrad": Word,
    "recipe": dict[Word, Any],
    "parameters": dict[Word, Any],
    "source_options": dict[Word, Any],
    "arm": Word,
    "positive": Word,
    "negatives": list[Word],
    "flip_average": bool,
    # a key whose value has one of several forms: the number of channels, earlier versions
    "normalisation": (_Gray, _Colour),
    "dataset": (Word, _Dataset),
    "metrics": dict[Word, float],
}


def read_metadata(texts: Mapping[str, str], origin: str, ours: bool) -> tuple[dict[str, Any], list[str]]:
    """The values of a file's texts, and notices of those that were left out.

    Parameters
    ----------
    ours : bool
        Whether the file's own hash says that fastrad wrote it.

    Raises
    ------
    FormatError
        If a value of a file of ours is none that fastrad writes.
    """
    metadata, notices = {}, []
    for key, text in texts.items():
        try:
            value = json.loads(text)  # Python's own: metrics may be NaN
        except (ValueError, RecursionError):
            value = text
        if key in _KINDS:
            try:
                _check(key, value, origin)
            except FormatError:
                if ours:
                    raise
                notices.append(f"{origin}: its {key} is none that fastrad knows, and is left out")
                continue
        metadata[key] = value
    return metadata, notices


def _check(key: str, value: Any, origin: str) -> None:
    kinds = _KINDS[key] if isinstance(_KINDS[key], tuple) else (_KINDS[key],)
    for number, kind in enumerate(kinds, start=1):
        try:
            convert(value, kind, f"{origin}: {key}", _WAY_OUT)
            break
        except FormatError:
            if number == len(kinds):
                raise
    if key != "metrics":
        refuse_unbounded(value, f"{origin}: {key}", _WAY_OUT)


class _Metrics(msgspec.Struct):
    epoch: int
    val_loss: float
    val_macro_auroc: float
    val_micro_auroc: float
    val_top1: float
    val_top5: float
    val_balanced_accuracy: float
    val_classes_absent: int


class _Recipe(msgspec.Struct):
    epochs: int
    batch_size: int
    lr: float
    label_smoothing: float


class Pretrained(msgspec.Struct):
    """What `fastrad pretrain` writes, as far as a model card and an exported file need it."""

    normalisation: _Gray
    size: _Side
    classes: _Words
    card_sha256: Word
    dataset: _Dataset
    synthetic: bool
    metrics: _Metrics
    recipe: _Recipe
    seed: int
    precision: Word
    fastrad: Word


class _Stored(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1, le=(1 << 16) - 1)]
    fit: Literal["pad", "squash", "crop"]
    window: tuple[float, float] | None = None
    encode: Literal["raw", "jpeg", "png"] | None = None
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None


class _Source(msgspec.Struct):
    crop: Word = ""


class Converted(msgspec.Struct):
    """What weights say of how the images were converted that they learned from."""

    parameters: _Stored
    source_options: _Source = msgspec.field(default_factory=_Source)


class Tuned(msgspec.Struct):
    """What `fastrad compare` writes into a network, as far as scoring new images needs it."""

    normalisation: _Gray
    size: _Side
    flip_average: bool
    parameters: _Stored
    arm: Word
    source_options: _Source = msgspec.field(default_factory=_Source)


def as_written(metadata: Mapping[str, Any], kind: type, origin: str) -> None:
    """Compare metadata with what one of our commands writes.

    Raises
    ------
    FormatError
        If a value is missing, or of another type.
    """
    convert(dict(metadata), kind, origin, _WAY_OUT)
