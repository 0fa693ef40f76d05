"""`fastrad bench`: how fast this machine loads and trains, beside what it could at best."""

from __future__ import annotations

import click

from fastrad.cli import CommandGroup


@click.command("bench", cls=CommandGroup, words="bench")
def command() -> None:
    """Measure this machine on a converted file."""
