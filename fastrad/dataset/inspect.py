"""A dataset for the eye: what it holds in a few lines, and a contact sheet on which every image has its label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fastrad.dataset import BetonFile, Dataset
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import InputError
from fastrad.system.files import write_atomically

_TILE = 128  # pixels a side of an image on the sheet
_CAPTION = 30
_GAP = 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _FAINT, _PAPER = 40, 120, 250
_LABELS_READ = 10_000  # of shards, to choose images for the sheet


def describe(file: Dataset, samples: int = 5) -> dict[str, Any]:
    """What card and file say, as a dict of plain values.

    Parameters
    ----------
    file : Dataset
    samples : int
        How many sample rows to include, spread evenly over the file.
    """
    card = file.card
    positions = np.unique(np.linspace(0, len(file) - 1, min(samples, len(file))).astype(int))
    stored = file.sizes.astype(np.int64)
    return {
        "path": str(file.path),
        "synthetic": card.synthetic,
        "samples": len(file),
        "source": {"layout": card.layout, "split": card.split, "manifest_sha256": card.manifest_sha256},
        "classes": card.class_counts,
        "shards": len(card.files()) if card.format == "webdataset" else None,
        "patients": len(card.patients),
        "patient_ids": card.patient_ids,
        "image": {"encoding": file.encoding, "height": file.height, "width": file.width},
        "parameters": card.parameters,
        "bytes": {
            "file": card.bytes,
            "images": int(stored.sum()),
            "image_min": int(stored.min()),
            "image_median": int(np.median(stored)),
            "image_max": int(stored.max()),
        },
        "mean": card.mean,
        "std": card.std,
        "gray_levels": card.gray_levels or None,
        "made_square": card.made_square,
        # a card of 0.1.0 has paths, which may name patients
        "quarantined": [{"row": entry["row"], "reason": entry["reason"]} for entry in card.quarantined],
        "unlabelled": card.unlabelled,
        "notes": card.notes,
        "versions": card.versions,
        "card_sha256": card.sha256(),
        "sample_rows": [_sample(file, position) for position in positions.tolist()],
    }


def _sample(file: Dataset, position: int) -> dict[str, Any]:
    """What is stored beside one image."""
    if isinstance(file, ShardSet):
        facts = file.samples.read(position)[1]
        label, patient, crc32 = facts.label, facts.patient, facts.crc32
    else:
        assert isinstance(file, BetonFile)
        number = file.patients[position]
        label, crc32 = file.card.classes[file.labels[position]], int(file.crc32[position])
        patient = file.card.patients[number] if number >= 0 else None
    return {
        "position": position,
        "row": int(file.rows[position]),
        "label": label,
        "patient": patient,
        "bytes": int(file.sizes[position]),
        "crc32": f"{crc32:08x}",
    }


def choose_samples(file: Dataset, count: int) -> list[int]:
    """Positions of `count` samples, the classes in turn, spread evenly over each class.

    The labels of shards lie beside the images: at most 10,000 of them, or `count`, are read, spread evenly.
    """
    if isinstance(file, ShardSet):
        positions = np.unique(np.linspace(0, len(file) - 1, min(max(_LABELS_READ, count), len(file))).astype(int))
        names = np.array([_sample(file, position)["label"] for position in positions.tolist()])
        groups = [positions[names == name] for name in file.card.classes]
    else:
        groups = [np.flatnonzero(file.labels == label) for label in range(len(file.card.classes))]
    groups = [members for members in groups if len(members)]
    taken = min(count, len(file))
    shares = np.zeros(len(groups), dtype=int)
    group = 0
    while shares.sum() < taken:
        if shares[group] < len(groups[group]):
            shares[group] += 1
        group = (group + 1) % len(groups)
    spread = [
        members[np.linspace(0, len(members) - 1, share).astype(int)]
        for members, share in zip(groups, shares, strict=True)
    ]
    return [int(position) for members in spread for position in members]


def contact_sheet(file: Dataset, path: Path, *, count: int = 48, columns: int = 8) -> int:
    """Write a PNG with `count` images, each above its label and manifest row; return how many there are.

    Raises
    ------
    InputError
        If the picture cannot be written to `path`.
    """
    positions = choose_samples(file, count)
    columns = min(columns, len(positions))
    lines = -(-len(positions) // columns)
    cell_width, cell_height = _TILE + _GAP, _TILE + _CAPTION + _GAP
    head = 34
    sheet = np.full((head + lines * cell_height, columns * cell_width + _GAP), _PAPER, dtype=np.uint8)
    card = file.card
    title = f"{Path(file.path).name}: {len(file):,} images, {len(card.classes)} classes, {file.height} x {file.width}"
    title += f" {file.encoding}" + (", synthetic" if card.synthetic else "")
    _write(sheet, title, _GAP, 22, 0.5, _INK, sheet.shape[1] - 2 * _GAP)
    for number, position in enumerate(positions):
        top = head + number // columns * cell_height
        left = _GAP + number % columns * cell_width
        sheet[top : top + _TILE, left : left + _TILE] = _tile(file, position)
        label = _sample(file, position)["label"]
        _write(sheet, label, left, top + _TILE + 13, 0.4, _INK, _TILE)
        _write(sheet, f"row {file.rows[position]}", left, top + _TILE + 27, 0.35, _FAINT, _TILE)
    done, encoded = cv2.imencode(".png", sheet)
    assert done
    try:
        write_atomically(path, encoded.tobytes())
    except OSError as error:
        raise InputError(f"{path}: the contact sheet cannot be written ({error.strerror})") from None
    return len(positions)


def _tile(file: Dataset, position: int) -> np.ndarray:
    file.check(position)
    image = file.decode(position)
    scale = _TILE / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    tile = np.zeros((_TILE, _TILE), dtype=np.uint8)
    top, left = (_TILE - size[1]) // 2, (_TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = resized
    return tile


def _write(sheet: np.ndarray, text: str, left: int, baseline: int, scale: float, ink: int, width: int) -> None:
    """Draw one line of text, cut with dots where it is wider than `width` pixels."""
    text = text.encode("ascii", "replace").decode()  # cv2's font has no other letters
    if cv2.getTextSize(text, _FONT, scale, 1)[0][0] > width:
        while text and cv2.getTextSize(text + "..", _FONT, scale, 1)[0][0] > width:
            text = text[:-1]
        text += ".."
    cv2.putText(sheet, text, (left, baseline), _FONT, scale, ink, 1, cv2.LINE_AA)
