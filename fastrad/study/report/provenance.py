"""Where a study's numbers come from, in lines for its page: hardware, time, and the ledger of test scorings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastrad.study.protocol.ledger import Scoring, differing, overlap
from fastrad.study.report.notation import duration
from fastrad.system.files import in_units


class LedgerLine(NamedTuple):
    """One scoring of the study's test images: when, by which version, how many of them, and what was set otherwise."""

    when: str
    version: str
    images: int
    settings: str


def computing_lines(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values: on what the networks were tuned and for how long, as far as each network's record says."""
    networks = [*study.get("networks", []), *study.get("limited_networks", [])]
    machines = Counter(_machine(each) for each in networks if "hardware" in each)
    seconds = [float(each["seconds"]) for each in networks if "seconds" in each]
    lines = [("Hardware", "; ".join(f"{name}: {count} networks" for name, count in machines.most_common()))]
    if seconds:
        spread = f"{duration(min(seconds))} to {duration(max(seconds))} each"
        lines.append(("Tuning time", f"{len(seconds)} networks, {spread}, {duration(sum(seconds))} together"))
    return [(name, text) for name, text in lines if text]


def _machine(network: Mapping[str, Any]) -> str:
    hardware = network["hardware"]
    gpu = f"{hardware['gpu']}, " if "gpu" in hardware else ""
    return f"{gpu}{hardware['processor']}, {hardware['cores']} cores, {in_units(hardware['memory'])} of memory"


def ledger_lines(current: Scoring | None, earlier: Sequence[Scoring]) -> list[LedgerLine]:
    """The entries of the ledger that concern this study's test images, oldest first."""
    if current is None:
        return []
    return [
        LedgerLine(each.when, each.version, overlap(each, current), _settings(each, current))
        for each in sorted((*earlier, current), key=lambda each: (each.when, each.key))
    ]


def _settings(scoring: Scoring, current: Scoring) -> str:
    if scoring == current:
        return "this study"
    parts = []
    for name in differing(scoring.settings, current.settings):
        value = scoring.settings.get(name)
        plain = isinstance(value, int | float | bool) or (isinstance(value, str) and len(value) < 24)
        parts.append(f"{name} {value}" if plain else f"other {name}")
    return ", ".join(parts) or "the same settings on other images"
