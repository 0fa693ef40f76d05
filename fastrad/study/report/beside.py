"""The table that sets development and test patients beside each other: numbers, classes, the user's attributes."""

from __future__ import annotations

from typing import NamedTuple


class Beside(NamedTuple):
    """One line: what is counted, and its value among development and test patients."""

    name: str
    development: str
    test: str


def development_beside_test(study: dict) -> list[Beside]:
    """The lines of the table, from `study.json`."""
    parts = study["development"], study["test"]
    nameless = study["dataset"]["patient_ids"] == "none"
    lines = [] if nameless else [Beside("Patients", *_of(parts, "patients"))]
    lines.append(Beside("Images", *_of(parts, "images")))
    if not nameless:
        each = (f"{part['images'] / part['patients']:.2f}" for part in parts)
        lines.append(Beside("Images a patient, mean", *each))
    malignant = (_share(part["malignant"], part["patients"]) for part in parts)
    lines.append(Beside("Malignant" if nameless else "Malignant patients", *malignant))
    for line in study.get("characteristics", []):
        values = line["development"], line["test"]
        if line["value"]:
            shares = (_share(value, part["patients"]) for value, part in zip(values, parts, strict=True))
            lines.append(Beside(f"{line['column']}: {line['value']}", *shares))
        else:
            lines.append(Beside(f"{line['column']}, median (quartiles)", *map(_spread, values)))
    return lines


def _of(parts: tuple[dict, dict], name: str) -> tuple[str, ...]:
    return tuple(str(part[name]) for part in parts)


def _share(count: int, whole: int) -> str:
    return f"{count} ({100 * count / whole:.0f} %)" if whole else str(count)


def _spread(value: dict) -> str:
    if not value["known"]:
        return "unknown"
    return f"{value['median']:g} ({value['low']:g} to {value['high']:g}), {value['known']} known"
