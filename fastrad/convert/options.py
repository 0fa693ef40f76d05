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
from fastrad.imaging import FIT_MODES, PIXEL_ASPECTS
from fastrad.system.files import in_units

MAX_SIZE = 8192
MAX_SHARD = 10**15  # bytes
MAX_WORKERS = 4096
_ADDRESS = re.compile(
    r"(?:(?:tcp|tls|ws|wss|ucx)://)?[^\s/:\x00-\x20]{1,255}:\d{1,5}|(?:tcp|tls)://\[[0-9a-fA-F:.]+\]:\d{1,5}"
)
_ENCODINGS = tuple(dict.fromkeys(encoding for output in FORMATS.values() for encoding in output.encodings))
AUTO = "auto"
# By their usual centre and width in Hounsfield units: 40/400, -600/1500, 480/2500, 40/80.
WINDOWS = {
    "ct-soft": (-160.0, 240.0),
    "ct-lung": (-1350.0, 150.0),
    "ct-bone": (-770.0, 1730.0),
    "ct-brain": (0.0, 80.0),
}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def parse_window(text: str) -> tuple[float, float] | str:
    """`LOW,HIGH` to two numbers; "auto" and the names of `WINDOWS` stay; raises OptionError."""
    if text == AUTO or text in WINDOWS:
        return text
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(
            f"--window {text}: two numbers LOW,HIGH are needed, or one of {', '.join([AUTO, *WINDOWS])}"
        ) from None
    return low, high


def parse_bytes(text: str) -> int:
    """`500MB`, `1.5GiB` or a bare number to bytes; raises OptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in _UNITS:
        raise OptionError(f"--shard-size {text}: a number with B, kB, MB, GB, KiB, MiB or GiB is needed")
    size = float(found[1]) * _UNITS[found[2].upper()]
    if not 1 <= size <= MAX_SHARD:
        raise OptionError(f"--shard-size {text[:40]}: choose 1 byte to {in_units(MAX_SHARD)}")
    return int(size)


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
    window : (float, float), str or None
        Values that become black and white: LOW,HIGH in the files' own units, ct-soft, ct-lung, ct-bone or ct-brain, or
        auto, chosen once from a sample of the whole archive. By default DICOM files' own windows, and the range of the
        stored bits.
    pixel_aspect : str
        Pixels that are not square by what DICOM and TIFF files say: header makes them square, ignore does not.
    workers : int or None
        Processes; by default one per core that may be used.
    scheduler : str or None
        Convert on the workers of the Dask cluster at this address, over a file system that they share.
    pseudonym_key : Path or None
        File with the key of the patients' pseudonyms, made where missing; by default in your configuration folder.
    keep_patient_ids : bool
        Store patient ids as the source has them.
    rows_csv : bool
        Write NAME.rows.csv beside each card: row, path, label, split and patient of every stored image.
    drop : Path or None
        Leave out what this audit.json says: samples with "drop": true, of an audit of the same archive.
    window_from : str
        How the window was found: "auto" or a name; "" where it was given in numbers, or there is none.
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
    window: tuple[float, float] | str | None = field(
        default=None, metadata={"metavar": "LOW,HIGH|auto|ct-...", "parse": parse_window}
    )
    pixel_aspect: str = field(default="header", metadata={"choices": PIXEL_ASPECTS})
    workers: int | None = None
    scheduler: str | None = field(default=None, metadata={"metavar": "tcp://HOST:PORT"})
    pseudonym_key: Path | None = None
    keep_patient_ids: bool = False
    rows_csv: bool = False
    drop: Path | None = field(default=None, metadata={"metavar": "AUDIT.JSON"})
    window_from: str = field(default="", metadata={"option": ""})
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
        if not 1 <= self.shard_bytes <= MAX_SHARD:
            raise OptionError(f"a shard of {self.shard_bytes} bytes: choose 1 to {MAX_SHARD:,}")
        if self.scheduler is not None and not _ADDRESS.fullmatch(self.scheduler):
            raise OptionError(f"scheduler {self.scheduler!r} is no address; give it as tcp://HOST:PORT")
        if not 1 <= self.quality <= 100:
            raise OptionError(f"quality {self.quality}: choose 1 to 100")
        if self.pixel_aspect not in PIXEL_ASPECTS:
            raise OptionError(f"pixel aspect {self.pixel_aspect!r}: choose one of {', '.join(PIXEL_ASPECTS)}")
        if isinstance(self.window, str) and self.window != AUTO and self.window not in WINDOWS:
            raise OptionError(f"window {self.window!r}: choose one of {', '.join([AUTO, *WINDOWS])}")
        if isinstance(self.window, tuple) and not 0 < self.window[1] - self.window[0] < math.inf:
            raise OptionError(f"window {self.window}: its second value must exceed the first, and both be finite")
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise OptionError(f"workers {self.workers}: choose 1 to {MAX_WORKERS:,}")

    @property
    def image(self) -> ImageOptions:
        """The part that decides about pixels."""
        assert not isinstance(self.window, str), "settle_window comes first"
        return ImageOptions(
            self.size,
            self.fit,
            self.encode,
            self.quality,
            self.window,
            self.pass_png,
            self.pixel_aspect,
            self.window_from,
        )
