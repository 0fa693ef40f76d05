"""Checkpoints: everything that a run needs to go on, in one file that is either sound or refused.

In: a dict of tensors and plain values. Out: `checkpoints/step-NNNNNNNNN.ckpt`, written under a temporary name, fsynced
and renamed; the newest few are kept. The file is a magic word, the SHA-256 of what follows, and a `torch.save` that is
read with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import torch

from fastrad.errors import FormatError
from fastrad.system.files import write_atomically

MAGIC = b"FASTRAD-CKPT-1\n"
KEPT = 2
_NAME = re.compile(r"step-(\d{9})\.ckpt")


def write_checkpoint(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write a checkpoint and remove all but the `KEPT` newest.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    step : int
        Steps of the whole run that are done; it names the file.
    content : dict
        Tensors, numbers, strings, and lists and dicts of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    path = folder / f"step-{step:09d}.ckpt"
    write_atomically(path, MAGIC, hashlib.sha256(payload).digest(), payload)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint on the CPU.

    Raises
    ------
    FormatError
        If it is cut short, altered, or something else.
    """
    with open(path, "rb") as file:
        magic, digest, payload = file.read(len(MAGIC)), file.read(32), file.read()
    if magic != MAGIC:
        raise FormatError(f"{path}: not a fastrad checkpoint, or cut short")
    if hashlib.sha256(payload).digest() != digest:
        raise FormatError(f"{path}: cut short or altered (its checksum differs)")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader meet
        raise FormatError(f"{path}: holds something other than tensors and plain values") from error


def newest_checkpoint(folder: Path, settings: dict[str, object]) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest sound checkpoint of the same run, and a line for each newer one that was passed over.

    Parameters
    ----------
    folder : Path
    settings : dict
        What the checkpoint's own `settings` must equal: it holds the hashes of both datasets.
    """
    refused = []
    for path in _newest_first(folder):
        try:
            content = read_checkpoint(path)
        except FormatError as error:
            refused.append(f"{error}; the one before it is used")
            continue
        if content["settings"] != settings:
            refused.append(f"{path}: from another dataset or with other settings; the one before it is used")
            continue
        return content, refused
    return None, refused


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
