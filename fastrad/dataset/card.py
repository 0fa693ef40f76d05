"""The card of a dataset file: what is in it, where it came from, and the hashes that prove it unchanged.

In: `NAME.card.json` beside `NAME.beton`. Out: a `Card`. The card carries a hash over its own bytes, so that a flipped
byte of the card itself is found too. It holds no time stamps, host names or absolute paths: the same source and
options give the same card.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fastrad.dataset.beton import layout
from fastrad.errors import FormatError
from fastrad.system.json_file import Count, Sha256, Word, convert, decode, refuse_unbounded
from fastrad.system.reading import read_whole

CARD_VERSION = 1
MAX_CARD_BYTES = 1 << 28  # a card of 1.35 million rows, none of which could be stored, has 200 MB
_SELF_HASH = re.compile(rb'"card_sha256": "([0-9a-f]{64})"')
_NO_HASH = "0" * 64
_WAY_OUT = "copy it again, or convert again"


@dataclass(frozen=True)
class Card:
    """What a dataset file holds.

    Attributes
    ----------
    name : str
        The file's name without its suffix, for example "train".
    format : str
        "beton" or "webdataset".
    synthetic : bool
        True where the images are generated.
    layout, split : str
        The source's layout, and the split ("train", "val", "test", or "" where the source has none).
    samples : int
        Number of stored samples.
    classes : list of str
        Class names in index order; `class_counts` has the number of stored samples of each.
    patients : list of str
        Pseudonyms (or ids, see `patient_ids`) in index order; empty where the source knows no patients.
    patient_ids : str
        "pseudonym", "kept" or "none".
    manifest_sha256 : str
        `Manifest.sha256()` of the source.
    parameters : dict
        Every conversion parameter: size (pixels), fit, encode, quality, window, page_size (bytes), ...
    mean, std : float
        Of pixel / 255 over all stored samples, padding left out.
    bytes : int
        Size of the dataset file.
    quarantined : list of dict
        `row` and `reason` of each row that could not be stored; neither names a file or quotes a value.
    unlabelled : dict
        `count` and `rows` of the rows without a label.
    notes : list of str
        The source's remarks.
    source_options : dict
        What the source was read with, so that `fastrad verify --source` can read it again; no absolute paths.
    gray_levels : int
        How many of the 256 gray levels the images use, seen in at most 32 rows of each; 0 where that is not known.
    made_square : int
        Images whose pixels were not square in the source and were resampled.
    fingerprints : dict
        `sha256` of the file of the images' fingerprints, `NAME.fingerprints`; empty where there is none.
    versions : dict
        Of fastrad and the libraries that decided on the bytes.
    hashes : dict
        Of a beton: `algorithm`, and the hexadecimal digests `header` (header and field descriptors), `metadata`
        (metadata and the gap up to the first page), `allocation_table` and `pages` (a list, one a page, padding
        included). Of WebDataset shards: `algorithm` and `shards`, a list with `name`, `samples`, `bytes`, `sha256`
        and `index_sha256` of each.
    """

    name: str
    format: str
    synthetic: bool
    layout: str
    split: str
    samples: int
    classes: list[str]
    class_counts: dict[str, int]
    patients: list[str]
    patient_ids: str
    manifest_sha256: str
    parameters: dict[str, Any]
    mean: float
    std: float
    bytes: int
    hashes: dict[str, Any]
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    unlabelled: dict[str, Any] = field(default_factory=lambda: {"count": 0, "rows": []})
    notes: list[str] = field(default_factory=list)
    source_options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    gray_levels: int = 0
    made_square: int = 0
    fingerprints: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> builtins.bytes:
        """The card as it stands on disk: UTF-8 JSON that ends with the hash of everything else in it."""
        content: dict[str, Any] = {"card_version": CARD_VERSION}
        content.update({item.name: getattr(self, item.name) for item in fields(self)})
        if not self.gray_levels:  # a card of 0.1.0 keeps its hash
            del content["gray_levels"], content["made_square"]
        if not self.fingerprints:
            del content["fingerprints"]
        content["card_sha256"] = _NO_HASH
        text = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
        head, tail = text.rsplit(_NO_HASH.encode(), 1)
        return head + hashlib.sha256(text).hexdigest().encode() + tail

    def identities(self) -> list[str]:
        """What names these images wherever they went: the card's hash, and the archive's with the split.

        The second stays the same at another size, encoding or pseudonym key.
        """
        return [self.sha256(), *([f"{self.manifest_sha256} {self.split}".strip()] if self.manifest_sha256 else [])]

    def sha256(self) -> str:
        """The card's own hash, which names the dataset in everything made from it."""
        return _SELF_HASH.findall(self.to_bytes())[-1].decode()

    def files(self) -> list[tuple[str, int]]:
        """Name and size in bytes of each file that the card speaks of."""
        if self.format == "beton":
            return [(f"{self.name}.beton", self.bytes)]
        return [(shard["name"], shard["bytes"]) for shard in self.hashes["shards"]]

    @staticmethod
    def path_for(dataset: Path | str) -> Path:
        """Where the card of `NAME.beton` is: `NAME.card.json` in the same folder."""
        dataset = Path(dataset)
        return dataset.with_name(dataset.stem + ".card.json")

    @classmethod
    def read(cls, path: Path | str) -> Card:
        """Read the card at `path` (`NAME.card.json`, or the dataset file that it belongs to).

        Raises
        ------
        FormatError
            If there is no card, or it does not match its own hash.
        InputError
            If it is no regular file, or larger than any card.
        """
        path = Path(path)
        if not path.name.endswith(".card.json"):
            path = cls.path_for(path)
        try:
            text = read_whole(path, MAX_CARD_BYTES, "a dataset's card")
        except FileNotFoundError:
            raise FormatError(f"{path}: the card is missing; it belongs beside the dataset file: copy both") from None
        return cls.from_bytes(text, str(path))

    @classmethod
    def from_bytes(cls, text: builtins.bytes, name: str) -> Card:
        """A card out of its bytes, `text`; `name` stands for it in errors.

        Raises
        ------
        FormatError
            If it does not match its own hash, or holds what no card holds.
        """
        found = _SELF_HASH.match(text, max(0, text.rfind(b'"card_sha256": "')))
        if not found:
            raise FormatError(f"{name}: is cut short or no fastrad card; {_WAY_OUT}")
        start, end = found.span(1)
        digest = hashlib.sha256(memoryview(text)[:start])
        digest.update(_NO_HASH.encode())
        digest.update(memoryview(text)[end:])
        if digest.hexdigest().encode() != found[1]:
            raise FormatError(f"{name}: the card was altered (its own hash differs); {_WAY_OUT}")
        content: dict[str, Any] = decode(text, dict[str, Any], name, _WAY_OUT)
        version = content.pop("card_version", None)
        content.pop("card_sha256", None)
        if version != CARD_VERSION:
            kind = version if type(version) is int and 0 < version < 1000 else "unknown"
            raise FormatError(f"{name}: card version {kind}, this fastrad reads {CARD_VERSION}; convert again")
        _check_form(content, name)
        return cls(**content)


# What a card with a true hash must hold all the same: whoever alters a card can write its hash anew. No name leads out
# of the card's folder.
_FileName = Annotated[str, msgspec.Meta(pattern=r"^(?!\.)[^/\\\x00-\x1f\x7f]{1,200}$")]
_TarName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,200}-\d{6}\.tar$")]
_Side = Annotated[int, msgspec.Meta(ge=1, le=(1 << 16) - 1)]
_PageSize = Annotated[int, msgspec.Meta(ge=1, le=(1 << 32) - 1)]


class _Entry(msgspec.Struct):
    row: Count
    reason: Word
    path: Word = ""  # in cards of 0.1.0; it may name a patient, and is not shown


class _Unlabelled(msgspec.Struct):
    count: Count
    rows: list[Count]


class _FingerprintsFile(msgspec.Struct):
    sha256: Sha256


class _CardForm(msgspec.Struct, forbid_unknown_fields=True):
    name: _FileName
    format: Word
    synthetic: bool
    layout: Word
    split: Word
    samples: Count
    classes: list[Word]
    class_counts: dict[Word, Count]
    patients: list[Word]
    patient_ids: Literal["pseudonym", "kept", "none"]
    manifest_sha256: Word
    parameters: dict[str, Any]
    mean: Annotated[float, msgspec.Meta(ge=0, le=1)]
    std: Annotated[float, msgspec.Meta(ge=0, le=1)]
    bytes: Count
    hashes: dict[str, Any]
    quarantined: list[_Entry] = []
    unlabelled: _Unlabelled | None = None
    notes: list[Annotated[str, msgspec.Meta(max_length=1 << 24)]] = []
    source_options: dict[str, Any] = {}
    versions: dict[Word, Word] = {}
    gray_levels: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    made_square: Count = 0
    fingerprints: _FingerprintsFile | None = None


class _Stored(msgspec.Struct):
    encode: Literal["raw", "jpeg", "png"]
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] | None


class _Conversion(_Stored, kw_only=True):
    size: _Side
    fit: Literal["pad", "squash", "crop"]
    window: tuple[float, float] | None
    pass_png: bool = False
    pixel_aspect: Literal["header", "ignore"] = "header"
    window_from: Word = ""
    from_shards: _Stored | None = None


class _Pages(msgspec.Struct):
    page_size: _PageSize


class _BetonHashes(msgspec.Struct):
    header: Sha256
    metadata: Sha256
    allocation_table: Sha256
    pages: list[Sha256]


class _File(msgspec.Struct):
    name: _FileName
    samples: Count
    bytes: Count
    sha256: Sha256
    index_sha256: Sha256


class _Tar(_File):
    name: _TarName


class _FileHashes(msgspec.Struct):
    shards: Annotated[list[_File], msgspec.Meta(min_length=1, max_length=1_000_000)]


class _TarHashes(msgspec.Struct):
    shards: Annotated[list[_Tar], msgspec.Meta(min_length=1, max_length=1_000_000)]


def _check_form(content: dict[str, Any], name: str) -> None:
    form = convert(content, _CardForm, name, _WAY_OUT)
    for free in (form.parameters, form.source_options):
        refuse_unbounded(free, name, _WAY_OUT)
    convert(form.parameters, _Conversion, f"{name}: parameters", _WAY_OUT)
    sound = len(set(form.classes)) == len(form.classes) and set(form.class_counts) == set(form.classes)
    if form.format == "beton":
        page_size = convert(form.parameters, _Pages, f"{name}: parameters", _WAY_OUT).page_size
        pages = len(convert(form.hashes, _BetonHashes, f"{name}: hashes", _WAY_OUT).pages)
        sound &= form.bytes - layout.size_around_pages(form.samples) >= pages * page_size
    elif form.format != "webdataset":  # one that somebody added
        convert(form.hashes, _FileHashes, f"{name}: hashes", _WAY_OUT)
    else:
        shards = convert(form.hashes, _TarHashes, f"{name}: hashes", _WAY_OUT).shards
        sound &= re.fullmatch(r"[A-Za-z0-9_-]+", form.name) is not None  # a beton made of them is called so
        sound &= len({shard.name for shard in shards}) == len(shards)
        sound &= sum(shard.samples for shard in shards) == form.samples
    if not sound:
        raise FormatError(f"{name}: holds values that fastrad does not write; {_WAY_OUT}")
