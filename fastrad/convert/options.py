"""What the user chooses about a conversion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastrad.convert.outputs import FORMATS
from fastrad.convert.sample import ImageOptions
from fastrad.errors import OptionError
from fastrad.imaging import FIT_MODES

MAX_SIZE = 8192


@dataclass(frozen=True)
class ConvertOptions:
    """What the user chooses about a conversion.

    Attributes
    ----------
    size : int
        Side of the stored square, in pixels.
    fit : str
        "pad" (keeps the aspect ratio), "squash" or "crop".
    format : str
        "beton" or "webdataset".
    encode : str
        For betons "raw" or "jpeg", for shards "png" or "jpeg"; "" takes the first of them.
    quality : int
        Of the JPEG, 1 to 100.
    pass_png : bool
        Put the bytes of a source PNG into shards as they are, where it is gray, of the right size, and holds nothing
        but pixels. It is decoded to prove that, and for mean and standard deviation; what is saved is the encoding.
    shard_bytes : int
        Size of a tar at most.
    window : (float, float) or None
        Stored values that become black and white; None for the whole range of the file's type.
    workers : int or None
        Processes; None for one a core that this process may use.
    scheduler : str or None
        Address of a Dask scheduler whose workers convert instead, over a shared file system.
    pseudonym_key : Path or None
        File with the key of the pseudonyms; None for the one in the user's configuration folder.
    keep_patient_ids : bool
        Store the patient ids themselves.
    source_options : mapping
        What `read_source` was given, kept in the card so that the source can be read again; no absolute paths.
    """

    size: int = 224
    fit: str = "pad"
    format: str = "beton"
    encode: str = ""
    quality: int = 90
    pass_png: bool = False
    shard_bytes: int = 1 << 30
    window: tuple[float, float] | None = None
    workers: int | None = None
    scheduler: str | None = None
    pseudonym_key: Path | None = None
    keep_patient_ids: bool = False
    source_options: Mapping[str, Any] = field(default_factory=dict)

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
