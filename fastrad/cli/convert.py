"""`fastrad convert`: an archive of images, or shards made of one, into dataset files.

In: its layout and folder, and how its images are to be stored. Out: `train.beton`, `val.beton`, `test.beton` (or
`all.beton`), each with its card; a summary on stdout. Each layout of `fastrad.archives.LAYOUTS` is a command, whose
options are the layout's own and those of every conversion.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastrad.archives import LAYOUTS, layout_module, options_for_card, read_source
from fastrad.cli import CommandGroup
from fastrad.cli.options import given, parameters_of
from fastrad.errors import OptionError
from fastrad.system.files import in_units
from fastrad.system.progress import say

if TYPE_CHECKING:  # `convert --help` imports neither
    from fastrad.archives.manifest import Manifest
    from fastrad.convert.run import ConvertOptions
    from fastrad.dataset.tar.shards import ShardSet


class _ConvertGroup(CommandGroup):
    """The layouts, then the commands that are modules."""

    def commands_and_help(self) -> dict[str, str]:
        return {**LAYOUTS, **super().commands_and_help()}

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return _layout_command(name) if name in LAYOUTS else super().get_command(ctx, name)


@click.command("convert", cls=_ConvertGroup, words="convert")
def command() -> None:
    """Convert an archive of images into dataset files that `fastrad` and FFCV read.

    A run that was stopped, however it was, goes on when the same command is given again.
    """


class LayoutCommand(click.Command):
    """Lets an option of pairs take several words as it reads best: `--labels malignant=1,M benign=0,B`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [each for each in self.params if isinstance(each, click.Option)]
        of_pairs = {word for each in options if each.multiple and "=" in (each.metavar or "") for word in each.opts}
        words: list[str] = []
        option = ""  # whose pairs are being read
        for place, word in enumerate(args):
            if word in of_pairs:
                option = word if _is_pair("".join(args[place + 1 : place + 2])) else ""
                words += [] if option else [word]  # click says what is wrong
            else:
                option = option if _is_pair(word) else ""
                words += [option, word] if option else [word]
        return super().parse_args(ctx, words)


def _is_pair(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def _layout_command(layout: str) -> click.Command:
    module = layout_module(layout)

    def convert_layout(root: Path, out_dir: str, **words: Any) -> None:
        convert_archive(layout, root, out_dir, given(module.Options, words), words)

    parameters = [
        click.Argument(["root"], type=click.Path(path_type=Path)),
        click.Argument(["out_dir"]),
        *parameters_of(module.Options),
        *split_options(),
        *([template_option(module.template)] if hasattr(module, "template") else []),
        *conversion_parameters(),
    ]
    text = f"Convert ROOT into OUT_DIR.\n\n{LAYOUTS[layout]}"
    return LayoutCommand(layout, params=parameters, callback=convert_layout, help=text)


def split_options() -> list[click.Option]:
    """The options that every layout takes."""
    one = "Make one all.beton, which compare takes, of all splits."
    drawn = "Make a validation split of this fraction of the training patients, where the archive has none."
    return [
        click.Option(["--ignore-splits"], is_flag=True, help=one),
        click.Option(["--val-fraction"], type=float, metavar="FRACTION", help=drawn),
    ]


def template_option(template: Callable[[], str]) -> click.Option:
    """`--template`, which prints a layout's sample table and stops, whatever else is missing."""

    def show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked:
            print(template(), end="")
            ctx.exit()

    text = "Print a sample CSV for layout table, and stop."
    return click.Option(["--template"], is_flag=True, is_eager=True, expose_value=False, callback=show, help=text)


def conversion_parameters(*names: str) -> list[click.Parameter]:
    """Options of a conversion: all that `ConvertOptions` has, or the named ones; and what is to be printed."""
    from fastrad.convert.run import ConvertOptions

    return [
        *parameters_of(ConvertOptions, *names),
        click.Option(["--dry-run"], is_flag=True, help="Print the plan and the space that it needs; write nothing."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the summary as JSON."),
    ]


def convert_archive(layout: str, root: Path, out_dir: str, source: Mapping[str, Any], words: Mapping[str, Any]) -> None:
    """Read an archive and convert it: `source` is given to the layout, `words` is what click parsed for the rest."""
    from fastrad.system.place import is_url

    if not str(out_dir).strip():
        raise OptionError("OUT_DIR is empty: name a folder")
    if words.get("ignore_splits"):
        source = {**source, "ignore_splits": True}
    if words.get("val_fraction") is not None:
        source = {**source, "val_fraction": words["val_fraction"]}
    options = _conversion(words, options_for_card(source))
    manifest = read_source(layout, root, exclude=[] if is_url(out_dir) else [out_dir], **source)
    carry_out(manifest, out_dir, options, words)


def _conversion(words: Mapping[str, Any], source_options: Mapping[str, Any]) -> ConvertOptions:
    """The conversion that was asked for; refuses options that would do nothing."""
    from fastrad.convert.run import ConvertOptions

    values = given(ConvertOptions, words)
    options = ConvertOptions(**values, source_options=source_options)
    if "shard_bytes" in values and options.format != "webdataset":
        size = in_units(options.shard_bytes)
        raise OptionError(f"--shard-size {size}: a beton is one file; it goes with --format webdataset")
    if options.keep_patient_ids and options.pseudonym_key is not None:
        raise OptionError("--keep-patient-ids stores the ids themselves: leave it out, or --pseudonym-key")
    if "quality" in values and options.encode != "jpeg":
        raise OptionError(f"--quality {options.quality}: {options.encode} loses nothing; it goes with --encode jpeg")
    return options


def carry_out(
    source: Manifest | Sequence[ShardSet], out_dir: str, options: ConvertOptions, words: Mapping[str, Any]
) -> None:
    """Convert, or with `--dry-run` plan only, and print what came of it."""
    from fastrad.convert.run import convert, preview

    if not str(out_dir).strip():
        raise OptionError("OUT_DIR is empty: name a folder")
    if words["dry_run"]:
        plan = preview(source, out_dir, options)
        print(json.dumps(plan.to_dict()) if words["as_json"] else plan.to_text())
        return
    try:
        summary = convert(source, out_dir, options)
    except KeyboardInterrupt:
        say(f"fastrad: what is done is kept in {out_dir}; give the same command again to go on")
        raise
    print(json.dumps(summary.to_dict(), indent=1) if words["as_json"] else summary.to_text())
