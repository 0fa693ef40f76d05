"""The failures a user can act on: each is one line that says what is wrong, where, and what to do.

The command line prints `str(error)` and exits 1; everything else that escapes is a defect of ours and
keeps its traceback.
"""

from __future__ import annotations


class FastradError(Exception):
    """Base of every failure that fastrad foresees. `str(error)` is one line without a line break."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class InputError(FastradError, ValueError):
    """What the user handed in (a path, a table, an option) cannot be used."""


class OptionError(InputError):
    """An option has a value that no data could make right; the command line exits 2, as for any wrong usage."""


class FormatError(FastradError, ValueError):
    """A file of ours (dataset, card, weights, checkpoint) is cut short, altered or of another kind."""


class DamagedSampleError(FastradError):
    """A stored sample does not match its checksum or cannot be decoded.

    Attributes
    ----------
    path : str
        The dataset file.
    row : int
        The sample's row in the manifest.
    reason : str
        What was found.
    """

    def __init__(self, path: str, row: int, reason: str) -> None:
        super().__init__(
            f"{path}: the sample of manifest row {row} is damaged ({reason}); "
            f"run `fastrad verify {path}`, or load with on_damage='skip'"
        )
        self.path, self.row, self.reason = path, row, reason

    def __reduce__(self):  # the default would call __init__ with the finished message
        return type(self), (self.path, self.row, self.reason)


class MissingDependencyError(FastradError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, purpose: str, install: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run: {install}")
