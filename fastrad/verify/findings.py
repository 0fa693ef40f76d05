"""What `verify` has looked at and found: the types that it hands back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written.

    Attributes
    ----------
    part : str
        "file", "card", "header", "metadata", "page", "padding", "allocation table", "index", "sample" or "source".
    row : int or None
        Manifest row of the sample that is damaged; None where no sample, or no single one, is.
    reason : str
        What was found.
    """

    part: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was verified and found.

    Attributes
    ----------
    path : str
    samples : int
        Samples whose checksum was compared.
    pages, tars : int
        Pages of a beton file, or tar files, whose hash was compared.
    compared_with_source : int
        Samples whose pixels were made again from the source and compared.
    problems : tuple of Problem
    not_compared : tuple of Problem
        What could not be compared with the source, part "source": it says nothing about the dataset.
    """

    path: str
    samples: int = 0
    pages: int = 0
    tars: int = 0
    compared_with_source: int = 0
    problems: tuple[Problem, ...] = ()
    not_compared: tuple[Problem, ...] = ()

    @property
    def is_as_written(self) -> bool:
        """Whether every byte is what the card says; what differs then differs from the source alone."""
        return all(problem.part == "source" for problem in self.problems)

    @property
    def damaged_rows(self) -> list[int]:
        """Manifest rows of the damaged samples, ascending."""
        return sorted({problem.row for problem in self.problems if problem.row is not None})
