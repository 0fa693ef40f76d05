"""Where finished files go, whole and under their final names: a local folder, or a URL that fsspec opens."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fastrad.system.files import sync_folder
from fastrad.system.place import Place


class Destination(Place):
    """The output folder of a conversion.

    Attributes
    ----------
    work_dir : Path
        Where the work folders go: the folder itself; for a URL a local folder that the same command finds again.
    """

    def __init__(self, place: Path | str) -> None:
        super().__init__(place)
        if self.local:
            self.work_dir = Path(place)
        else:
            name = hashlib.sha256(str(self).encode()).hexdigest()[:16]
            cache = os.environ.get("XDG_CACHE_HOME")
            self.work_dir = (Path(cache) if cache else Path.home() / ".cache") / "fastrad" / "convert" / name

    def put(self, file: Path, name: str) -> None:
        """Move a finished, fsynced local file to its final name."""
        if self.local:
            os.replace(file, self.work_dir / name)
            sync_folder(self.work_dir)
        else:
            self._remote.makedirs(self._folder, exist_ok=True)
            self._remote.put_file(str(file), f"{self._folder}/{name}")
            file.unlink()
