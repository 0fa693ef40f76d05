"""Tables of the user's own, by the user's own patient ids, beside a dataset that has pseudonyms.

In: ids as a table has them. Out: the names under which the dataset knows these patients.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastrad.errors import InputError
from fastrad.pseudonym import default_key_path, pseudonym, read_key
from fastrad.study.dataset import StudyDataset


def translator(dataset: StudyDataset, key_path: Path | None = None) -> Callable[[str], str]:
    """A function from a patient id to the dataset's name for that patient.

    A name that the dataset has stays as it is. Of a dataset with pseudonyms, another one becomes its pseudonym by the
    key that the dataset was converted with, where that is at hand.

    Parameters
    ----------
    dataset : StudyDataset
    key_path : Path, optional
        The key's file; by default the one of `fastrad convert`, if there is one.

    Raises
    ------
    InputError
        If `key_path` is given and does not exist, or the file holds no key.
    """
    known = set(dataset.patients)
    if dataset.card.patient_ids != "pseudonym":
        return lambda patient: patient
    try:
        key = read_key(key_path or default_key_path())
    except FileNotFoundError:
        if key_path is not None:
            raise InputError(f"{key_path}: no such file; name the key that the dataset was converted with") from None
        return lambda patient: patient
    return lambda patient: patient if patient in known else pseudonym(patient, key)
