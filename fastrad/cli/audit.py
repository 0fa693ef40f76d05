"""`fastrad audit`: copies, blanks, imbalance, leaks between splits and burned-in text of datasets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fastrad.audit import AuditOptions
from fastrad.audit import audit as run_audit
from fastrad.dataset.opening import datasets_in
from fastrad.system.terminal import tell

_DEFAULT = AuditOptions()


@click.command("audit")
@click.argument("datasets", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "out_dir", required=True, type=click.Path(path_type=Path), help="Folder of the report.")
@click.option(
    "--near-distance",
    default=_DEFAULT.near_distance,
    show_default=True,
    type=click.IntRange(0, 32),
    help="Bits of 64 by which perceptual hashes of near copies may differ.",
)
@click.option(
    "--near-correlation",
    default=_DEFAULT.near_correlation,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Correlation of the pixels from which such a pair is a near copy.",
)
@click.option(
    "--text-images",
    default=_DEFAULT.text_images,
    show_default=True,
    type=click.IntRange(0, 10**9),
    help="Images read for burned-in text, spread over the classes (0.5 s each); 0 for none.",
)
@click.option("--workers", type=click.IntRange(1, 4096), help="Processes; all processors at hand by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    datasets: tuple[Path, ...],
    out_dir: Path,
    near_distance: int,
    near_correlation: float,
    text_images: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Look for what spoils a study in DATASETS: all splits of one together, or their folder."""
    found = [Path(each) for path in datasets for each in datasets_in(str(path))]
    report = run_audit(found, out_dir, AuditOptions(near_distance, near_correlation, text_images, workers))
    if as_json:
        click.echo(json.dumps(report))
        return
    exact, near = report["exact_duplicates"], report["near_duplicates"]
    shared, text, imbalance = report["patients_in_two_splits"], report["text"], report["imbalance"]
    for name, found in (("exact copies", exact), ("near copies", near)):
        tell(
            f"{name}: {found['images']} images in {found['groups']} groups ({found['across_splits']} across splits, "
            f"{found['across_patients']} across patients, {found['across_labels']} across labels)"
        )
    tell(f"blank images: {report['blank']['images']}")
    tell(f"patients in two splits: {shared['patients']} of {shared['known_patients']}")
    tell(
        f"class imbalance: {imbalance['ratio']:.1f} to 1 ({imbalance['largest']['class']} "
        f"{imbalance['largest']['images']}, {imbalance['smallest']['class']} {imbalance['smallest']['images']})"
    )
    not_read = ", not looked for" if text["not_looked_for"] else ""
    tell(f"burned-in text: on {text['images_with_text']} of {text['images_read']} images read{not_read}")
    for word in text["words"]:
        if word["is_leak"]:
            counts = ", ".join(f"{name} {count}" for name, count in word["by_class"].items())
            tell(f"  leak of the label: {word['word']} ({counts}; p {word['p_value']:.2g})")
    if proposed := sum(sample["drop"] for group in exact["listed"] for sample in group["samples"]):
        tell(
            f"{proposed} exact copies are proposed to be left out ('drop' in audit.json, which you may change): "
            f"fastrad convert ... --drop {out_dir / 'audit.json'}"
        )
    tell(f"report: {out_dir / 'audit.html'}, {out_dir / 'audit.json'}, {out_dir / 'rows.csv'}")
