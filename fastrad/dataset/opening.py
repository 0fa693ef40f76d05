"""Finds and opens converted datasets, whatever their format: a `.beton` file, a card, a tar, a folder, or a URL."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from fastrad.dataset.base import Dataset
from fastrad.dataset.beton.file import BetonFile
from fastrad.dataset.card import MAX_CARD_BYTES, Card
from fastrad.dataset.tar.shards import ShardSet, card_path, is_tar
from fastrad.errors import InputError
from fastrad.system.place import Place

_NAMES = ("train", "val", "test", "all")


def datasets_in(path: str) -> list[str]:
    """What to open of `path`: itself, or where it is a folder, the cards of the datasets in it.

    Raises
    ------
    InputError
        If a folder holds none.
    """
    if is_tar(path) or path.endswith((".beton", ".card.json")):
        return [path]
    folder = Place(path)
    if folder.local and not Path(path).is_dir():
        return [path]
    names = [f"{name}.card.json" for name in _NAMES]
    if folder.local:
        names += sorted({file.name for file in Path(path).glob("*.card.json")} - set(names))
    found = [folder.path(name) for name in names if folder.size(name) is not None]
    if not found:
        raise InputError(f"{path}: holds no dataset that `fastrad convert` wrote (NAME.card.json)")
    return found


def dataset_in(path: Path | str, *names: str) -> str:
    """The one dataset that a path stands for, in every command alike.

    Parameters
    ----------
    path : Path or str
        A `.beton` file, a card, a tar: these stand for themselves. A folder stands for the dataset in it.
    *names : str
        Of several in a folder, which is meant: "train", say. The first that is there is taken.

    Raises
    ------
    InputError
        If a folder holds no dataset, or several of which none is meant.
    """
    found = datasets_in(str(path))
    by_name = {card.rpartition("/")[2].removesuffix(".card.json"): card for card in found}
    meant = found if len(found) == 1 else [by_name[name] for name in names if name in by_name]
    if not meant:
        raise InputError(f"{path}: holds {len(found)} datasets, name one: {', '.join(found)}")
    beton = meant[0].removesuffix(".card.json") + ".beton"
    return beton if os.path.isfile(beton) else meant[0]


def read_card(path: Path | str) -> Card:
    """The card of a dataset.

    Raises
    ------
    InputError
        If there is neither card nor dataset.
    FormatError
        If there is no card beside the dataset, or it does not match its own hash.
    """
    where = card_path(path)
    folder, _, name = where.rpartition("/")
    text = Place(folder or ".").read(name, MAX_CARD_BYTES)
    if text is None and not Path(path).exists():
        raise InputError(f"{path}: there is no such file; `fastrad convert` makes one")
    return Card.read(where) if text is None else Card.from_bytes(text, where)


def open_dataset(path: Path | str) -> Dataset:
    """Open a dataset by the path of its file, its card or one of its tars, as `Dataset(path)` does, or of its folder.

    Raises
    ------
    InputError
        If there is no such file, or a folder with none or several.
    FormatError
        If it is cut or altered.
    """
    path = dataset_in(path)
    return _class_for(path)(path)


def _class_for(path: Path | str) -> type[Dataset]:
    """The class that opens a path: `Dataset` itself stands for whichever it is."""
    is_file = not is_tar(path) and not str(path).endswith(".card.json")
    return BetonFile if is_file or read_card(path).format != "webdataset" else ShardSet


Dataset.class_for = _class_for


def reopened(path: Path | str) -> Dataset:
    """A dataset in a worker process: opened once as long as it stays what it is, since opening hashes its metadata."""
    about = os.stat(path)
    return _reopened(str(path), about.st_ino, about.st_mtime_ns)


@lru_cache(maxsize=4)
def _reopened(path: str, inode: int, changed: int) -> Dataset:
    return open_dataset(path)
