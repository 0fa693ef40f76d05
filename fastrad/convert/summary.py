"""What a conversion did, or would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrad.convert.plan import SplitPlan
from fastrad.dataset.card import Card


@dataclass(frozen=True)
class ConvertedFile:
    """One finished file.

    Attributes
    ----------
    path : str
        Of the beton; of WebDataset shards, their card. A path or a URL.
    card : Card
    done_before : bool
        True where an earlier run had finished it.
    """

    path: str
    card: Card
    done_before: bool


@dataclass(frozen=True)
class ConvertSummary:
    """What a conversion did.

    Attributes
    ----------
    files : tuple of ConvertedFile
    seconds : float
        Of this run.
    converted : int
        Images that this run stored or quarantined.
    empty_splits : tuple of str
        Splits without one usable row; no file is written for them.
    key_path : Path or None
        The file with the pseudonyms' key, where patients are known; `key_made` says whether it was made now.
    notices : tuple of str
        What the user should know about this run.
    """

    files: tuple[ConvertedFile, ...]
    seconds: float
    converted: int
    empty_splits: tuple[str, ...]
    key_path: Path | None
    key_made: bool
    notices: tuple[str, ...]

    @property
    def quarantine_reasons(self) -> list[tuple[str, int]]:
        """Each reason with the number of rows that it keeps out, the most frequent first."""
        reasons = Counter(entry["reason"] for file in self.files for entry in file.card.quarantined)
        return reasons.most_common()

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "files": [
                {
                    "path": str(file.path),
                    "done_before": file.done_before,
                    "samples": file.card.samples,
                    "classes": file.card.class_counts,
                    "patients": len(file.card.patients),
                    "quarantined": file.card.quarantined,
                    "unlabelled": file.card.unlabelled,
                    "bytes": file.card.bytes,
                    "mean": file.card.mean,
                    "std": file.card.std,
                    "card_sha256": file.card.sha256(),
                }
                for file in self.files
            ],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.converted / self.seconds, 1) if self.converted else None,
            "empty_splits": list(self.empty_splits),
            "pseudonym_key": None if self.key_path is None else str(self.key_path),
            "notices": list(self.notices),
        }


@dataclass(frozen=True)
class Preview:
    """What a conversion would do.

    Attributes
    ----------
    plans : tuple of SplitPlan
    bytes_needed, bytes_free : int
        On the output's file system; `bytes_needed` counts everything that lies there at the same time.
    """

    plans: tuple[SplitPlan, ...]
    bytes_needed: int
    bytes_free: int
