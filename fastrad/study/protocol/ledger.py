"""The ledger of test scorings: how often the same test patients were scored, and with which settings.

In: each command that scores held-out patients. Out: a line of JSON in the study's `ledger.jsonl`, and in
`fastrad/ledger/` of the user's configuration folder, in one file a dataset, so that a study that is begun again in
another folder is counted too. What gives the same scores again is one scoring, however often it is given. A line
holds settings, never patients: which images were tested stands as a bit for each row of the archive.
"""

from __future__ import annotations

import hashlib
import json
import os
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastrad
from fastrad.dataset.pseudonym import default_key_path
from fastrad.system.files import write_atomically
from fastrad.system.progress import say

LEDGER = "ledger.jsonl"
_LONGEST = 16 << 20  # bytes of a ledger that are read: some thousand scorings of a thousand images


@dataclass(frozen=True)
class Scoring:
    """One scoring of held-out images.

    Attributes
    ----------
    when : str
        UTC, ISO 8601, to the second.
    version : str
        Of fastrad.
    dataset : str
        What names the archive, at any size and under any pseudonyms.
    rows : int
        Bit r is set where manifest row r was tested.
    settings : dict
        Everything that the scores depend on.
    """

    when: str
    version: str
    dataset: str
    rows: int
    settings: dict[str, Any]

    @property
    def key(self) -> str:
        """Equal for scorings that give the same scores of the same images."""
        text = json.dumps([self.dataset, self.rows, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """One line."""
        content = {
            "when": self.when,
            "fastrad": self.version,
            "dataset": self.dataset,
            "rows": f"{self.rows:x}",
            "settings": self.settings,
        }
        return json.dumps(content, sort_keys=True) + "\n"


def scoring_now(dataset: str, rows: Iterable[int], settings: Mapping[str, Any]) -> Scoring:
    """A scoring at this moment."""
    bits = 0
    for row in rows:
        bits |= 1 << int(row)
    stored = json.loads(json.dumps(dict(settings)))  # as it will be read again
    return Scoring(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), fastrad.__version__, dataset, bits, stored)


def enter(folder: Path, scoring: Scoring) -> None:
    """Enter a scoring into the ledgers, unless it is there already; the study's gets the user's lines of its images.

    Parameters
    ----------
    folder : Path
        The study's.
    """
    ours = read_ledger(folder / LEDGER)
    try:
        home = home_ledger(scoring.dataset)
        known = read_ledger(home)
        if scoring.key not in {each.key for each in known}:
            home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            with open(os.open(home, flags, 0o600), "wb", buffering=0) as file:
                file.write(scoring.to_json().encode())  # one write: the lines of two commands do not mix
    except (OSError, RuntimeError) as error:  # a read-only home, or none
        known = []
        reason = error.strerror if isinstance(error, OSError) else error
        say(f"notice: your configuration folder has no ledger of test scorings ({reason}); the study keeps its own")
    found = {each.key: each for each in (*known, *ours) if each in ours or overlap(each, scoring)}
    found.setdefault(scoring.key, scoring)
    lines = [each.to_json() for each in sorted(found.values(), key=lambda each: (each.when, each.key))]
    write_atomically(folder / LEDGER, "".join(lines).encode())


def scorings_of(folder: Path, scoring: Scoring) -> list[Scoring]:
    """What the ledgers, the study's in `folder` and the user's, know of a scoring's images."""
    try:
        known = read_ledger(home_ledger(scoring.dataset))
    except (OSError, RuntimeError):  # no home, or one that cannot be read: `enter` says so
        known = []
    found = {each.key: each for each in (*known, *read_ledger(folder / LEDGER)) if overlap(each, scoring)}
    return list(found.values())


def home_ledger(dataset: str) -> Path:
    """The file of a dataset in the user's configuration folder."""
    return default_key_path().parent / "ledger" / f"{hashlib.sha256(dataset.encode()).hexdigest()[:24]}.jsonl"


def read_ledger(path: Path) -> list[Scoring]:
    """The scorings in a ledger, in its order; lines that are none are told of and passed over."""
    if not path.is_file():
        return []
    with open(path, "rb") as file:
        lines = file.read(_LONGEST).splitlines()
    found = [_scoring(line) for line in lines]
    if None in found:
        say(f"notice: {path}: {found.count(None)} of its lines are no entries of a ledger and are passed over")
    return [each for each in found if each is not None]


def _scoring(line: bytes) -> Scoring | None:
    try:
        content = json.loads(line)
        texts = [content[name] for name in ("when", "fastrad", "dataset", "rows")]
        settings = content["settings"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = all(isinstance(text, str) for text in texts) and isinstance(settings, dict)
    if not sound or not texts[3] or set(texts[3]) - set(string.hexdigits):
        return None
    return Scoring(texts[0], texts[1], texts[2], int(texts[3], 16), settings)


def overlap(one: Scoring, other: Scoring) -> int:
    """How many images both scored."""
    return (one.rows & other.rows).bit_count() if one.dataset == other.dataset else 0


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the settings in which two scorings differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
