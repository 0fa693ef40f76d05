"""`errors/`: two pictures of each confident error (the image, and the heat map over it), and `errors.json`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastrad.study.inference.confident_errors import ConfidentError
from fastrad.study.report.figures import overlay
from fastrad.system.files import write_atomically

Explained = tuple[Sequence[ConfidentError], NDArray[np.uint8], NDArray[np.float64]]


def write_errors(folder: Path, explained: Iterable[Explained]) -> None:
    """Write the pictures of each arm's errors.

    Parameters
    ----------
    folder : Path
        The study's.
    explained : iterable of (errors, images, heats)
        Of each arm; images uint8 (N, H, W), heats in [0, 1] alike.
    """
    (folder / "errors").mkdir(exist_ok=True)
    entries = []
    for errors, images, heats in explained:
        for number, (error, image, heat) in enumerate(zip(errors, images, heats, strict=True), start=1):
            name = f"{error.arm}-{number}"
            for suffix, picture in (("", image), ("-cam", overlay(image, heat)[..., ::-1])):
                _, encoded = cv2.imencode(".png", picture)
                write_atomically(folder / "errors" / f"{name}{suffix}.png", encoded.tobytes())
            entries.append({"arm": error.arm, "picture": name, **error._asdict()})
    write_atomically(folder / "errors" / "errors.json", (json.dumps(entries, indent=1) + "\n").encode())


def read_errors(folder: Path) -> list[dict]:
    """The entries of `errors.json`, each with its pictures as data URLs; none if there is none."""
    listing = folder / "errors" / "errors.json"
    if not listing.is_file():
        return []
    entries = json.loads(listing.read_text(encoding="utf-8"))
    for entry in entries:
        for kind in ("", "-cam"):
            content = (folder / "errors" / f"{entry['picture']}{kind}.png").read_bytes()
            entry[f"src{kind.replace('-', '_')}"] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return entries
