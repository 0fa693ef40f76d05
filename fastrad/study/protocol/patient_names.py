"""Tables of the user's own, by the user's own patient ids, beside a dataset that has pseudonyms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastrad.dataset.pseudonym import default_key_path, pseudonym, read_key
from fastrad.errors import InputError
from fastrad.study.protocol.patients import StudyDataset
from fastrad.system.csv_file import bare


def translator(dataset: StudyDataset, key_path: Path | None = None) -> Callable[[str], str]:
    """A function from a patient id to the dataset's name for that patient.

    Of a dataset with pseudonyms, an id becomes its pseudonym where the dataset has that; every other name stays as it
    is. Blanks around it are dropped, as the readers of archives do, and an apostrophe that keeps a spreadsheet from
    executing an id ("'-7"), where the dataset knows the id without it.

    Parameters
    ----------
    dataset : StudyDataset
    key_path : Path, optional
        The file of the key that the dataset was converted with; by default the one of `fastrad convert`, if there is
        one.

    Raises
    ------
    InputError
        If `key_path` is given and holds no key.
    """
    key = _key(key_path) if dataset.card.patient_ids == "pseudonym" else None
    known = set(dataset.patients)

    def name(patient: str) -> str:
        written = patient.strip()
        for each in dict.fromkeys([written, bare(written)]):
            hidden = each if key is None else pseudonym(each, key)
            if hidden in known:
                return hidden
            if each in known:
                return each
        return written

    return name


def _key(path: Path | None) -> bytes | None:
    if path is not None:
        try:
            return read_key(path)
        except OSError as error:
            reason = error.strerror
        raise InputError(f"{path}: {reason}; name the key that the dataset was converted with")
    try:
        return read_key(default_key_path())
    except (OSError, RuntimeError, InputError):  # no such file, no home, no key: nobody asked for it
        return None
