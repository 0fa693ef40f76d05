"""What a conversion did, or would do, as data, as JSON's content and as the lines that a person is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrad.convert.drop import LEFT_OUT
from fastrad.convert.plan import SplitPlan
from fastrad.dataset.card import Card
from fastrad.system.files import in_units
from fastrad.system.terminal import one_line

_SHOWN = 8  # classes, reasons of quarantine, absent rows


@dataclass(frozen=True)
class ConvertedFile:
    """One finished file.

    Attributes
    ----------
    path : str
        Of the beton file; of WebDataset shards, their card. A path or a URL.
    card : Card
    done_before : bool
        True where an earlier run had finished it.
    """

    path: str
    card: Card
    done_before: bool

    def to_lines(self) -> list[str]:
        """For a terminal: how much of what it holds, and what was left out."""
        card = self.card
        patients = f" of {len(card.patients):,} patients" if card.patients else ""
        counts = ", ".join(f"{name} {count:,}" for name, count in list(card.class_counts.items())[:_SHOWN])
        more = f" and {len(card.classes) - _SHOWN} more" if len(card.classes) > _SHOWN else ""
        shards = f" in {len(card.files())} shards" if card.format == "webdataset" else ""
        lines = [
            f"{self.path}{'  (finished before)' if self.done_before else ''}",
            f"  {card.samples:,} images{patients}",
            f"  {len(card.classes)} classes: {counts}{more}",
            f"  {in_units(card.bytes)}{shards}, mean {card.mean:.4f}, std {card.std:.4f} of pixel/255",
        ]
        if count := card.unlabelled["count"]:
            known = card.unlabelled.get("patients")
            lines.append(f"  unlabelled, left out: {count:,} images" + (f" of {known:,} patients" if known else ""))
        asked = sum(_is_asked_for(entry["reason"]) for entry in card.quarantined)
        if len(card.quarantined) > asked:
            lines.append(f"  quarantined: {len(card.quarantined) - asked:,} rows (the card says why)")
        if asked:
            lines.append(f"  left out as asked: {asked:,} rows (the card says why)")
        if card.gray_levels:
            lines.append(f"  {card.gray_levels} of 256 gray levels are used")
        if window := card.parameters.get("window"):
            found = f" ({card.parameters['window_from']})" if card.parameters.get("window_from") else ""
            lines.append(f"  window {window[0]:g} to {window[1]:g}{found}")
        if card.made_square:
            lines.append(f"  made square: {card.made_square:,} images whose pixels are not (--pixel-aspect ignore)")
        if card.synthetic:
            lines.append("  synthetic: these images are generated")
        return lines


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
    rows : int
        Of the archive's table, all splits together; 0 where the source is shards.
    listings : tuple of str
        The files that name the paths of quarantined rows, for the user alone; or why there is none.
    row_paths : tuple of str
        As `listings`, of the rows stored: with --rows-csv, where patients are pseudonyms.
    """

    files: tuple[ConvertedFile, ...]
    seconds: float
    converted: int
    empty_splits: tuple[str, ...]
    key_path: Path | None
    key_made: bool
    notices: tuple[str, ...]
    rows: int = 0
    listings: tuple[str, ...] = ()
    row_paths: tuple[str, ...] = ()

    @property
    def tally(self) -> dict[str, int]:
        """Where the archive's rows are: stored, quarantined, left out as asked, unlabelled, of a split without file."""
        cards = [file.card for file in self.files]
        asked = sum(_is_asked_for(entry["reason"]) for card in cards for entry in card.quarantined)
        tally = {
            "stored": sum(card.samples for card in cards),
            "quarantined": sum(len(card.quarantined) for card in cards) - asked,
            "left out as asked": asked,
            "unlabelled": sum(card.unlabelled["count"] for card in cards),
        }
        return {**tally, "of splits without a file": self.rows - sum(tally.values())}

    @property
    def quarantine_reasons(self) -> list[tuple[str, int]]:
        """Each reason with the number of rows that it keeps out, the most frequent first."""
        reasons = Counter(entry["reason"] for file in self.files for entry in file.card.quarantined)
        return [(reason, count) for reason, count in reasons.most_common() if not _is_asked_for(reason)]

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
                    "gray_levels": file.card.gray_levels,
                    "made_square": file.card.made_square,
                    "mean": file.card.mean,
                    "std": file.card.std,
                    "card_sha256": file.card.sha256(),
                }
                for file in self.files
            ],
            "rows": {"all": self.rows, **self.tally} if self.rows else None,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.converted / self.seconds, 1) if self.converted else None,
            "empty_splits": list(self.empty_splits),
            "pseudonym_key": None if self.key_path is None else str(self.key_path),
            "notices": list(self.notices),
            "quarantined_paths": list(self.listings),
            "stored_paths": list(self.row_paths),
        }

    def to_text(self) -> str:
        """For a terminal: what was written and what was left out, and why."""
        lines = [line for file in self.files for line in file.to_lines()]
        if self.rows:
            parts = " + ".join(f"{count:,} {where}" for where, count in self.tally.items() if count)
            lines.append(f"rows of the archive: {self.rows:,} = {parts}")
        reasons = self.quarantine_reasons
        lines += [f"quarantined {count:,}: {reason}" for reason, count in reasons[:_SHOWN]]
        if len(reasons) > _SHOWN:
            lines.append(f"quarantined for {len(reasons) - _SHOWN} more reasons: see the cards")
        lines += [f"paths of the quarantined rows, for you alone: {listing}" for listing in self.listings]
        lines += [f"paths of the stored rows, for you alone: {listing}" for listing in self.row_paths]
        lines += [f"{split}: no row is usable, so no file is written" for split in self.empty_splits]
        notes = dict.fromkeys(note for file in self.files for note in file.card.notes)
        lines += [f"note: {note}" for note in (*notes, *self.notices)]
        if self.key_path is not None:
            made = "made now; keep it, and keep it apart from the data" if self.key_made else "as before"
            lines.append(f"patients are pseudonyms by the key in {self.key_path} ({made})")
        if self.converted:
            rate = self.converted / self.seconds
            lines.append(f"read {self.converted:,} images in {self.seconds:.1f} s, {rate:,.0f} images/s")
        else:
            lines.append(
                "everything was finished before; nothing to do (`fastrad verify --source` compares the pixels again)"
            )
        return "\n".join(map(one_line, lines))


@dataclass(frozen=True)
class Preview:
    """What a conversion would do.

    Attributes
    ----------
    plans : tuple of SplitPlan
    bytes_needed, bytes_free : int
        On the output's file system; `bytes_needed` counts everything that lies there at the same time.
    absent : dict of str to list of int
        By file, the rows whose image is not there: a conversion would list them and go on.
    """

    plans: tuple[SplitPlan, ...]
    bytes_needed: int
    bytes_free: int
    absent: dict[str, list[int]]

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        files = [
            {
                "name": plan.name,
                "images": len(plan.rows),
                "classes": len(plan.source.classes),
                "patients": len(plan.source.patient_names),
                "chunks": plan.output.chunks,
                "bytes": plan.output.estimated_bytes if len(plan.rows) else 0,
                "absent_rows": self.absent[plan.name],
            }
            for plan in self.plans
        ]
        return {"files": files, "bytes_needed": self.bytes_needed, "bytes_free": self.bytes_free}

    def to_text(self) -> str:
        """For a terminal: a line a file, and whether the disk has room."""
        lines = [
            f"{file['name']}: {file['images']:,} images, {file['classes']} classes, "
            f"{file['patients']:,} patients, {file['chunks']} chunks of work, {in_units(file['bytes'])}"
            for file in self.to_dict()["files"]
        ]
        for name, rows in self.absent.items():
            if rows:
                some = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
                lines.append(f"{name}: the files of {len(rows):,} rows are not there (rows {some})")
        free = f"{in_units(self.bytes_free)} are free"
        return "\n".join([*lines, f"needs {in_units(self.bytes_needed)}, {free}; nothing was written"])


def _is_asked_for(reason: str) -> bool:
    """Whether a row is left out because somebody said so: by its label, as colour Doppler, by `--drop`."""
    return reason.startswith(LEFT_OUT) or reason.endswith(" is excluded")
