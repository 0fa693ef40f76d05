"""Datasets from elsewhere on which a study's networks are tested too: what they are called, and what is external."""

from __future__ import annotations

from fastrad.errors import InputError
from fastrad.study.protocol.patients import StudyDataset
from fastrad.system.progress import say


def external_name(dataset: StudyDataset) -> str:
    """What an external dataset is called in the table: its file's name, or its folder's for `all.beton`."""
    return dataset.path.parent.resolve().name if dataset.path.name == "all.beton" else dataset.path.stem


def check_external(dataset: StudyDataset, study: StudyDataset) -> None:
    """Refuse what is not external to the study, before anything is trained.

    Raises
    ------
    InputError
        If the two datasets share archive or patients, or the external one has fewer than two patients of a class;
        images that they share are looked up by `seen.external_seen`.
    """
    if dataset.card.manifest_sha256 and dataset.card.manifest_sha256 == study.card.manifest_sha256:
        raise InputError(f"{dataset.path}: was converted from the archive of the study itself: it is not external")
    same = {name for name in dataset.patients if not name.startswith("image-")} & set(study.patients)
    if same and dataset.card.patient_ids == study.card.patient_ids == "pseudonym":  # one key: one id, one patient
        raise InputError(f"{dataset.path}: {len(same)} of its patients are in the study: it is not external")
    if same:
        say(
            f"notice: {dataset.path}: {len(same)} patients have ids that occur in the study too; make sure that they "
            "are not the same people"
        )
    for label, name in ((1, "malignant"), (0, "benign")):
        count = int((dataset.patient_labels == label).sum())
        if count < 2:
            raise InputError(f"{dataset.path}: {count} {name} patients; an interval needs at least 2 of each class")
