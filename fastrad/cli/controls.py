"""`fastrad controls`: can a study show an advantage that is there, and none where there is none?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastrad.cli.options import given, options_of
from fastrad.controls import ControlsPlan, run_controls, table


@click.command("controls")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@options_of(ControlsPlan, "seed", "device", "tuned")
def command(out: Path, **words: Any) -> None:
    """Positive and negative control of the study's method on generated images, into OUT: minutes on two cores.

    Exits with 1 where a control fails.
    """
    from fastrad.errors import FastradError

    found = run_controls(out, ControlsPlan(**given(ControlsPlan, words)))
    click.echo(table(found))
    click.echo(f"\n{out / 'controls.json'}: {found['seconds']:.0f} s")
    failed = [name.replace("_", " ") for name in ("positive_control", "negative_control") if not found[name]]
    if failed:
        raise FastradError(f"{out}: the {' and the '.join(failed)} failed; see the table")
