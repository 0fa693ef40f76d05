"""The command line: one thin click command a file, named as the command is, and imported when it is called.

Exit status: 0 on success, 2 on wrong usage, 1 on failure with one clear line on stderr. Tracebacks only with
`--debug`.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any

import click

import fastrad
from fastrad.errors import FastradError, OptionError
from fastrad.system.processes import deliver_lost_interrupts, end_fork_server
from fastrad.system.terminal import PIPE_CLOSED, OutputError, one_line, protected

# Words -> one-line help. The command `bench loaders` is `fastrad.cli.bench_loaders:command`, and so on; the layouts of
# `convert` are beside it, from `fastrad.archives.LAYOUTS`.
COMMANDS = {
    "convert": "Convert an archive of images into dataset files.",
    "convert phantom": "Generated images of three kinds.",
    "convert shards": "WebDataset shards, without their archive, into betons.",
    "convert thyroid": "As `convert LAYOUT`, with the layout as an option.",
    "inspect": "Say what a dataset file and its card hold.",
    "verify": "Prove a dataset file unchanged, or name what is damaged.",
    "audit": "Look for copies, leaks, blanks and burned-in text in datasets.",
    "pretrain": "Pretrain a ResNet on a converted archive.",
    "evaluate": "Test a pretrained network on a dataset, with intervals.",
    "export": "Write pretrained weights for torchvision, timm or ONNX.",
    "compare": "Compare three initialisations on thyroid nodules.",
    "predict": "Score new patients with the networks of a finished study.",
    "power": "How many patients and networks a difference needs.",
    "report": "Write the tables, figures and page of a finished study again.",
    "bench": "Measure how fast this machine loads and trains.",
    "bench loaders": "Images/s of each engine beside the limits of this machine.",
    "bench train": "Images/s of training beside a constant batch and the plain recipe.",
    "controls": "Positive and negative control of the study on generated images.",
    "demo": "Run the whole path on synthetic images.",
    "doctor": "Say what works here, what is missing, and the command that fixes it.",
}


class CommandGroup(click.Group):
    """The commands of `COMMANDS` after some words, each imported when it is called: `--help` need not import torch.

    Parameters
    ----------
    words : str
        Those before the commands, "bench" say; none for the program itself.
    """

    def __init__(self, *arguments: Any, words: str = "", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.words = words

    def commands_and_help(self) -> dict[str, str]:
        """Each command's last word, and what it does."""
        found = {}
        for words, text in COMMANDS.items():
            before, _, last = words.rpartition(" ")
            if before == self.words:
                found[last] = text
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands_and_help())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        words = f"{self.words} {name}".strip()
        return import_module(f"fastrad.cli.{words.replace(' ', '_')}").command if words in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.commands_and_help().items()))


@click.command("fastrad", cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fastrad.__version__, prog_name="fastrad")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(debug: bool) -> None:
    """Grayscale medical images: convert, load, pretrain, and compare initialisations honestly."""


def set_environment() -> None:
    """What torch and OpenCV read when they are imported, here and in worker processes.

    OpenMP's threads otherwise spin at every barrier, and one other busy process on a core makes training on a CPU
    several times slower; waiting passively costs nothing measurable on an idle machine. OpenCV otherwise writes lines
    about damaged files, without their names; ours say more.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Parameters
    ----------
    arguments : list of str, optional
        The words after `fastrad`; `sys.argv[1:]` by default. `--debug` is understood at any place.
    """
    set_environment()
    deliver_lost_interrupts()
    _stop_as_by_ctrl_c()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with protected():
            try:
                _run(words, debug)
            finally:
                end_fork_server()
    except OutputError as error:
        if error.closed:
            sys.exit(PIPE_CLOSED)
        _say(error)
        sys.exit(1)


def _stop_as_by_ctrl_c() -> None:
    """Let a time limit (SIGTERM) and a lost connection (SIGHUP) end a command in order; `nohup` goes on ignoring it."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _run(words: list[str], debug: bool) -> None:
    try:
        # Without its stand-alone mode click returns the status of an Exit, and None where a command just ends.
        status = cli.main(words, prog_name="fastrad", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status)
    except OutputError:
        raise
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        if debug:
            raise
        _say("stopped by Ctrl-C or a signal")
        sys.exit(130)
    except FastradError as error:
        if debug:
            raise
        _say(error)
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except OSError as error:
        if debug:
            raise
        _say(_os_error_line(error))
        sys.exit(1)
    except MemoryError:
        if debug:
            raise
        _say("out of memory; use fewer --workers or smaller images, or give the process more")
        sys.exit(1)


def _say(what: object) -> None:
    print(f"fastrad: {one_line(what)}\n", end="", file=sys.stderr)  # in one piece: ranks may share it


def _os_error_line(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    return f"{where}{what}{_WAY_OUT.get(error.errno or 0, '')}"


_FULL = "; free some space or choose a folder on another disk, and give the command again (pretrain: with --resume)"
_WAY_OUT = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EEXIST: "; it is a file where a folder is needed: choose another name",
    errno.ENOTDIR: "; a file stands where a folder is needed: choose another path",
    errno.EACCES: "; you may not read or write there: choose another path, or ask for the right to",
    errno.EROFS: "; nothing can be written there: choose another path",
    errno.EIO: "; the disk or its connection fails: look at `dmesg`, and give the command again",
    errno.ELOOP: "; a link stands there, or links that point at each other: choose another path",
}
