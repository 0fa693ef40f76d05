"""What a study was going to do, written down before it did it (`plan.json`), and when its test set was opened
(`development.json`).

A plan may be changed, by writing another; the earlier ones stay in the file with their times, and the report says what
was changed, and whether test patients had been scored by then. `development.json` is there where a study was begun with
`--development-only`: no test patient has a score before the time that it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import fastrad
from fastrad.errors import FormatError, InputError
from fastrad.study.protocol.config import CompareConfig
from fastrad.study.protocol.plan import Plan
from fastrad.system.files import write_atomically

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
        "splits_sha256": hashlib.sha256(protocol.splits.to_csv().encode()).hexdigest(),
        "folds": protocol.splits.folds,
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "arms": {
            arm.name: {"sha256": " ".join(start.sha256 or start.source for start in arm.starts), "frozen": arm.frozen}
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
    write_atomically(folder / PLAN, (json.dumps({**now, "earlier": earlier}, indent=1) + "\n").encode())
    changed = f"; changed: {'; '.join(changes(former['plan'], content))}" if former is not None else ""
    return f"{folder / PLAN}: written{changed}"


_OWN = ("written", "after_scoring", "fastrad", "plan")


def read_plan(folder: Path) -> dict | None:
    """`plan.json`; None where there is none.

    Raises
    ------
    FormatError
        If it was cut short or altered.
    """
    path = folder / PLAN
    try:
        found = json.loads(path.read_bytes())
        for each in (found, *found["earlier"]):
            if not (isinstance(each["plan"], dict) and isinstance(each["written"], str)):
                raise TypeError
            bool(each["after_scoring"]), str(each["fastrad"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(
            f"{path}: cut short or altered; put the file back as it was, or move it away and plan again with --plan"
        ) from None
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


def adherence(folder: Path) -> list[str]:
    """What the report says of plan and test set: that all went as planned, or what was changed, and when."""
    found, when = read_plan(folder), opened(folder)
    unseen = f"No test patient was scored before the networks were finished, at {when} (--unlock-test)."
    sentences = [unseen] if when else []
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


def opened(folder: Path) -> str | None:
    """When a development-only study's test set was opened: "" if it is closed; None where the study is no such one.

    Raises
    ------
    FormatError
        If `development.json` was cut short or altered.
    """
    path = folder / DEVELOPMENT
    try:
        found = json.loads(path.read_bytes())["test_opened"]
        if found is not None and not isinstance(found, str):
            raise TypeError
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(
            f'{path}: cut short or altered; write {{"test_opened": null}} into it if the test set was not opened'
        ) from None
    return found or ""


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
        write_atomically(folder / DEVELOPMENT, b'{"test_opened": null}\n')


def note_opening(folder: Path) -> None:
    """Write down that test patients are scored from now on."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_atomically(folder / DEVELOPMENT, (json.dumps({"test_opened": now}) + "\n").encode())
