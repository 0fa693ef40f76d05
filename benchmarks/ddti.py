"""The study on real images: DDTI's nodules from three starts and a second random one, from the archives to a result.

    python benchmarks/ddti.py --data ../shared/data --folder WORK

In: `ddti.tar` and `radimagenet-mini.tar`. Out: `results/ddti.json`, of which `report.py` makes `docs/results.md`. Each
step is a fastrad command that keeps what is done, so the same line goes on where it was stopped. The settings were
fixed before any test patient was scored, by the time that they take alone, and are the only ones that were tried.

DDTI's labels are TI-RADS categories, not pathology. The archive that pretrains in the domain has RadImageNet's layout
and is not RadImageNet; its ultrasound images are DDTI's own and are left out: every image of it is looked up among
DDTI's by its fingerprint, those that are found and the rest of their class go into `convert --drop`, and what was
stored is looked up once more. The natural images are generated, for want of ImageNet's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from provenance import commit, processor

from fastrad.archives import read_source
from fastrad.archives.manifest import Manifest
from fastrad.controls import table as controls_table
from fastrad.dataset.fingerprints import Fingerprints, read_own
from fastrad.dataset.lookup import CONFIRMED, POSSIBLE, Lookup
from fastrad.dataset.opening import open_dataset, read_card
from fastrad.dataset.pixels import FingerprintMaker
from fastrad.imaging import read_values
from fastrad.imaging.walk import walk_images
from fastrad.phantom.archive import VERSION as DRAWINGS
from fastrad.study.report.notation import estimate, format_p, number, range_text
from fastrad.system.files import write_json

RESULT = Path(__file__).parent / "results" / "ddti.json"
ULTRASOUND = "thyroid"  # the mini archive's label of its ultrasound images
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Settings:
    """Everything that was chosen; see the module."""

    size: int = 48
    in_domain_epochs: int = 3
    natural_images: int = 8000
    natural_epochs: int = 5  # as many images as in the domain, in all
    pretraining_batch_size: int = 64
    pretraining_lr: float = 0.2  # for 256 images a step: a peak of 0.05
    test_fraction: float = 0.4  # leaves more than the 15 benign test patients below which nothing is called shown
    folds: int = 5
    seeds: int = 3
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 3e-4
    seed: int = 0


def run(data: Path, folder: Path, jobs: int) -> dict[str, Any]:
    """Do everything, or what is left of it."""
    settings, version = Settings(), commit()
    archives = folder / "archives"
    mini, ddti = unpacked(data / "radimagenet-mini.tar", archives), unpacked(data / "ddti.tar", archives) / "ddti"
    known = ddti_fingerprints(ddti)
    source = read_source("radimagenet", mini)
    levels = Lookup(fingerprints(mini, source.table["path"].tolist())).among(known)
    chosen = left_out(source, levels)
    write_json(folder / "left-out.json", drop_list(source, chosen))

    kept = folder / "seconds.json"  # what is done takes no time when the same line is given again
    seconds: dict[str, float] = json.loads(kept.read_text()) if kept.is_file() else {}

    def step(name: str, *words: object, threads: int = 0) -> None:
        seconds[name] = max(fastrad(*words, threads=threads), seconds.get(name, 0.0))
        write_json(kept, seconds)

    size, common = ("--size", settings.size), ("--seed", settings.seed)
    in_domain, natural, nodules = (folder / name for name in ("in-domain", "natural", "nodules"))
    step("in-domain", "convert", "radimagenet", mini, in_domain, *size, "--drop", folder / "left-out.json")
    drawn = ("--kind", "natural", "--images", settings.natural_images)
    step("natural", "convert", "phantom", natural, *drawn, *size, *common)
    cropped = ("--crop", "nodule", "--keep-patient-ids")  # DDTI's public case numbers: everybody draws the same splits
    step("nodules", "convert", "ddti", ddti, nodules, *size, *cropped)
    left = [Lookup(own).among(known) for own in (read_own(open_dataset(in_domain / f"{s}.beton")) for s in SPLITS)]
    left_over = np.concatenate(left)
    if (left_over > 0).any():
        sys.exit(f"{in_domain}: {int((left_over > 0).sum())} images may be DDTI's")

    for name, epochs in ((in_domain.name, settings.in_domain_epochs), (natural.name, settings.natural_epochs)):
        words = ("--epochs", epochs, "--batch-size", settings.pretraining_batch_size, "--lr", settings.pretraining_lr)
        out = folder / "runs" / name
        resume = ("--resume",) if (out / "config.json").is_file() else ()
        files = (folder / name / "train.beton", "--val", folder / name / "val.beton")
        step(f"pretraining, {name}", "pretrain", *files, "--out", out, "--amp", *words, *common, *resume, threads=1)

    study = folder / "study"
    words = (
        *(nodules, "--radimagenet", folder / "runs" / in_domain.name / "weights.safetensors"),
        *("--imagenet", folder / "runs" / natural.name / "weights.safetensors", "--null-arm", "--out", study, *size),
        *("--test-fraction", settings.test_fraction, "--folds", settings.folds, "--seeds", settings.seeds),
        *("--epochs", settings.epochs, "--batch-size", settings.batch_size),
        *("--learning-rate", settings.learning_rate, *common),
    )
    if not (study / "plan.json").is_file():
        fastrad("compare", *words, "--plan")
    step("study", "compare", *words, "--jobs", jobs, threads=1)
    readable, audit = folder / "nodules-224", folder / "audit"
    step("nodules to read", "convert", "ddti", ddti, readable, "--size", 224, *cropped)
    if not (audit / "audit.json").is_file():
        step("audit", "audit", readable / "all.beton", "--out", audit, "--text-images", len(known))
    text = json.loads((audit / "audit.json").read_text())["text"]
    return {
        "commit": version,
        "processor": processor(),
        "settings": asdict(settings),
        "drawings": DRAWINGS,
        "seconds": seconds,
        "left_out": {
            "images": len(source),
            "ddti_images": len(known),
            "ultrasound": int((source.table["label"] == ULTRASOUND).sum()),
            "confirmed": int((levels >= CONFIRMED).sum()),
            "confirmed_ultrasound": int(((levels >= CONFIRMED) & (source.table["label"] == ULTRASOUND)).sum()),
            "possible": int((levels == POSSIBLE).sum()),
            "left_out": int(chosen.sum()),
            "stored": len(left_over),
            "found_among_stored": int((left_over > 0).sum()),
        },
        "text": {
            **{name: text[name] for name in ("images_read", "images_with_text", "not_looked_for")},
            "leaks": {each["word"]: each["by_class"] for each in text["words"] if each["is_leak"]},
        },
        "pretraining": {name: pretrained(folder, name) for name in (in_domain.name, natural.name)},
        **outcome(study),
    }


def unpacked(tar: Path, archives: Path) -> Path:
    """The folder of an archive's files."""
    folder = archives / tar.stem
    if not folder.is_dir():
        partial = archives / f".{tar.stem}.partial"
        with tarfile.open(tar) as file:
            file.extractall(partial, filter="data")
        partial.rename(folder)
    return folder


def fingerprints(folder: Path, paths: list[str]) -> Fingerprints:
    """Of the images of an archive, as they are stored there."""
    maker = FingerprintMaker(len(paths))
    for path in paths:
        values = read_values(folder / path)
        maker.add(values.pixels if values.source is None else values.source)
    return Fingerprints.of(maker.table)


def ddti_fingerprints(folder: Path) -> Fingerprints:
    """Of all of DDTI, its unlabelled images too."""
    return fingerprints(folder, [path for path, reason in walk_images(folder) if not reason])


def left_out(source: Manifest, levels: np.ndarray) -> np.ndarray:
    """Which rows must not pretrain: images that may be DDTI's, and all others of the class that holds them."""
    return (levels > 0) | (source.table["label"] == ULTRASOUND).to_numpy()


def drop_list(source: Manifest, rows: np.ndarray) -> dict[str, Any]:
    """What `convert --drop` takes, of rows that are near copies of images elsewhere."""
    samples = [{"dataset": 0, "row": int(row), "drop": True} for row in np.flatnonzero(rows)]
    return {
        "datasets": [{"manifest_sha256": source.sha256()}],
        "exact_duplicates": {"listed": []},
        "near_duplicates": {"listed": [{"samples": samples}]},
        "blank": {"samples": []},
    }


def fastrad(*words: object, threads: int = 0) -> float:
    """Run a command; its seconds. Ends this program where it fails."""
    print("$ fastrad", *words, file=sys.stderr, flush=True)
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "fastrad", *map(str, words)], env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return round(time.monotonic() - began, 1)


def pretrained(folder: Path, name: str) -> dict[str, Any]:
    """What a pretrained network learned from, and how well."""
    from fastrad.train.run_folder import RunFolder

    card = read_card(folder / name / "train.beton")
    best = RunFolder(folder / "runs" / name).read_summary().best
    kept = {key: best[key] for key in ("epoch", "val_macro_auroc", "val_top1")}
    return {"training_images": card.samples, "classes": card.class_counts, "synthetic": card.synthetic, **kept}


def outcome(study: Path) -> dict[str, Any]:
    """Of the study's record and table what names no patient."""
    record, values = (json.loads((study / name).read_text()) for name in ("study.json", "table.json"))
    dataset = record["dataset"]
    kept = ("layout", "class_counts", "unlabelled_images", "quarantined_images", "parameters", "source_options")
    seen = [
        {**each, **{name: len(each[name]) for name in ("confirmed", "possible", "rows")}} for each in record["seen"]
    ]
    return {
        "dataset": {name: dataset[name] for name in kept},
        "arms": [{name: arm[name] for name in ("name", "label", "trained_on", "synthetic")} for arm in record["arms"]],
        "recipe": record["protocol"]["recipe"],
        "precision": sorted({json.loads(path.read_text())["settings"]["precision"] for path in runs(study)}),
        "copies": record["copies"],
        "seen": seen,
        "versions": record["versions"],
        "table": values,
    }


def runs(study: Path) -> list[Path]:
    """The records of the study's networks."""
    return sorted((study / "runs").glob("*/run.json"))


PAGE = """# Results

What this version gives on real images, and the controls on generated ones. Made by `python benchmarks/report.py` from
`benchmarks/results/ddti.json` and `controls.json`. The settings are in the scripts and were fixed before any of these
results was looked at.
"""

_DDTI = """## Thyroid nodules of DDTI

Read this first; it says what the numbers below cannot mean.

- **The labels are not pathology.** They are readers' TI-RADS categories: 2 and 3 count as benign, 4a to 5 as malignant,
  which therefore means suspicious.
- **Neither ImageNet nor RadImageNet.** `{out}`: {natural} that fastrad drew,
  generated natural images, not ImageNet. `{into}`:
  {in_domain} (CT and MR) in RadImageNet's layout. Which part of the body a
  picture shows is an easy question: validation macro AUROC {in_domain_auroc:.3f}; of the natural classes
  {natural_auroc:.3f}.{drawings}
- **No ultrasound in it.** The archive's {ultrasound} ultrasound images are DDTI's own. By its fingerprint each of its
  {looked_up:,} images was looked up among all {ddti} of DDTI: {confirmed} were found,
  {confirmed_ultrasound} of them ultrasound; {left_out} were left out. Among the {stored:,} that were
  stored, {remaining} was found. The look-up misses crops and other views.
- **Chance**: {beside_chance} of {arms} arms were not shown to do better than chance: their interval does not lie above
  0.5. Where the task may not have been learned, that no start was shown to be better says little.
- **One weights file an arm**: what is said is said of these files, not of pretraining.
- **Few patients**: {development} for training and validation, {test} for the test, {benign} of these benign.
- **Small pictures**: the outlined nodule alone, {size} × {size} pixels.
- **One fixed recipe** for every arm ({epochs} epochs, rate {rate:g}, batch {batch}): another may give another order.
- **No positive control on DDTI**: weights pretrained on this very task would need other patients with labels; fastrad
  refuses weights that have seen the test patients. The one below is on generated images.
{text}

{counts}
"""


def page(found: dict[str, Any] | None, controls: dict[str, Any] | None) -> str:
    """The whole of docs/results.md."""
    parts = [PAGE]
    if found is not None:
        parts.append(study_section(found))
    if controls is not None:
        parts.append(
            "## Controls on generated images\n\n`fastrad controls OUT`: could the method show an advantage that is "
            "there, and does it show none where there is none? Synthetic images: nothing here is about patients.\n\n"
            f"{controls_table(controls)}\n"
        )
    return "\n".join(parts)


def study_section(found: dict[str, Any]) -> str:
    """Limits, tables and sentences of the study on DDTI."""
    table, chosen, out = found["table"], found["settings"], found["left_out"]
    label = {arm["name"]: arm["label"] for arm in found["arms"]}
    in_domain, natural = (found["pretraining"][name] for name in ("in-domain", "natural"))
    head = _DDTI.format(
        out=label["imagenet"],
        into=label["radimagenet"],
        natural=f"{natural['training_images']:,} pictures of {len(natural['classes'])} classes",
        in_domain=f"{in_domain['training_images']:,} images of {_listed(_shown_classes(in_domain['classes']))}",
        in_domain_auroc=in_domain["val_macro_auroc"],
        natural_auroc=natural["val_macro_auroc"],
        drawings=""
        if found["drawings"] == DRAWINGS
        else f" fastrad has changed its drawings since (from version {found['drawings']} to {DRAWINGS}).",
        ultrasound=out["ultrasound"],
        looked_up=out["images"],
        ddti=out["ddti_images"],
        confirmed=out["confirmed"],
        confirmed_ultrasound=out["confirmed_ultrasound"],
        left_out=out["left_out"],
        stored=out["stored"],
        remaining=out["found_among_stored"] or "none",
        development=table["development"]["patients"],
        test=table["test"]["patients"],
        arms=len(table["arms"]),
        beside_chance=sum(arm["network_auroc_low"] <= 0.5 for arm in table["arms"]),
        benign=table["test"]["patients"] - table["test"]["malignant"],
        size=chosen["size"],
        epochs=chosen["epochs"],
        rate=chosen["learning_rate"],
        batch=chosen["batch_size"],
        text=_text(found["text"]),
        counts=_counts(table),
    )
    caveats = "".join(f"**{sentence}**\n\n" for sentence in table["caveats"])
    said = "".join(f"- {sentence}\n" for sentence in table["conclusion"] if sentence not in table["caveats"])
    return f"{head}\n{caveats}{_arms(found)}\n{_differences(table)}\nWhat the report says:\n\n{said}\n{_made(found)}"


def _shown_classes(classes: dict[str, int]) -> list[str]:
    return [name.replace("_normal", "") for name, count in classes.items() if count]


def _text(text: dict[str, Any]) -> str:
    if text["not_looked_for"]:
        return "- **Burned-in text** was not looked for."
    leaks = [
        f"{word} on {' and '.join(f'{count} {name}' for name, count in by_class.items())} ones"
        for word, by_class in text["leaks"].items()
    ]
    return (
        '- **Burned-in text**: DDTI has "TIRADS n" in 73 of its labelled images. Of the nodules alone, read\n'
        f"  at 224 px (`fastrad audit`), {text['images_with_text']} of {text['images_read']} hold text, "
        f"{_listed(leaks) if leaks else 'of which no word names or depends on the class'}."
    )


def _counts(table: dict[str, Any]) -> str:
    test, known = table["test"], table["development"]
    return (
        f"Held-out test set: {test['patients']} patients, {test['images']} images, {test['malignant']} patients "
        f"malignant by TI-RADS. Cross-validation: {table['folds']} folds over {known['patients']} patients, "
        f"{known['images']} images, {known['malignant']} patients malignant; {len(table['seeds'])} seeds."
    )


def _arms(found: dict[str, Any]) -> str:
    trained_on = {arm["name"]: arm["trained_on"] for arm in found["arms"]}
    lines = [
        "| Arm | Starts from | One network, mean (SD over networks) | 95 % interval | Ensemble (95 % interval) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for arm in found["table"]["arms"]:
        cells = [
            arm["label"],
            trained_on[arm["arm"]],
            f"{arm['network_auroc']:.3f} ({arm['network_auroc_sd']:.3f})",
            range_text(arm["network_auroc_low"], arm["network_auroc_high"]),
            estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _differences(table: dict[str, Any]) -> str:
    lines = [
        "| Difference in one network's AUROC | Networks as readers (95 %) | Folds as readers | Bootstrap | p, Holm: "
        "networks, folds | Shown | Detectable |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in table["differences"]:
        cells = [
            f"{each['a_label']} − {each['b_label']}",
            estimate(each["network_difference"], each["network_low"], each["network_high"], sign="+"),
            range_text(each["folds_low"], each["folds_high"], "+.3f"),
            range_text(each["hierarchical_low"], each["hierarchical_high"], "+.3f"),
            f"{format_p(each['network_holm_p_value'])}, {format_p(each['folds_holm_p_value'])}",
            "yes" if each["shown"] else "no",
            number(each["network_detectable"], ".2f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return (
        "\n".join(lines) + "\n\nDetectable: the true difference that a single comparison finds with 80 % power. Holm's "
        "families are the abstract's three pairs, and all others. [Statistics](design/statistics.md) has the rest.\n"
    )


def _made(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {found['versions'][name]}" for name in ("fastrad", "torch", "numpy"))
    minutes = sum(found["seconds"].values()) / 60
    return (
        "Made by one script, whose settings were fixed beforehand:\n\n```sh\n"
        "# needs: the two archives\npython benchmarks/ddti.py --data ../shared/data --folder WORK\n```\n\n"
        f"{minutes:.0f} minutes on two cores that other work shared ({versions}, {' and '.join(found['precision'])}).\n"
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def main() -> None:
    """Do it, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the two tars")
    parser.add_argument("--folder", type=Path, required=True, help="where to work: 4 GB")
    parser.add_argument("--jobs", type=int, default=2, help="networks of the study at once, a thread each")
    parser.add_argument("--out", type=Path, default=RESULT)
    words = parser.parse_args()
    words.out.write_text(json.dumps(run(words.data, words.folder, words.jobs), indent=1) + "\n")


if __name__ == "__main__":
    main()
