"""From which confidence on a string that was read on an image counts as text: chosen on one half, judged on the other.

    python benchmarks/text_threshold.py --ddti FOLDER --radimagenet FOLDER --folder WORK

In: DDTI whole, on 75 images of which "TIRADS n" is burned in, and the CT and MR images of the small RadImageNet, which
carry no text; phantoms, which carry none, are made. Every image is read once (half a second each; the readings stay
in WORK). Out: `benchmarks/results/text_threshold.json`: for each half and threshold, how many images with text are
found and on how many without it some is reported. A case of DDTI is in one half with all of its images.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import provenance

from fastrad.audit import text
from fastrad.imaging import fit, read_gray

SCORES = [round(0.5 + 0.01 * step, 2) for step in range(50)]
MOST_FALSE, FEWEST_FOUND = 0.02, 0.95
_GRADE = re.compile(r"T[I1L]?-?RADS?", re.IGNORECASE)


class Readings:
    """What the reader finds on an image: kept in a file, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._known: dict[str, list[tuple[str, float]]] = dict(map(json.loads, lines))

    def read(self, path: Path, size: int | None) -> list[tuple[str, float]]:
        """As the audit reads what a dataset stores; `size` None reads the source as it is."""
        name = f"{size} {path.parent.name}/{path.name}"
        if name not in self._known:
            gray = read_gray(path)
            strings = text.read_strings(text._text_reader(), gray if size is None else fit(gray, size)[0])
            self._known[name] = strings
            with self._path.open("a") as file:
                file.write(json.dumps([name, strings]) + "\n")
        return [(string, score) for string, score in self._known[name]]


def phantoms(folder: Path, kind: str, count: int) -> list[Path]:
    """Generated images; made where they are missing."""
    if not (folder / kind).exists():
        words = [sys.executable, "-m", "fastrad", "convert", "phantom", str(folder / kind), "--kind", kind]
        subprocess.run([*words, "--images", str(count), "--keep-patient-ids"], check=True, capture_output=True)
    return sorted((folder / kind / "archive").rglob("*.png"))[:count]


def without_words(readings: list[tuple[str, float]]) -> bool:
    """A depth mark, a caliper's letter or nothing: read at the size of the source, at any score."""
    return all(sum(map(str.isalnum, string)) < text.FEWEST_CHARACTERS for string, _ in readings)


def rows(arguments: argparse.Namespace) -> Iterator[tuple[str, bool, bool, list[tuple[str, float]]]]:
    """Group, whether it is with text, whether it is in the half to choose on, what is read: for every image."""
    readings = Readings(arguments.folder / "readings.jsonl")
    for path in sorted(arguments.ddti.glob("*.jpg")):
        source, chosen_on = readings.read(path, None), int(path.stem.split("_")[0]) % 2 == 0
        if any(_GRADE.search(string.replace(" ", "")) for string, _ in source):
            yield "DDTI with TIRADS", True, chosen_on, readings.read(path, 224)
        elif without_words(source):
            yield "DDTI without words", False, chosen_on, readings.read(path, 224)
    for kind, size, count in (("thyroid", 224, 160), ("thyroid", 64, 160), ("radiology", 64, 100)):
        for number, path in enumerate(phantoms(arguments.folder, kind, count)):
            yield f"{kind} phantoms of {size}", False, number % 2 == 0, readings.read(path, size)
    files = sorted(path for path in arguments.radimagenet.rglob("*.png") if "US" not in path.parts)
    for number, path in enumerate(random.Random(0).sample(files, 200)):
        yield "CT and MR of 64", False, number % 2 == 0, readings.read(path, 64)


def count(
    images: list[tuple[str, bool, bool, list[tuple[str, float]]]], score: float, fewest: int
) -> dict[str, list[int]]:
    """For each group, images on which text is reported and images; with text, those whose grade is reported."""
    text.LOWEST_SCORE, text.FEWEST_CHARACTERS = score, fewest
    counts: dict[str, list[int]] = {}
    for group, has_text, _, strings in images:
        believed = [string for string, confidence in strings if text.is_text(string, confidence)]
        reported = "TIRADS" in set(text._words(believed)) if has_text else bool(believed)
        group_counts = counts.setdefault(group, [0, 0])
        group_counts[0] += reported
        group_counts[1] += 1
    return counts


def rates(counts: dict[str, list[int]]) -> tuple[float, float]:
    """Share of the images with text that are found, and of those without it that are reported in the worst group."""
    shares = {group: reported / images for group, (reported, images) in counts.items()}
    found = shares.pop("DDTI with TIRADS")
    return found, max(shares.values())


def main() -> None:
    """Read, choose, judge, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ddti", type=Path, required=True)
    parser.add_argument("--radimagenet", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder")
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "text_threshold.json")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    in_code = text.LOWEST_SCORE, text.FEWEST_CHARACTERS
    images = list(rows(arguments))
    choosing, judging = ([image for image in images if image[2] is half] for half in (True, False))
    fewest = text.FEWEST_CHARACTERS
    good = []
    for score in SCORES:
        found, false = rates(count(choosing, score, fewest))
        if found >= FEWEST_FOUND and false <= MOST_FALSE:
            good.append(score)
    chosen = round((good[0] + good[-1]) / 2, 1)  # the middle, as far from either error as it can be
    result = {
        "benchmark": "text_threshold",
        "in_code": in_code,
        "good_on_the_half_to_choose_on": [good[0], good[-1]],
        "chosen_score": chosen,
        "false_alarms_at_most": MOST_FALSE,
        "found_at_least": FEWEST_FOUND,
        "reported_of_images": {
            name: {
                "before (score 0.5, 1 character)": count(half, 0.5, 0),
                "0.5, 2 characters": count(half, 0.5, 2),
                "chosen": count(half, chosen, fewest),
            }
            for name, half in (("chosen_on", choosing), ("judged_on", judging))
        },
        "judged": dict(
            zip(("found", "false_alarms_in_the_worst_group"), rates(count(judging, chosen, fewest)), strict=True)
        ),
        "commit": provenance.commit(),
    }
    arguments.result.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
