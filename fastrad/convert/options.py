"""What the user chooses about a conversion."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastrad.convert.outputs import FORMATS
from fastrad.convert.sample import ImageOptions
from fastrad.errors import OptionError
from fastrad.imaging import FIT_MODES

MAX_SIZE = 8192
_ENCODINGS = tuple(dict.fromkeys(encoding for output in FORMATS.values() for encoding in output.encodings))
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def parse_window(text: str) -> tuple[float, float]:
    """`LOW,HIGH` to two numbers; raises OptionError."""
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(f"--window {text}: two numbers LOW,HIGH are needed") from None
    return low, high


def parse_bytes(text: str) -> int:
    """`500MB`, `1.5GiB` or a bare number to bytes; raises OptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in _UNITS:
        raise OptionError(f"--shard-size {text}: a number with B, kB, MB, GB, KiB, MiB or GiB is needed")
    return int(float(found[1]) * _UNITS[found[2].upper()])


@dataclass(frozen=True)
class ConvertOptions:
    """What the user chooses about a conversion; the words below are the help of the command line too.

    Attributes
    ----------
    size : int
        Side of the stored square, pixels.
    fit : str
        Into the square: pad keeps the aspect ratio, squash stretches, crop takes the centre.
    format : str
        What to write: beton files, or WebDataset shards.
    encode : str
        Beton files: raw or jpeg; shards: png or jpeg. By default the first of them.
    quality : int
        Of the JPEG, with encode jpeg.
    pass_png : bool
        Shards of PNG: keep the bytes of a source PNG that is as it would be stored: gray, of the right size, holding
        nothing but pixels. It is decoded to prove that, and for mean and standard deviation; encoding it is saved.
    shard_bytes : int
        Of a tar at most, for example 500MB; with format webdataset, by default 1GiB.
    window : (float, float) or None
        Stored values that become black and white; by default the whole range of the file's type.
    workers : int or None
        Processes; by default one per core that may be used.
    scheduler : str or None
        Convert on the workers of the Dask cluster at this address, over a file system that they share.
    pseudonym_key : Path or None
        File with the key of the patients' pseudonyms, made where missing; by default in your configuration folder.
    keep_patient_ids : bool
        Store patient ids as the source has them.
    source_options : mapping
        What `read_source` was given, kept in the card so that the source can be read again; no absolute paths.
    """

    size: int = 224
    fit: str = field(default="pad", metadata={"choices": FIT_MODES})
    format: str = field(default="beton", metadata={"choices": FORMATS})
    encode: str = field(default="", metadata={"choices": _ENCODINGS})
    quality: int = field(default=90, metadata={"min": 1, "max": 100})
    pass_png: bool = False
    shard_bytes: int = field(
        default=1 << 30, metadata={"option": "--shard-size", "metavar": "BYTES", "parse": parse_bytes}
    )
    window: tuple[float, float] | None = field(default=None, metadata={"metavar": "LOW,HIGH", "parse": parse_window})
    workers: int | None = None
    scheduler: str | None = field(default=None, metadata={"metavar": "tcp://HOST:PORT"})
    pseudonym_key: Path | None = None
    keep_patient_ids: bool = False
    source_options: Mapping[str, Any] = field(default_factory=dict, metadata={"option": ""})

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise OptionError(f"size {self.size}: choose 1 to {MAX_SIZE} pixels")
        if self.fit not in FIT_MODES:
            raise OptionError(f"fit {self.fit!r}: choose one of {', '.join(FIT_MODES)}")
        if self.format not in FORMATS:
            raise OptionError(f"format {self.format!r}: choose one of {', '.join(FORMATS)}")
        encodings = FORMATS[self.format].encodings
        if not self.encode:
            object.__setattr__(self, "encode", encodings[0])
        if self.encode not in encodings:
            raise OptionError(f"encode {self.encode!r}: {self.format} stores {' or '.join(encodings)}")
        if self.pass_png and self.encode != "png":
            raise OptionError("PNG are passed through into shards of PNG only: choose format webdataset, encode png")
        if self.shard_bytes < 1:
            raise OptionError(f"a shard of {self.shard_bytes} bytes: at least one is needed")
        if not 1 <= self.quality <= 100:
            raise OptionError(f"quality {self.quality}: choose 1 to 100")
        if self.window is not None and not 0 < self.window[1] - self.window[0] < math.inf:
            raise OptionError(f"window {self.window}: its second value must exceed the first, and both be finite")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers {self.workers}: at least one is needed")

    @property
    def image(self) -> ImageOptions:
        """The part that decides about pixels."""
        return ImageOptions(self.size, self.fit, self.encode, self.quality, self.window, self.pass_png)
