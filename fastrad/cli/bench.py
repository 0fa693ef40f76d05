"""`fastrad bench`: how fast this machine loads and trains, beside what it could at best."""

from __future__ import annotations

from importlib import import_module

import click

# name -> (module, one-line help); the command is the module's `command`
_COMMANDS = {
    "loaders": ("fastrad.cli.bench_loaders", "Images/s of each engine beside the limits of this machine."),
    "train": ("fastrad.cli.bench_train", "Images/s of training beside a constant batch and the plain recipe."),
}


class _LazyBenchmarks(click.Group):
    """Imports a benchmark when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return import_module(_COMMANDS[name][0]).command if name in _COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command("bench", cls=_LazyBenchmarks)
def command() -> None:
    """Measure this machine on a converted file."""
