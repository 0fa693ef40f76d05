"""The manifest: the one table between archives and conversion.

In: an archive's rows. Out: a typed table whose order is the archive's own; `row` is the position in it. A row that
cannot be used stays in the table with a reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fastrad.errors import InputError

COLUMNS = ("path", "frame", "label", "patient", "split", "box", "reason")
SPLITS = ("train", "val", "test")
NO_SPLIT = "has no split, while other rows have one"


@dataclass(frozen=True)
class Manifest:
    """One row an image, in the source's own order.

    Attributes
    ----------
    root : Path
        The folder that `path` is relative to.
    layout : str
        The source's name, for example "radimagenet".
    table : pandas.DataFrame
        Columns `path` (str, POSIX, relative to `root`), `frame` (int64, 0 for a still image), `label` (str, ""
        where there is none), `patient` (str, "" where unknown), `split` ("train", "val", "test" or ""), `box`
        (None or (left, top, right, bottom) in pixels, right and bottom excluded) and `reason` ("" for a usable
        row, else why it can't be used). The index is the row number.
    synthetic : bool
        True where the images are generated and stand in for real ones.
    notes : tuple of str
        What the reader of a summary should know about the archive, a line each.
    """

    root: Path
    layout: str
    table: pd.DataFrame
    synthetic: bool = False
    notes: tuple[str, ...] = field(default=())

    @staticmethod
    def from_columns(
        root: Path,
        layout: str,
        *,
        path: Sequence[str],
        label: Sequence[str] | str = "",
        patient: Sequence[str] | str = "",
        split: Sequence[str] | str = "",
        frame: Sequence[int] | int = 0,
        box: Sequence[tuple[int, int, int, int] | None] | None = None,
        reason: Sequence[str] | str = "",
        synthetic: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Manifest:
        """Build a manifest from columns of equal length; a scalar stands for a whole column.

        Parameters
        ----------
        root : Path
            The folder that `path` is relative to.
        layout : str
            The source's name.
        path, label, patient, split, frame, box, reason
            The columns of `table`, see the class; `box` may be None for a column of None.
        synthetic : bool
            Whether the images are generated.
        notes : tuple of str
            A line each.

        Returns
        -------
        Manifest

        Raises
        ------
        InputError
            If the columns differ in length or a split has another name than train, val or test.
        """
        count = len(path)

        def column(name: str, values: object) -> object:
            if isinstance(values, str | int):
                return [values] * count
            if len(values) != count:  # type: ignore[arg-type]
                raise InputError(f"manifest of {root}: column {name} has {len(values)} rows, path has {count}")  # type: ignore[arg-type]
            return values

        table = pd.DataFrame(
            {
                "path": pd.Series(path, dtype="str"),
                "frame": np.asarray(column("frame", frame), dtype=np.int64),
                "label": pd.Series(column("label", label), dtype="str"),
                "patient": pd.Series(column("patient", patient), dtype="str"),
                "split": pd.Series(column("split", split), dtype="str"),
                "box": pd.Series(column("box", box) if box is not None else [None] * count, dtype="object"),
                "reason": pd.Series(column("reason", reason), dtype="str"),
            }
        )
        unknown = sorted(set(table["split"].unique()) - {"", *SPLITS})
        if unknown:
            raise InputError(f"manifest of {root}: split {unknown[0]!r} is none of train, val, test")
        return Manifest(Path(root), layout, table, synthetic, notes)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def usable(self) -> np.ndarray:
        """Bool array, one a row: no reason speaks against it and it has a label."""
        return ((self.table["reason"] == "") & (self.table["label"] != "")).to_numpy()

    @property
    def unlabelled(self) -> np.ndarray:
        """Bool array, one a row: sound so far, but without a label."""
        return ((self.table["reason"] == "") & (self.table["label"] == "")).to_numpy()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in index order: the sorted labels of the train split, or of all rows where there is none.

        Taking them from the train split alone keeps the indices the same in every split's file.
        """
        rows = self.usable
        if (self.table["split"] == "train").any():
            rows = rows & (self.table["split"] == "train").to_numpy()
        return tuple(sorted(self.table["label"][rows].unique()))

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that occur, in the order train, val, test; ("",) where the source has none."""
        present = set(self.table["split"].unique())
        return tuple(name for name in ("", *SPLITS) if name in present)

    def without_splits(self) -> Manifest:
        """The same rows as one dataset; what spoke against a row only because of its split no longer does."""
        reasons = self.table["reason"].where(self.table["reason"] != NO_SPLIT, "")
        return replace(self, table=self.table.assign(split="", reason=reasons))

    def sha256(self) -> str:
        """The hash that the card carries: over every column of every row, in order; `root` is left out."""
        digest = hashlib.sha256()
        for name in COLUMNS:
            digest.update(f"{name}\n".encode())
            hashed = pd.util.hash_array(self.table[name].astype("str").to_numpy(dtype=object), categorize=True)
            digest.update(np.ascontiguousarray(hashed, dtype="<u8").tobytes())
        return digest.hexdigest()
