"""A validation split for an archive that has none, drawn by patient.

In: a manifest and a fraction. Out: the manifest with some of its training patients in split val. Who is drawn depends
on the patients' ids alone, within each label: the same archive gives the same split, and a row that is added moves
nobody else.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pandas as pd

from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError, OptionError


def draw_validation(manifest: Manifest, fraction: float) -> Manifest:
    """Put a fraction of the training patients of each label into split val; an archive without splits is all training.

    Parameters
    ----------
    fraction : float
        Of the patients, above 0 and below 1. Images without a patient are drawn singly.

    Raises
    ------
    OptionError
        If the fraction is no fraction, or the archive has a validation split.
    InputError
        If no patient can be spared.
    """
    if not 0 < fraction < 1:
        raise OptionError(f"--val-fraction {fraction:g}: a number between 0 and 1 is needed")
    table = manifest.table
    if (table["split"] == "val").any():
        raise OptionError(f"--val-fraction {fraction:g}: {manifest.root} has a validation split; leave it out")
    has_splits = bool((table["split"] != "").any())
    train = table["split"] == ("train" if has_splits else "")
    rows = table[train & manifest.usable]
    # a unit is a patient, or an image where the patient is unknown
    units = rows["patient"].where(rows["patient"] != "", "image " + rows["path"])
    labels = rows["label"].groupby(units).min()  # of a patient with several, the first by name
    drawn: set[str] = set()
    for _, of_label in labels.groupby(labels):
        in_order = sorted(of_label.index, key=lambda unit: hashlib.sha256(unit.encode()).digest())
        drawn.update(in_order[: round(fraction * len(in_order))])
    if not drawn or len(drawn) == len(labels):
        raise InputError(f"{manifest.root}: --val-fraction {fraction:g} of {len(labels)} patients leaves a split empty")
    split = table["split"].where(table["split"] != "", "train") if not has_splits else table["split"].copy()
    split[units.index[units.isin(drawn)]] = "val"
    singly = int((rows["patient"] == "").sum())
    what = (
        f"{len(drawn)} of {len(labels)} patients and images without one"
        if singly
        else (f"{len(drawn)} of {len(labels)} patients")
    )
    notes = [f"validation: {what} are drawn from the training split (--val-fraction {fraction:g})"]
    if singly:
        notes.append(
            f"{singly} of the images drawn from have no patient: images of one patient may lie in train and in val"
        )
    return replace(manifest, table=table.assign(split=pd.Series(split, dtype="str")), notes=(*manifest.notes, *notes))
