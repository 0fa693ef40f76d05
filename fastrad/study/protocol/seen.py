"""Which patients of a study its arms' weights have seen, and which of an external dataset are not external.

Every image is looked up by its fingerprint. An image that is the same, or confirmed, refuses its test patient, unless
the user leaves such patients out (`drop_seen`) or says why not (`accept_seen`); one that is possible is counted and
listed. The look-up is as good as `fastrad.dataset.lookup` says: it misses crops and other views of one lesion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastrad.dataset.fingerprints import Fingerprints
from fastrad.dataset.lookup import CONFIRMED, POSSIBLE, Lookup
from fastrad.errors import InputError
from fastrad.models.seen import Seen as KnownImages
from fastrad.models.seen import read_seen
from fastrad.study.protocol.arms import Arm
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.external import external_name
from fastrad.study.protocol.patients import StudyDataset
from fastrad.study.protocol.splits import LEAST_TESTED, Splits, check_splits

_NAMED = 8


@dataclass(frozen=True)
class Seen:
    """What one look-up found.

    Attributes
    ----------
    by : str
        Whose images were looked through: an arm's name, "" for the study's own.
    among : int
        How many images those are; 0 where nothing could be looked up.
    of : str
        Whose images were looked up: "test", "development", or an external dataset's name.
    patients : int
        Looked up.
    confirmed, possible : tuple of str
        Patients of whom an image was found, by the dataset's names.
    rows : tuple of int
        Of the images that were confirmed.
    missing : int
        Further images that the arm's weights name, whose file of fingerprints is not beside them.
    unkept : bool
        True where the arm's weights keep no fingerprints of some images, or of any.
    """

    by: str
    among: int
    of: str
    patients: int
    confirmed: tuple[str, ...]
    possible: tuple[str, ...]
    rows: tuple[int, ...]
    missing: int = 0
    unkept: bool = False

    def to_json(self) -> dict:
        """For `study.json`."""
        return asdict(self)


def _look_up(
    lookups: Iterable[Lookup], dataset: StudyDataset, parts: Iterable[Fingerprints]
) -> tuple[int, NDArray[np.uint8]]:
    """Look all images of a dataset up; returns among how many, and the level of each."""
    among, levels = 0, np.zeros(len(dataset.rows), np.uint8)
    for part in parts:
        among += len(part)
        for lookup in lookups:
            levels = np.maximum(levels, lookup.among(part))
    return among, levels


def _found(
    looked_up: tuple[int, NDArray[np.uint8]], dataset: StudyDataset, patients: NDArray[np.bool_], by: str, of: str
) -> tuple[Seen, NDArray[np.bool_]]:
    """What a look-up found of some patients, and a mask of those that are confirmed."""
    among, levels = looked_up
    levels = np.where(patients[dataset.patient_of], levels, 0).astype(np.uint8)
    most = np.zeros(len(dataset.patients), np.uint8)
    np.maximum.at(most, dataset.patient_of, levels)

    def names(mask: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(dataset.patients[index] for index in np.flatnonzero(mask))

    rows = tuple(dataset.rows[levels >= CONFIRMED].tolist())
    confirmed = most >= CONFIRMED
    found = Seen(by, among, of, int(patients.sum()), names(confirmed), names(most == POSSIBLE), rows)
    return found, confirmed


def _lookups(dataset: StudyDataset) -> list[Lookup]:
    return [Lookup(each) for each in dataset.fingerprints]


def _seen_by_arms(
    arms: Sequence[Arm],
    lookups: Sequence[Lookup],
    dataset: StudyDataset,
    groups: Sequence[tuple[str, NDArray[np.bool_]]],
) -> tuple[list[Seen], list[str], NDArray[np.bool_]]:
    """Look patients up among the images that each arm's weights have seen.

    Parameters
    ----------
    arms : sequence of Arm
    lookups : sequence of Lookup
        Of the dataset's images.
    dataset : StudyDataset
    groups : sequence of (str, bool array)
        What each group of patients is called, and who is in it.

    Returns
    -------
    found : list of Seen
    notices : list of str
        What could not be looked up.
    confirmed : bool array, shape (patients,)
        Patients of whom some arm's weights have seen an image.
    """
    found: list[Seen] = []
    notices: list[str] = []
    confirmed = np.zeros(len(dataset.patients), dtype=bool)
    done: dict[Path | None, tuple[KnownImages, list[Seen]]] = {}
    for arm in [start for each in arms for start in each.starts]:
        if arm.weights is None or arm.source == "torchvision":
            continue
        if arm.weights.path not in done:  # arms may share a file: one look-up serves them all
            known, looked = read_seen(arm.weights, arm.source), []
            looked_up = _look_up(lookups, dataset, known.parts)
            for of, patients in groups:
                one, mask = _found(looked_up, dataset, patients, arm.name, of)
                looked.append(replace(one, missing=known.missing, unkept=known.unkept))
                confirmed |= mask
            done[arm.weights.path] = known, looked
        known, looked = done[arm.weights.path]
        if known.says or arm.name != "imagenet":  # torchvision's file, given by its path, says nothing, and need not
            notices += known.notices
        if known.says:
            found += [replace(one, by=arm.name) for one in looked]
    return list(dict.fromkeys(found)), list(dict.fromkeys(notices)), confirmed


def without_seen(
    config: CompareConfig, arms: Sequence[Arm], dataset: StudyDataset, splits: Splits
) -> tuple[Splits, tuple[Seen, ...], tuple[str, ...]]:
    """The splits without test patients that an arm's weights have seen, where the user leaves them out.

    Raises
    ------
    InputError
        If there are such patients, and the user has not said what to do; or without them the study cannot be done.
    """
    groups = [("test", splits.test()), ("development", splits.development())]
    found, notices, confirmed = _seen_by_arms(arms, _lookups(dataset), dataset, groups)
    dropped = confirmed & splits.test()
    if config.drop_seen and dropped.any():
        tested = int(splits.test().sum())
        splits = splits.without(dropped)
        left = [int((splits.test() & (splits.labels == label)).sum()) for label in (1, 0)]
        if min(left) < LEAST_TESTED:
            names = list(dict.fromkeys(one.by for one in found if one.of == "test" and one.confirmed))
            raise InputError(
                f"{dataset.path}: --drop-seen took {int(dropped.sum())} of the {tested} test patients, whom the "
                f"weights of {' and '.join(names)} have seen, and left {left[0]} malignant and {left[1]} benign ones: "
                f"an interval needs at least {LEAST_TESTED} of each; give weights of other images, or more patients "
                "that are new to them"
            )
        check_splits(splits, dataset)
        notices.append(
            f"{int(dropped.sum())} of {tested} test patients are left out: the weights of an arm have seen images of "
            "theirs (--drop-seen)"
        )
    elif not config.accept_seen:
        _refuse(
            [one for one in found if one.of == "test"],
            dataset,
            "give weights of other images, leave these patients out of the test with --drop-seen, or say why they may "
            "stay with --accept-seen REASON",
        )
    return splits, tuple(found), (*notices, *_notices(found, config.accept_seen))


def external_seen(
    config: CompareConfig, arms: Sequence[Arm], external: StudyDataset, study: StudyDataset
) -> tuple[tuple[Seen, ...], tuple[str, ...]]:
    """Look an external dataset's images up among the study's own, and among those that the arms' weights have seen.

    Raises
    ------
    InputError
        If some are there, and the user has not said why they may be.
    """
    name, everybody = external_name(external), np.ones(len(external.patients), dtype=bool)
    lookups = _lookups(external)
    own, _ = _found(_look_up(lookups, external, study.fingerprints), external, everybody, "", name)
    found, notices, _ = _seen_by_arms(arms, lookups, external, [(name, everybody)])
    found = [own, *found]
    if not config.accept_seen:
        _refuse(
            found,
            external,
            "it is not external: leave these rows out of its archive and convert again, or say why they may stay with "
            "--accept-seen REASON",
        )
    return tuple(found), (*notices, *_notices(found, config.accept_seen))


def _refuse(found: Sequence[Seen], dataset: StudyDataset, way_out: str) -> None:
    """Refuse the patients that are confirmed, by the rows of their images.

    Raises
    ------
    InputError
        If there are any.
    """
    said = []
    for one in found:
        if one.confirmed:
            rows = ", ".join(map(str, one.rows[:_NAMED])) + (", ..." if len(one.rows) > _NAMED else "")
            said.append(
                f"{_whose(one)} images of {len(one.confirmed)} of {one.patients} {one.of} patients (rows {rows})"
            )
    if said:
        raise InputError(f"{dataset.path}: {'; '.join(dict.fromkeys(said))}; {way_out}")


def _whose(one: Seen) -> str:
    return f"the weights of the {one.by} arm have seen" if one.by else "the study's own dataset has"


def _notices(found: Sequence[Seen], reason: str) -> list[str]:
    """What the reader must know of what was found, a line each; `reason` is the user's, where nothing is refused."""
    lines = []
    for one in found:
        whose = _whose(one)
        if one.confirmed and one.of == "development":
            lines.append(
                f"{whose} images of {len(one.confirmed)} of {one.patients} development patients: what is measured in "
                "cross-validation is favourable to that arm"
            )
        elif one.confirmed and reason:
            lines.append(
                f"{whose} images of {len(one.confirmed)} of {one.patients} {one.of} patients, who are tested all the "
                f"same; the reason given: {reason}"
            )
        if one.possible and one.of != "development":
            lines.append(
                f"{whose}, possibly, images of {len(one.possible)} of {one.patients} {one.of} patients: their hashes "
                "are alike, and nothing finer tells them apart; study.json lists them"
            )
    return lines
