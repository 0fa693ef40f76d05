"""`fastrad inspect`: what a dataset and its card say, and a contact sheet.

In: a `.beton` file, or WebDataset shards. Out: a description on stdout, and a PNG where `--sheet` asks for one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fastrad.system.terminal import tell

_FILE = click.Path(path_type=Path)
_SHOWN = 10


@click.command("inspect")
@click.argument("file")
@click.option("--sheet", type=_FILE, help="Write a contact sheet with labels to this PNG.")
@click.option("--images", type=click.IntRange(1, 2000), default=48, show_default=True, help="On the contact sheet.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(file: str, sheet: Path | None, images: int, as_json: bool) -> None:
    """Say what FILE and its card hold.

    FILE is a .beton file; the .card.json of WebDataset shards or one of their tars; or a folder with one dataset.
    """
    from fastrad.dataset.inspect import contact_sheet, describe
    from fastrad.dataset.opening import open_dataset
    from fastrad.system.files import refuse_to_replace

    if sheet is not None:
        refuse_to_replace(sheet)
        if sheet.suffix.lower() != ".png":
            raise click.UsageError(f"--sheet {sheet}: the contact sheet is a PNG; give a name that ends in .png")
    opened = open_dataset(file)
    content = describe(opened)
    if as_json:
        print(json.dumps(content, indent=1))
    else:
        _print(content)
    if sheet is not None:
        count = contact_sheet(opened, sheet, count=images)
        if not as_json:
            tell(f"contact sheet of {count} images: {sheet}")


def _print(content: dict[str, Any]) -> None:
    image, size = content["image"], content["bytes"]
    tell(f"{content['path']}" + ("  (synthetic)" if content["synthetic"] else ""))
    patients = f" of {content['patients']:,} patients" if content["patients"] else ", patients unknown"
    tell(f"  {content['samples']:,} images{patients}")
    split = content["source"]["split"] or "none"
    tell(f"  source: layout {content['source']['layout']}, split {split}")
    shards = f", in {content['shards']} shards" if content["shards"] else ""
    tell(f"  stored: {image['height']} x {image['width']} pixels, gray, {image['encoding']}{shards}")
    parameters = ", ".join(f"{name} {value}" for name, value in content["parameters"].items() if value is not None)
    tell(f"  converted with: {parameters}")
    tell(
        f"  bytes: {size['file']:,} in all; an image {size['image_min']:,} to {size['image_max']:,}, "
        f"median {size['image_median']:,}"
    )
    tell(f"  mean {content['mean']:.4f}, std {content['std']:.4f} of pixel/255, padding left out")
    if content["gray_levels"]:
        tell(f"  {content['gray_levels']} of 256 gray levels are used")
    if content["made_square"]:
        tell(f"  {content['made_square']:,} images had pixels that are not square and were resampled")
    tell(f"  {len(content['classes'])} classes")
    width = max(len(name) for name in content["classes"])
    for name, count in content["classes"].items():
        tell(f"    {name:<{width}}  {count:>9,}  {100 * count / content['samples']:5.1f} %")
    if content["unlabelled"]["count"]:
        tell(f"  unlabelled rows left out: {content['unlabelled']['count']:,}")
    if content["quarantined"]:
        tell(f"  quarantined rows: {len(content['quarantined']):,}")
        for entry in content["quarantined"][:_SHOWN]:
            tell(f"    row {entry['row']}: {entry['reason']}")
        if len(content["quarantined"]) > _SHOWN:
            tell(f"    and {len(content['quarantined']) - _SHOWN} more (--json lists all)")
    for note in content["notes"]:
        tell(f"  note: {note}")
    tell("  sample rows")
    for sample in content["sample_rows"]:
        patient = f", patient {sample['patient']}" if sample["patient"] else ""
        where = f"position {sample['position']}: row {sample['row']}"
        tell(f"    {where}, {sample['label']}{patient}, {sample['bytes']:,} bytes")
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    tell(f"  made by {versions}")
    tell(f"  card sha256 {content['card_sha256']}")
