"""`fastrad convert`: an archive of images, or shards made of one, into dataset files.

In: its folder and how its images are to be stored. Out: `train.beton`, `val.beton`, `test.beton` (or
`all.beton`), each with its card; a summary on stdout.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fastrad.archives import LAYOUTS
from fastrad.errors import OptionError

_FOLDER = click.Path(path_type=Path)
_PHANTOM_LAYOUTS = {"thyroid": "table", "radiology": "radimagenet", "natural": "folder"}
_REASONS_SHOWN = 8

_RUN_OPTIONS = [
    click.option("--workers", type=int, help="Processes. [the cores that may be used]"),
    click.option("--scheduler", metavar="tcp://HOST:PORT", help="Convert on the workers of this Dask cluster."),
    click.option("--dry-run", is_flag=True, help="Print the plan and the space that it needs; write nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
]
_OPTIONS = [
    click.option("--size", type=int, default=224, show_default=True, help="Side of the stored square, pixels."),
    click.option(
        "--fit",
        type=click.Choice(["pad", "squash", "crop"]),
        default="pad",
        show_default=True,
        help="Into the square: pad keeps the aspect ratio, squash stretches, crop takes the centre.",
    ),
    click.option(
        "--format",
        type=click.Choice(["beton", "webdataset"]),
        default="beton",
        show_default=True,
        help="What to write.",
    ),
    click.option(
        "--encode",
        type=click.Choice(["raw", "jpeg", "png"]),
        help="Betons: raw or jpeg; shards: png or jpeg. [raw, png]",
    ),
    click.option("--quality", type=click.IntRange(1, 100), help="Of the JPEG; only with --encode jpeg. [90]"),
    click.option(
        "--pass-png",
        is_flag=True,
        help="Shards of PNG: keep the bytes of a PNG that is as it would be stored (it is decoded to prove it).",
    ),
    click.option("--shard-size", metavar="BYTES", help="Of a tar, e.g. 500MB; only with --format webdataset. [1GiB]"),
    click.option("--window", metavar="LOW,HIGH", help="Stored values that become black and white. [the whole range]"),
    click.option(
        "--pseudonym-key", type=_FOLDER, help="File with the key of the patients' pseudonyms; made where missing."
    ),
    click.option("--keep-patient-ids", is_flag=True, help="Store patient ids as the source has them."),
]


def _run(function: Callable) -> Callable:
    """Give a command the options that say how a conversion runs."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


def _stored(function: Callable) -> Callable:
    """Give a command the options that say how images are stored."""
    function = _run(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class _WordsAfterLabels(click.Command):
    """Lets `--labels` take several words, `--labels malignant=1,M benign=0,B`, as it reads best."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        listing = False
        for place, word in enumerate(args):
            if word == "--labels":
                listing = _is_label("".join(args[place + 1 : place + 2]))
                words += [] if listing else [word]  # click says what is wrong
            else:
                listing = listing and _is_label(word)
                words += ["--labels", word] if listing else [word]
        return super().parse_args(ctx, words)


def _is_label(word: str) -> bool:
    return "=" in word and not word.startswith("-")


@click.group("convert")
def command() -> None:
    """Convert an archive of images into dataset files that `fastrad` and FFCV read.

    A run that was stopped, however it was, goes on when the same command is given again.
    """


@command.command("radimagenet")
@click.argument("root", type=_FOLDER)
@click.argument("out_dir")
@_stored
def radimagenet(root: Path, out_dir: str, **options: Any) -> None:
    """RadImageNet in ROOT (the folder with radiology_ai/ and the CSV files) into OUT_DIR."""
    _convert("radimagenet", root, out_dir, {}, options)


@command.command("thyroid", cls=_WordsAfterLabels)
@click.argument("root", type=_FOLDER, required=False)
@click.argument("out_dir", required=False)
@click.option("--layout", type=click.Choice([name for name in LAYOUTS if name != "radimagenet"]), help="What ROOT is.")
@click.option("--table", type=_FOLDER, help="Layout table: the CSV. [ROOT/labels.csv]")
@click.option("--columns", metavar="path=FILE,label=DX,...", help="Layout table: what the CSV's columns are called.")
@click.option("--labels", multiple=True, metavar="CLASS=VALUE,... ...", help="Layout table: what its values mean.")
@click.option("--crop", type=click.Choice(["nodule"]), help="Store the outlined nodule, with a margin.")
@click.option("--margin", type=float, help="Around the nodule, as a part of its longer side. [0.1]")
@click.option("--frames", metavar="first|middle|all|every:N", help="Of clips with several frames, which to store.")
@click.option("--doppler", type=click.Choice(["count", "exclude", "ignore"]), help="What to do about colour Doppler.")
@click.option("--ignore-splits", is_flag=True, help="Make one all.beton, which compare takes, of all splits.")
@click.option("--template", is_flag=True, help="Print a sample CSV for layout table, and stop.")
@_stored
def thyroid(
    root: Path | None,
    out_dir: str | None,
    layout: str | None,
    table: Path | None,
    columns: str | None,
    labels: tuple[str, ...],
    crop: str | None,
    margin: float | None,
    frames: str | None,
    doppler: str | None,
    ignore_splits: bool,
    template: bool,
    **options: Any,
) -> None:
    """Thyroid images in ROOT into OUT_DIR."""
    from fastrad.archives.table import parse_columns, parse_labels
    from fastrad.archives.table import template as sample_csv

    if template:
        print(sample_csv(), end="")
        return
    if root is None or out_dir is None or layout is None:
        raise click.UsageError("ROOT, OUT_DIR and --layout are needed (only --template goes without)")
    given = {
        "table": table,
        "columns": parse_columns(columns) if columns else None,
        "labels": parse_labels(labels) if labels else None,
        "crop": crop,
        "margin": margin,
        "frames": frames,
        "doppler": doppler,
        "ignore_splits": ignore_splits or None,
    }
    _convert(layout, root, out_dir, {name: value for name, value in given.items() if value is not None}, options)


@command.command("phantom")
@click.argument("out_dir")
@click.option("--kind", type=click.Choice(list(_PHANTOM_LAYOUTS)), required=True)
@click.option("--images", type=int, required=True, help="How many images to generate.")
@click.option("--seed", type=int, default=0, show_default=True)
@_stored
def phantom(out_dir: str, kind: str, images: int, seed: int, **options: Any) -> None:
    """Generated images: the archive goes to OUT_DIR/archive, the dataset files to OUT_DIR."""
    from fastrad.phantom import write_phantom

    if options["dry_run"]:
        raise OptionError("--dry-run: the images would have to be generated first; leave it out")
    archive = Path(out_dir) / "archive"
    write_phantom(kind, archive, images=images, seed=seed, workers=options["workers"])
    _convert(_PHANTOM_LAYOUTS[kind], archive, out_dir, {}, options)


@command.command("shards")
@click.argument("shard_dir")
@click.argument("out_dir")
@click.option(
    "--encode", type=click.Choice(["raw", "jpeg"]), default="raw", show_default=True, help="How betons store images."
)
@click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG made of PNG; JPEG stay as they are. [90]")
@_run
def shards(
    shard_dir: str, out_dir: str, encode: str, quality: int | None, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """WebDataset shards in SHARD_DIR (a folder or URL) into betons in OUT_DIR.

    The archive is not needed: size, fit, labels, patients and rows are those of the shards. PNG become the beton that
    the archive would become; with --encode jpeg, JPEG are taken as they are.
    """
    from fastrad.convert.run import ConvertOptions, read_shards

    found = read_shards(shard_dir)
    if quality is not None and (encode != "jpeg" or any(split.encoding == "jpeg" for split in found)):
        raise OptionError(f"--quality {quality}: nothing is encoded anew; it goes with shards of PNG and --encode jpeg")
    chosen = ConvertOptions(encode=encode, quality=quality or ConvertOptions.quality, **options)
    _carry_out(found, out_dir, chosen, dry_run, as_json)


def _convert(layout: str, root: Path, out_dir: str, source: dict[str, Any], options: dict[str, Any]) -> None:
    from fastrad.archives import read_source
    from fastrad.convert.run import ConvertOptions
    from fastrad.system.place import is_url

    dry_run, as_json = options.pop("dry_run"), options.pop("as_json")
    kept = {name: value for name, value in source.items() if name != "table"}
    options["window"] = _window(options["window"])
    shard_size = options.pop("shard_size")
    if shard_size is not None and options["format"] != "webdataset":
        raise OptionError(f"--shard-size {shard_size}: a beton is one file; it goes with --format webdataset")
    options["shard_bytes"] = _bytes(shard_size or "1GiB")
    if options["keep_patient_ids"] and options["pseudonym_key"] is not None:
        raise OptionError("--keep-patient-ids stores the ids themselves: leave it out, or --pseudonym-key")
    if "margin" in source and "crop" not in source:
        raise OptionError(f"--margin {source['margin']:g}: nothing is cropped; it goes with --crop nodule")
    options["encode"] = options["encode"] or ("raw" if options["format"] == "beton" else "png")
    if options["quality"] is None:
        del options["quality"]
    elif options["encode"] != "jpeg":
        raise OptionError(
            f"--quality {options['quality']}: {options['encode']} loses nothing; it goes with --encode jpeg"
        )
    chosen = ConvertOptions(**options, source_options=kept)
    manifest = read_source(layout, root, exclude=[] if is_url(out_dir) else [out_dir], **source)
    _carry_out(manifest, out_dir, chosen, dry_run, as_json)


def _carry_out(source: Any, out_dir: str, options: Any, dry_run: bool, as_json: bool) -> None:
    from fastrad.convert.run import convert, preview

    if not str(out_dir).strip():
        raise OptionError("OUT_DIR is empty: name a folder")
    if dry_run:
        _print_preview(preview(source, out_dir, options), as_json)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a time limit ends it as Ctrl-C does
    try:
        summary = convert(source, out_dir, options)
    except KeyboardInterrupt:
        print(f"fastrad: what is done is kept in {out_dir}; give the same command again to go on", file=sys.stderr)
        raise
    if as_json:
        print(json.dumps(summary.to_dict(), indent=1))
    else:
        _print_summary(summary)


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(f"--window {text}: two numbers LOW,HIGH are needed") from None
    return low, high


def _bytes(text: str) -> int:
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in units:
        raise OptionError(f"--shard-size {text}: a number with B, kB, MB, GB, KiB, MiB or GiB is needed")
    return int(float(found[1]) * units[found[2].upper()])


def _print_preview(preview: Any, as_json: bool) -> None:
    from fastrad.system.files import in_units

    files = [
        {
            "name": plan.name,
            "images": len(plan.rows),
            "classes": len(plan.source.classes),
            "patients": len(plan.source.patient_names),
            "chunks": plan.output.chunks,
            "bytes": plan.output.estimated_bytes if len(plan.rows) else 0,
        }
        for plan in preview.plans
    ]
    if as_json:
        print(json.dumps({"files": files, "bytes_needed": preview.bytes_needed, "bytes_free": preview.bytes_free}))
        return
    for file in files:
        print(
            f"{file['name']}: {file['images']:,} images, {file['classes']} classes, "
            f"{file['patients']:,} patients, {file['chunks']} chunks of work, {in_units(file['bytes'])}"
        )
    print(f"needs {in_units(preview.bytes_needed)}, {in_units(preview.bytes_free)} are free; nothing was written")


def _print_summary(summary: Any) -> None:
    from fastrad.system.files import in_units

    for file in summary.files:
        card = file.card
        counts = ", ".join(f"{name} {count:,}" for name, count in list(card.class_counts.items())[:_REASONS_SHOWN])
        more = len(card.classes) - _REASONS_SHOWN
        print(f"{file.path}{'  (finished before)' if file.done_before else ''}")
        print(
            f"  {card.samples:,} images of {len(card.patients):,} patients"
            if card.patients
            else f"  {card.samples:,} images"
        )
        print(f"  {len(card.classes)} classes: {counts}" + (f" and {more} more" if more > 0 else ""))
        shards = f" in {len(card.files())} shards" if card.format == "webdataset" else ""
        print(f"  {in_units(card.bytes)}{shards}, mean {card.mean:.4f}, std {card.std:.4f} of pixel/255")
        if card.unlabelled["count"]:
            patients = card.unlabelled.get("patients")
            print(
                f"  unlabelled, left out: {card.unlabelled['count']:,} images"
                + (f" of {patients:,} patients" if patients else "")
            )
        if card.quarantined:
            print(f"  quarantined: {len(card.quarantined):,} rows (listed in the card)")
        if card.synthetic:
            print("  synthetic: these images are generated")
    for reason, count in summary.quarantine_reasons[:_REASONS_SHOWN]:
        print(f"quarantined {count:,}: {reason}")
    if len(summary.quarantine_reasons) > _REASONS_SHOWN:
        print(f"quarantined for {len(summary.quarantine_reasons) - _REASONS_SHOWN} more reasons: see the cards")
    for split in summary.empty_splits:
        print(f"{split}: no row is usable, so no file is written")
    notes = dict.fromkeys(note for file in summary.files for note in file.card.notes)
    for note in (*notes, *summary.notices):
        print(f"note: {note}")
    if summary.key_path is not None:
        made = "made now; keep it, and keep it apart from the data" if summary.key_made else "as before"
        print(f"patients are pseudonyms by the key in {summary.key_path} ({made})")
    if summary.converted:
        rate = summary.converted / summary.seconds
        print(f"read {summary.converted:,} images in {summary.seconds:.1f} s, {rate:,.0f} images/s")
    else:
        print("everything was finished before; nothing to do (`fastrad verify --source` compares the pixels again)")
