"""The card of a dataset file: what is in it, where it came from, and the hashes that prove it unchanged.

In: `NAME.card.json` beside `NAME.beton`. Out: a `Card`. The card carries a hash over its own bytes, so that a flipped
byte of the card itself is found too. It holds no time stamps, host names or absolute paths: the same source and
options give the same card.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import math
import re
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from fastrad.errors import FormatError

CARD_VERSION = 1
_SELF_HASH = re.compile(rb'"card_sha256": "([0-9a-f]{64})"')
_NO_HASH = "0" * 64


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
        `row`, `path` and `reason` of each row that could not be stored.
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

    def to_bytes(self) -> builtins.bytes:
        """The card as it stands on disk: UTF-8 JSON that ends with the hash of everything else in it."""
        content: dict[str, Any] = {"card_version": CARD_VERSION}
        content.update({item.name: getattr(self, item.name) for item in fields(self)})
        if not self.gray_levels:  # a card of 0.1.0 keeps its hash
            del content["gray_levels"], content["made_square"]
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
        """
        path = Path(path)
        if not path.name.endswith(".card.json"):
            path = cls.path_for(path)
        try:
            text = path.read_bytes()
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
        found = list(_SELF_HASH.finditer(text))
        if not found:
            raise FormatError(f"{name}: is cut short or no fastrad card; copy it again, or convert again")
        start, end = found[-1].span(1)
        blank = text[:start] + _NO_HASH.encode() + text[end:]
        if hashlib.sha256(blank).hexdigest().encode() != text[start:end]:
            raise FormatError(f"{name}: the card was altered (its own hash differs); copy it again, or convert again")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise FormatError(f"{name}: is no fastrad card; copy it again, or convert again")
        version = content.pop("card_version", None)
        content.pop("card_sha256", None)
        if version != CARD_VERSION:
            raise FormatError(f"{name}: card version {version}, this fastrad reads {CARD_VERSION}; convert again")
        if not _is_well_formed(content):
            raise FormatError(f"{name}: holds values that fastrad does not write; copy it again, or convert again")
        return cls(**content)


_TYPES: dict[str, type | tuple[type, ...]] = {"float": (int, float), "int": int, "str": str, "bool": bool}
_TYPES |= {"list": list, "dict": dict}


def _is_well_formed(content: dict[str, Any]) -> bool:
    """Whether a card with a true hash also holds values of the kinds that readers count on."""
    known = {item.name: item for item in fields(Card)}
    required = {item.name for item in fields(Card) if item.default_factory is item.default is MISSING}
    if not required <= set(content) <= set(known):
        return False
    for key, value in content.items():
        kind = str(known[key].type).split("[")[0]
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
            return False
    hashes, counts = content["hashes"], content["class_counts"]
    texts = [*content["classes"], *content["patients"], *content.get("notes", [])]
    sizes = [content["samples"], content["bytes"], *counts.values()]
    if content["format"] == "beton":
        texts += [hashes.get(part) for part in ("header", "metadata", "allocation_table")]
        pages = hashes.get("pages")
        texts += pages if isinstance(pages, list) else [None]
        sizes.append(content["parameters"].get("page_size"))
    else:
        shards = hashes.get("shards")
        for shard in shards if isinstance(shards, list) else [None]:
            shard = shard if isinstance(shard, dict) else {}
            texts += [shard.get(part) for part in ("name", "sha256", "index_sha256")]
            sizes += [shard.get(part) for part in ("samples", "bytes")]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(size) is int and 0 <= size < 1 << 63 for size in sizes)
        and set(counts) == set(content["classes"])
        and math.isfinite(content["mean"])
        and math.isfinite(content["std"])
        and all(
            isinstance(entry, dict) and {"row", "path", "reason"} <= set(entry)
            for entry in content.get("quarantined", [])
        )
    )
