"""`errors/`: two pictures of each confident error (the image, and the heat map over it), and `errors.json`.

The list holds hashes of the pictures, and of the predictions that they are the errors of: pictures of other scores are
not shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fastrad.errors import FormatError
from fastrad.study.inference.confident_errors import ConfidentError
from fastrad.study.protocol.seals import AGAIN, file_sha256
from fastrad.study.report.figures import overlay
from fastrad.system.files import write_atomically, write_json
from fastrad.system.progress import say

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
            hashes = {}
            for kind, picture in (("", image), ("-cam", overlay(image, heat)[..., ::-1])):
                _, encoded = cv2.imencode(".png", picture)
                write_atomically(folder / "errors" / f"{name}{kind}.png", encoded.tobytes())
                hashes[kind] = hashlib.sha256(encoded.tobytes()).hexdigest()
            entries.append({"arm": error.arm, "picture": name, **error._asdict(), "sha256": hashes})
    content = {"predictions": file_sha256(folder / "predictions.csv"), "entries": entries}
    write_json(folder / "errors" / "errors.json", content)


def read_errors(folder: Path) -> list[dict]:
    """The entries of `errors.json`, each with its pictures as data URLs; none if there is none.

    None either, with a notice, where they are of other predictions than those that are in the folder now.

    Raises
    ------
    FormatError
        If the list or a picture was cut short or altered.
    """
    listing = folder / "errors" / "errors.json"
    if not listing.is_file():
        return []
    try:
        content = json.loads(listing.read_bytes())
        entries = content if isinstance(content, list) else content["entries"]  # 0.1.0 kept the list alone
        if not all(_is_sound(entry) for entry in entries):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(f"{listing}: cut short or altered; {AGAIN}") from None
    if content is not entries and content.get("predictions") != file_sha256(folder / "predictions.csv"):
        say(f"notice: {listing}: shows errors of other predictions and is left out; {AGAIN}")
        return []
    return [{**entry, **_pictures(folder / "errors", entry)} for entry in entries]


def _is_sound(entry: dict) -> bool:
    return (
        re.fullmatch(r"[A-Za-z0-9_.]+-\d{1,4}", entry["picture"]) is not None
        and isinstance(entry["arm"], str)
        and type(entry["row"]) is int
        and entry["label"] in (0, 1)
        and isinstance(entry["probability"], float)
        and isinstance(entry.get("sha256", {}), dict)
    )


def _pictures(folder: Path, entry: dict) -> dict[str, str]:
    found = {}
    for kind in ("", "-cam"):
        path = folder / f"{entry['picture']}{kind}.png"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise FormatError(f"{path}: is missing; {AGAIN}") from None
        if "sha256" in entry and hashlib.sha256(content).hexdigest() != entry["sha256"].get(kind):
            raise FormatError(f"{path}: was altered after it was written; {AGAIN}")
        found[f"src{kind.replace('-', '_')}"] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return found
