"""`fastrad convert thyroid ROOT OUT --layout LAYOUT`: what `convert LAYOUT ROOT OUT` does, as 0.1.0 spelled it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastrad.archives import LAYOUTS, layout_module
from fastrad.archives.table import template
from fastrad.cli.convert import (
    LayoutCommand,
    conversion_parameters,
    convert_archive,
    split_options,
    template_option,
)
from fastrad.cli.options import help_of, parameters_of

_LAYOUTS = [layout for layout in LAYOUTS if layout != "radimagenet"]


def _convert_thyroid(root: Path | None, out_dir: str | None, layout: str | None, **words: Any) -> None:
    if root is None or out_dir is None or layout is None:
        raise click.UsageError("ROOT, OUT_DIR and --layout are needed (only --template goes without)")
    names = [str(option.name) for option in _options_of_layouts()]
    source = {name: words[name] for name in names if words[name] not in (None, ())}
    convert_archive(layout, root, out_dir, source, words)


def _options_of_layouts() -> list[click.Option]:
    """The options of all the layouts, each once, with the layouts that take it."""
    found: dict[str, click.Option] = {}
    takers: dict[str, list[str]] = {}
    for layout in _LAYOUTS:
        settings = layout_module(layout).Options
        for option in parameters_of(settings):
            name = str(option.name)
            takers.setdefault(name, []).append(layout)
            kept = found.setdefault(name, option)
            # without a default, which may differ between layouts
            kept.help = f"{', '.join(takers[name])}: {help_of(settings).get(name, '')}"
    return list(found.values())


command = LayoutCommand(
    "thyroid",
    params=[
        click.Argument(["root"], type=click.Path(path_type=Path), required=False),
        click.Argument(["out_dir"], required=False),
        click.Option(["--layout"], type=click.Choice(_LAYOUTS), help="What ROOT is."),
        *_options_of_layouts(),
        *split_options(),
        template_option(template),
        *conversion_parameters(),
    ],
    callback=_convert_thyroid,
    help="Thyroid images in ROOT into OUT_DIR: the same as `fastrad convert LAYOUT ROOT OUT_DIR`.",
)
