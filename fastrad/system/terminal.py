"""What is printed: text that cannot steer a terminal, in any locale, whatever stands in a file name, a label or a card.

`protected` puts itself between a program and its standard streams, so that nothing that is printed goes another way: a
file name may hold an ESC sequence that clears the screen or sets its title, or a mark that turns the direction of
writing. It also settles what a closed or full stream means: what was to be told is lost, the work is not.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from fastrad.errors import FastradError

# C0 without tab and line feed, DEL, C1, marks of direction, separators of lines, half characters
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_OF_A_LINE = re.compile(f"[\t\n]|{_STEERING.pattern}")
PIPE_CLOSED = 128 + 13  # the status of a program that SIGPIPE ends, as `head` ends the one before it


class OutputError(FastradError):
    """The standard output takes no more, because its disk is full, say.

    Attributes
    ----------
    closed : bool
        Whoever read it has gone, which is no failure of ours.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the standard output cannot be written ({error.strerror}): give it another place")
        self.closed = error.errno == errno.EPIPE


def printable(text: str) -> str:
    r"""`text` with an escape in place of each character that would steer a terminal; tabs and line feeds stay.

    Examples
    --------
    >>> printable("scan\x1b[2J.png")
    'scan\\x1b[2J.png'
    """
    return _STEERING.sub(_escaped, text)


def one_line(text: object) -> str:
    r"""As `printable`, and no line feed either: for names and values within a line.

    Examples
    --------
    >>> one_line("a\nfastrad: sound")
    'a\\nfastrad: sound'
    """
    return _OF_A_LINE.sub(_escaped, str(text))


def tell(line: object) -> None:
    """Print one line on the standard output; what names and values within it hold makes no second one."""
    print(one_line(line))


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file's name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return found[0].encode("unicode_escape", "surrogatepass").decode()


class _Protected:
    """A text stream whose `write` takes only what a person is to read; everything else is the stream's own."""

    def __init__(self, stream: TextIO, *, must_arrive: bool) -> None:
        self._beneath, self._must_arrive = stream, must_arrive

    def write(self, text: str) -> int:
        encoding = self._beneath.encoding or "utf-8"
        safe = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        with self._failing_in_one_line():
            self._beneath.write(safe)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._failing_in_one_line():
            self._beneath.flush()

    @contextmanager
    def _failing_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # what is held back is tried again when the interpreter ends, and would be complained of
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._beneath.fileno())
                os.close(nowhere)
            if self._must_arrive:
                raise OutputError(error) from None

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # what click would write to instead, past us
            raise AttributeError(name)
        return getattr(self._beneath, name)


def beneath(stream: Any) -> Any:
    """The stream itself, for those who steer the terminal on purpose and protect what they print on their own."""
    return stream._beneath if isinstance(stream, _Protected) else stream


@contextmanager
def protected() -> Iterator[None]:
    """Protect the standard output and error until the end of the block, at which the output is flushed.

    Raises
    ------
    OutputError
        If the standard output takes no more. A standard error that takes no more is no reason to stop.
    """
    _fill_closed_streams()
    before = sys.stdout, sys.stderr
    sys.stdout = _Protected(sys.stdout, must_arrive=True)  # type: ignore[assignment]
    sys.stderr = _Protected(sys.stderr, must_arrive=False)  # type: ignore[assignment]
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before


def _fill_closed_streams() -> None:
    """Put /dev/null where a standard stream is closed: else the next file that is opened takes its number.

    What a library writes to "the standard error" would then stand in a dataset.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115
