"""What a study was going to do, written down before it did it (`plan.json`), and when its test set was opened
(`development.json`).

A plan may be changed, by writing another; the earlier ones stay in the file with their times, and the report says what
was changed, and whether test patients had been scored by then. `development.json` is there where a study was begun with
`--development-only`: its networks score no test patient before the first time that it names. Both carry a seal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import fastrad
from fastrad.errors import FormatError, InputError
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.ledger import Scoring
from fastrad.study.protocol.plan import Plan
from fastrad.study.protocol.seals import SEAL, check_record, sealed
from fastrad.system.files import write_json

PLAN, DEVELOPMENT = "plan.json", "development.json"
_TESTS = (
    "two-sided, at 5 %; Holm's adjustment over the abstract's three pairs, and over all pairs with further arms apart"
)


def planned(plan: Plan, config: CompareConfig) -> dict:
    """Everything that decides a study's numbers, as JSON values."""
    protocol = plan.protocol
    return {
        "dataset_sha256": protocol.dataset.card.sha256(),
        "positive": protocol.dataset.positive,
        "splits_sha256": protocol.splits.sha256,
        "folds": protocol.splits.folds,
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "arms": {
            arm.name: {"sha256": " ".join(start.identity or start.source for start in arm.starts), "frozen": arm.frozen}
            for arm in plan.arms
        },
        "recipe": asdict(protocol.tuning),
        "search": list(protocol.search.recipes) if protocol.search else [],
        "learning_curve": sorted(set(config.learning_curve)),
        "external_sha256": [external.card.sha256() for external in plan.externals],
        "subgroups": list(config.subgroups),
        "tests": {
            "pairs": ", ".join(f"{later.name} - {earlier.name}" for earlier, later in combinations(plan.arms, 2)),
            "differences": _TESTS,
            "margin": config.margin,
        },
    }


def write_plan(folder: Path, content: dict, *, scored: bool) -> str:
    """Write `plan.json`, with the plans that it replaces; a plan that is there already stays.

    Parameters
    ----------
    folder : Path
        The study's.
    content : dict
        From `planned`.
    scored : bool
        Whether test patients have been scored already.

    Returns
    -------
    str
        What was done, in a line.
    """
    former = read_plan(folder)
    if former is not None and former["plan"] == content:
        return f"{folder / PLAN}: this plan was written at {former['written']} and stands"
    earlier = [] if former is None else [*former["earlier"], {name: former[name] for name in _OWN}]
    now = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "after_scoring": scored,
        "fastrad": fastrad.__version__,
        "plan": content,
    }
    _write(folder / PLAN, {**now, "earlier": earlier})
    changed = f"; changed: {'; '.join(changes(former['plan'], content))}" if former is not None else ""
    return f"{folder / PLAN}: written{changed}"


_OWN = ("written", "after_scoring", "fastrad", "plan")
_WAY_OUT = "put the file back as it was, or give the study another --out"


def _write(path: Path, content: Mapping[str, object]) -> None:
    write_json(path, sealed(content, path.parent, ()))


def _read(path: Path) -> dict | None:
    """What `_write` wrote, by its seal; None where there is no file."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise TypeError
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError):
        raise FormatError(f"{path}: cut short or altered; {_WAY_OUT}") from None
    if SEAL not in found:
        raise FormatError(f"{path}: cut short or altered (it has no seal); {_WAY_OUT}")
    check_record(found, path, _WAY_OUT)
    return found


def read_plan(folder: Path) -> dict | None:
    """`plan.json`; None where there is none.

    Raises
    ------
    FormatError
        If it was cut short or altered.
    """
    path = folder / PLAN
    found = _read(path)
    if found is None:
        return None
    try:
        for each in (found, *found["earlier"]):
            if not (isinstance(each["plan"], dict) and isinstance(each["written"], str)):
                raise TypeError
            bool(each["after_scoring"]), str(each["fastrad"])
    except (KeyError, TypeError):
        raise FormatError(f"{path}: holds values that fastrad does not write; {_WAY_OUT}") from None
    return found


def check_plan(folder: Path, content: dict) -> None:
    """Refuse a study that is not the one that its folder's plan describes.

    Raises
    ------
    InputError
        Naming what differs.
    """
    former = read_plan(folder)
    if former is not None and (changed := changes(former["plan"], content)):
        raise InputError(
            f"{folder / PLAN}: the plan has {'; '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}; repeat the "
            "planned options, or give --plan with these first: the report will say what was changed"
        )


def adherence(folder: Path, scored: Sequence[Scoring] = (), tuned_later: int = 0) -> list[str]:
    """What the report says of plan and test set: that all went as planned, or what was changed, and when.

    Parameters
    ----------
    folder : Path
        The study's.
    scored : sequence of Scoring
        What the ledgers know of its test images, its own scoring among them.
    tuned_later : int
        How many of its networks were tuned when the test set was open already.
    """
    found, openings = read_plan(folder), _openings(folder)
    sentences = _of_the_test_set(openings, scored, tuned_later) if openings else []
    if found is None:
        return sentences
    history = [*found["earlier"], found]
    late = " after test patients had been scored" if history[0]["after_scoring"] else ""
    sentences += [f"Planned at {history[0]['written']}{late} ({PLAN})" + ("." if history[1:] else "; done as planned.")]
    for before, after in pairwise(history):
        late = ", after test patients had been scored" if after["after_scoring"] else ""
        changed = "; ".join(changes(before["plan"], after["plan"]))
        sentences.append(f"The plan was changed at {after['written']}{late}: {changed}.")
    return sentences


def changes(before: dict, after: dict) -> list[str]:
    """What differs between two plans, a few words each."""
    one, other = dict(_flat(before)), dict(_flat(after))
    return [
        f"{name} {one.get(name, 'none')}, now {other.get(name, 'none')}"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def _flat(values: dict, before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name} ")
        else:
            text = str(value)
            yield f"{before}{name}", text[:12] if len(text) == 64 else text  # of a hash, what a reader compares


def _of_the_test_set(openings: Sequence[str], scored: Sequence[Scoring], tuned_later: int) -> list[str]:
    when = openings[0]
    before = [each.when for each in scored if not _is_time(each.when) or _time(each.when) < _time(when)]
    sentences = []
    if before:
        sentences.append(
            f"Test patients had been scored before the test set was opened, at {when} (--unlock-test): the ledger has "
            f"{len(before)} earlier {'scoring' if len(before) == 1 else 'scorings'}, the first at {min(before)}."
        )
    if tuned_later:
        whom = "1 network was" if tuned_later == 1 else f"{tuned_later} networks were"
        sentences.append(f"{whom} tuned after the test set was opened, at {when} (--unlock-test).")
    if not sentences:
        sentences.append(f"No test patient was scored before the networks were finished, at {when} (--unlock-test).")
    if openings[1:]:
        sentences.append(f"The test set was opened again at {', '.join(openings[1:])}.")
    return sentences


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _is_time(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(_time(text))
    except ValueError:
        return False


def _openings(folder: Path) -> list[str] | None:
    """When the test set was opened, and opened again; None where the study is not development-only."""
    path = folder / DEVELOPMENT
    found = _read(path)
    if found is None:
        return None
    times = found.get("test_opened")
    if not isinstance(times, list) or not all(map(_is_time, times)):
        raise FormatError(f"{path}: holds values that fastrad does not write; {_WAY_OUT}")
    return times


def opened(folder: Path) -> str | None:
    """When a development-only study's test set was first opened: "" if it is closed; None where it is no such study.

    Raises
    ------
    FormatError
        If `development.json` was cut short or altered.
    """
    times = _openings(folder)
    return None if times is None else next(iter(times), "")


def close_test(folder: Path, any_finished: bool) -> None:
    """Begin a development-only study, or go on with it.

    Raises
    ------
    InputError
        If test patients have been scored in this folder already.
    """
    state = opened(folder)
    if state:
        raise InputError(f"{folder}: its test set was opened at {state}: no development is left that it has not seen")
    if state is None and any_finished:
        raise InputError(
            f"{folder}: its networks have scored the test set already; give --development-only another --out"
        )
    if state is None:
        _write(folder / DEVELOPMENT, {"test_opened": []})


def note_opening(folder: Path) -> None:
    """Write down that test patients are scored from now on, behind the times at which that was so before."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    _write(folder / DEVELOPMENT, {"test_opened": [*(_openings(folder) or []), now]})
