"""Writes small dataset files from arrays in memory: for examples, for tests, and as the plain reference of the format.

In: images (N, H, W) uint8 with labels, patients and rows. Out: `NAME.beton` with its card. Archives are converted by
`fastrad.convert.run`, which writes the same bytes in parallel from pages that it never holds all at once.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.dataset.beton import layout
from fastrad.dataset.card import Card
from fastrad.errors import InputError
from fastrad.system.files import write_atomically


def encode_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """A baseline JPEG of one component, uint8, shape (bytes,), of a gray image (H, W) uint8.

    A restart marker stands behind each row of blocks, so that some of the rows can be decoded alone and exactly
    (`fastrad.loading.kernels.jpeg`).
    """
    import cv2

    blocks = -(-image.shape[1] // 8)
    options = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_PROGRESSIVE: 0,
        cv2.IMWRITE_JPEG_RST_INTERVAL: blocks if blocks < 1 << 16 else 0,
    }
    done, encoded = cv2.imencode(".jpg", image, [number for option in options.items() for number in option])
    if not done:
        raise InputError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return encoded.reshape(-1)


def encode_png(image: np.ndarray) -> np.ndarray:
    """An 8-bit gray PNG, uint8, shape (bytes,), of a gray image (H, W) uint8."""
    import cv2

    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise InputError(f"an image of shape {image.shape} cannot be encoded as PNG")
    return encoded.reshape(-1)


def write_beton(
    path: Path | str,
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    patients: Sequence[int] | np.ndarray | None = None,
    rows: Sequence[int] | np.ndarray | None = None,
    *,
    encode: str = "raw",
    quality: int = 90,
    page_size: int | None = None,
    patient_names: Sequence[str] | None = None,
    **card_fields: Any,
) -> Card:
    """Write images from memory as a dataset file with its card.

    Parameters
    ----------
    path : Path or str
        The `.beton` file; the card goes beside it.
    images : numpy.ndarray
        (N, H, W) uint8.
    labels : sequence of int
        Class indices, length N.
    patients : sequence of int, optional
        Indices into `patients` of the card; -1 (unknown) by default.
    rows : sequence of int, optional
        Manifest rows; 0 to N - 1 by default.
    encode : str
        "raw" or "jpeg" (with `quality`).
    page_size : int, optional
        In bytes, a power of two that an image fits into; by default the smallest from 2 MiB on.
    patient_names : sequence of str, optional
        The card's `patients`; p0, p1, ... by default.
    **card_fields
        Fields of `Card` that are to differ from what the arrays say, for example `classes`, `synthetic` or `split`.

    Returns
    -------
    Card
        As written.

    Raises
    ------
    InputError
        If the images are not uint8 of shape (N, H, W).
    """
    path = Path(path)
    images = np.asarray(images)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise InputError(f"{path}: images are {images.dtype} of shape {images.shape}; uint8 (N, H, W) is needed")
    count, height, width = images.shape
    if page_size is None:
        page_size = max(layout.MIN_PAGE_SIZE, 1 << max(height * width - 1, 0).bit_length())
    label_column = np.asarray(labels, dtype=np.int64)
    patient_column = np.full(count, -1) if patients is None else np.asarray(patients, dtype=np.int64)
    row_column = np.arange(count) if rows is None else np.asarray(rows, dtype=np.int64)

    pages: list[bytes] = []
    filler = layout.PageFiller(page_size, lambda page: pages.append(bytes(page.content)))
    start = layout.data_start(count, page_size)
    metadata = np.zeros(count, dtype=layout.METADATA)
    for index, image in enumerate(images):
        stored = np.ascontiguousarray(image).reshape(-1) if encode == "raw" else encode_jpeg(image, quality)
        position = start + filler.place(memoryview(stored))
        metadata["f0"][index] = (position, len(stored), width, height, layout.MODES[encode])
        metadata["f4"][index] = zlib.crc32(stored)
    filler.flush()
    metadata["f1"], metadata["f2"], metadata["f3"] = label_column, patient_column, row_column

    head = layout.head_bytes(
        samples=count,
        page_size=page_size,
        alloc_table_ptr=start + len(pages) * page_size,
        arguments=layout.image_arguments(encode, height, width, quality if encode == "jpeg" else 0),
    )
    middle = metadata.tobytes().ljust(start - len(head), b"\0")
    table = layout.allocation_table(metadata).tobytes()
    content = b"".join([head, middle, *pages, table])

    classes = list(card_fields.pop("classes", map(str, range(int(label_column.max(initial=-1)) + 1))))
    if patient_names is None:
        patient_names = [f"p{number}" for number in range(int(patient_column.max(initial=-1)) + 1)]
    names = list(patient_names)
    mean, std = _mean_and_std(images)
    fields: dict[str, Any] = {
        "name": path.stem,
        "format": "beton",
        "synthetic": False,
        "layout": "arrays",
        "split": "",
        "samples": count,
        "classes": classes,
        "class_counts": {name: int((label_column == index).sum()) for index, name in enumerate(classes)},
        "patients": names,
        "patient_ids": "pseudonym" if names else "none",
        "manifest_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "parameters": {
            "size": max(height, width),
            "fit": "pad",
            "encode": encode,
            "quality": quality if encode == "jpeg" else None,
            "window": None,
            "page_size": page_size,
        },
        "mean": mean,
        "std": std,
        "bytes": len(content),
        "hashes": {
            "algorithm": "sha256",
            "header": hashlib.sha256(head).hexdigest(),
            "metadata": hashlib.sha256(middle).hexdigest(),
            "allocation_table": hashlib.sha256(table).hexdigest(),
            "pages": [hashlib.sha256(page).hexdigest() for page in pages],
        },
        **card_fields,
    }
    card = Card(**fields)
    write_atomically(Card.path_for(path), card.to_bytes())
    write_atomically(path, content)
    return card


def _mean_and_std(images: np.ndarray) -> tuple[float, float]:
    """Of pixel / 255, exact, from the counts of the gray levels; 0 and 1 where there is no image."""
    counts = sum((np.bincount(image.ravel(), minlength=256) for image in images), np.zeros(256, dtype=np.int64))
    if not counts.sum():
        return 0.0, 1.0
    levels = np.arange(256)
    mean = np.average(levels, weights=counts)
    return float(mean / 255), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)) / 255)
