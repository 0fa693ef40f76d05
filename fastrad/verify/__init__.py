"""Verifies datasets: every byte against the card, every sample against its checksum, pixels against the archive.

In: the path of a dataset, and perhaps the archive that it was made from. Out: a `Verification` that lists what is
wrong, with the manifest row of each damaged sample. It goes by the card, since what is damaged cannot be opened;
nothing in a file is trusted before its hash was compared.

    findings.py   what is found
    beton.py      a `.beton` file
    tar.py        WebDataset shards, or one of their tars
    source.py     what is stored against the archive, converted again: so this is a room of its own
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from fastrad.archives import layout_module, read_source
from fastrad.archives.manifest import Manifest
from fastrad.dataset.beton.file import beton_of
from fastrad.dataset.card import Card
from fastrad.dataset.fingerprints import MAX_BYTES, fingerprints_path
from fastrad.dataset.opening import read_card
from fastrad.errors import FormatError, InputError, OptionError
from fastrad.system.cores import available_cores
from fastrad.system.json_file import convert
from fastrad.system.place import Place
from fastrad.verify.beton import verify_beton
from fastrad.verify.findings import Problem, Verification
from fastrad.verify.tar import verify_shards

__all__ = ["Problem", "Verification", "read_source_again", "verify"]


def verify(path: Path | str, manifest: Manifest | None = None, workers: int | None = None) -> Verification:
    """Read a whole dataset and compare it with its card, and with its source.

    Parameters
    ----------
    path : Path or str
        A `.beton` file; the `.card.json` of WebDataset shards, or one of their tars, also by URL.
    manifest : Manifest, optional
        The source, read anew; then every image is converted again and compared.
    workers : int, optional
        Threads, and processes for the source; one per core by default.

    Returns
    -------
    Verification
        Its `problems` are empty where the dataset is sound.

    Raises
    ------
    InputError
        If there is no such file.
    """
    try:
        card = read_card(path)
    except FormatError as error:
        return Verification(str(path), problems=(Problem("card", None, str(error)),))
    workers = workers or available_cores()
    if card.format == "webdataset":
        found = verify_shards(str(path), card, manifest, workers)
        return replace(found, problems=(*found.problems, *_fingerprints_altered(path, card)))
    if card.format != "beton":
        raise FormatError(f"{path}: is of a format that verify does not know")
    file = beton_of(path)
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    found = verify_beton(file, card, manifest, workers)
    return replace(found, problems=(*found.problems, *_fingerprints_altered(file, card)))


def _fingerprints_altered(path: Path | str, card: Card) -> Iterator[Problem]:
    """Whether the file beside the card is another than it was; one that is missing damages nothing."""
    folder, _, name = fingerprints_path(path).rpartition("/")
    content = Place(folder or ".").read(name, MAX_BYTES) if card.fingerprints else None
    if content is not None and hashlib.sha256(content).hexdigest() != card.fingerprints["sha256"]:
        yield Problem("fingerprints", None, f"{name} was altered (its hash differs from the card's)")


def read_source_again(path: Path | str, root: Path, table: Path | None = None) -> Manifest:
    """Read the archive that a dataset was made from, with the options that its card keeps.

    Parameters
    ----------
    path : Path or str
        As in `verify`.
    root : Path
        The archive's folder, wherever it lies now.
    table : Path, optional
        The archive's CSV, or the folder of its CSVs, where it is not at its usual place.

    Returns
    -------
    Manifest
        To be given to `verify`.

    Raises
    ------
    InputError
        If the archive is not there or not in the layout that the card names.
    FormatError
        If the card is missing or was altered.
    """
    card = read_card(path)
    options = _source_options(card, str(path))
    if table is not None:
        settings = layout_module(card.layout).Options
        names = [each.name for each in fields(settings) if each.name in ("table", "tables")]
        if not names:
            raise OptionError(f"--table {table}: layout {card.layout} reads no table that may lie elsewhere")
        options[names[0]] = table
    try:
        return read_source(card.layout, root, exclude=[Path(path).parent], **options)
    except OptionError:  # this version of fastrad takes none of that name
        raise
    except InputError as error:
        raise InputError(f"{error} (the dataset was made from layout {card.layout})") from error


def _source_options(card: Card, name: str) -> dict[str, Any]:
    """What the card says that the archive was read with: options of its layout, of their types, and no paths."""
    hints = {**get_type_hints(layout_module(card.layout).Options), "ignore_splits": bool}
    options = {}
    for option, value in card.source_options.items():
        kind = hints.get(option)
        if option in ("layout", "root", "exclude") or (value is not None and Path in (kind, *get_args(kind))):
            raise InputError(f"{name}: its source options name {option}, which no card keeps")
        try:
            # `read_source` says which it does not know
            options[option] = value if value is None or kind is None else convert(value, kind, name, "")
        except FormatError:
            raise InputError(f"{name}: its source option {option} is none of layout {card.layout}") from None
    return options
