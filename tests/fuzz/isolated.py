"""Runs cases in a child process, so that a crash of a decoder or an endless loop is a failed test, not a dead one.

In: a function of this folder's test modules and a list of cases. Out: what it returned for each, in order. The child
serves one call after another, because importing torch takes seconds; after a death the next call starts another.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
from collections.abc import Callable, Sequence
from typing import Any

_MEMORY = 4 << 30  # bytes that a child may take for itself; a declared size must not be believed
_IMPORTS = 90  # seconds more for the first case of a call


class Unforeseen(str):
    """An exception that no error of ours stands for: always a defect."""


class _Child:
    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def end(self) -> int | None:
        self.process.kill()
        self.process.join()
        return self.process.exitcode


_children: list[_Child] = []


def run_isolated(function: Callable[[Any], Any], cases: Sequence[tuple[str, Any]], seconds: float = 20) -> list[Any]:
    """Call `function` on the second part of each case in a child; the first names it.

    Parameters
    ----------
    seconds : float
        For one case.

    Returns
    -------
    list
        What `function` returned; an `Unforeseen` where it raised.

    Raises
    ------
    AssertionError
        If the child dies or takes longer, naming the case.
    """
    if not _children:
        _children.append(_Child())
    child = _children[0]
    results: list[Any] = []
    for number, (name, case) in enumerate(cases):
        try:
            child.connection.send((function, case))
            if not child.connection.poll(seconds + (0 if number else _IMPORTS)):
                _children.clear()
                child.end()
                raise AssertionError(f"{name}: no answer within {seconds:.0f} s")
            results.append(child.connection.recv())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            _children.clear()
            child.process.join(5)
            raise AssertionError(f"{name}: the process died (exit {child.end()})") from None
    return results


def _serve(connection: Any) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    while True:
        try:
            function, case = connection.recv()
        except EOFError:
            return
        try:
            result = function(case)
        except Exception as error:
            result = Unforeseen(f"{type(error).__name__}: {error}")
        connection.send(result)
