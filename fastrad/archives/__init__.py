"""Archives on disk to manifests: one module a layout, each with `read(root, **options) -> Manifest`.

In: a folder and the name of its layout. Out: a `Manifest` in the source's own order; rows that can't be used are kept
with a reason. No image is opened and no file is looked for here (1.35 million look-ups take minutes on a network
disk): what is missing or damaged is found when it is read. `read_gray(path, within=root)` then also refuses a file that
is a link out of ROOT; folders that are such links, `..` and absolute paths are refused here.

Layouts and their options (every layout also takes `exclude`, folders that are left out of the walk):

    layout        what ROOT holds                                              options
    radimagenet   radiology_ai/ (or is it) and the official CSVs, if any       -
    ddti          N.xml and N_k.jpg in one folder                              crop, margin
    tn3k          trainval-image/, test-image/, label4trainval.csv, ...        -
    tn5000        {Train,Valid,Test}/{Benign,Malignant}/*.png                  -
    thyroidxl     {train,test}/images/, {train,test}_annotations.json          crop, margin
    aimi          dataset.hdf5 and metadata.csv                                frames ("all")
    table         images or DICOM files, and a CSV path,label,patient[,split]  table, columns, labels, frames, doppler
    folder        one folder a class, or train/ val/ test/ of such             -

    crop      "nodule": boxes from the archive's outlines; "" (default): whole images
    margin    what a box is widened by on each side, as a part of its longer side (0.1)
    table     path of the CSV (ROOT/labels.csv)
    columns   dict of our names (path, label, patient, split, frame) to the CSV's; made by `parse_columns`
    labels    dict of class to the list of values that mean it, other values are excluded; made by `parse_labels`
    frames    of clips: "first", "middle", "all" or "every:N"; for table "first" by default
    doppler   colour Doppler: "count" or "exclude" looks at every image, "ignore" at none, "" (default) at DICOM only

`template()` is the text of a sample CSV for `table`.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError, OptionError

LAYOUTS = {
    "radimagenet": "fastrad.archives.radimagenet",
    "ddti": "fastrad.archives.ddti",
    "tn3k": "fastrad.archives.tn3k",
    "tn5000": "fastrad.archives.tn5000",
    "thyroidxl": "fastrad.archives.thyroidxl",
    "aimi": "fastrad.archives.aimi",
    "table": "fastrad.archives.table",
    "folder": "fastrad.archives.folder",
}

__all__ = ["LAYOUTS", "layout_options", "parse_columns", "parse_labels", "read_source", "template"]


def layout_options(layout: str) -> tuple[str, ...]:
    """The names of the options that a layout takes, `exclude` among them.

    Raises
    ------
    InputError
        If the layout is unknown.
    """
    return tuple(inspect.signature(_reader(layout)).parameters)[1:]


def read_source(layout: str, root: Path | str, *, ignore_splits: bool = False, **options: object) -> Manifest:
    """Read an archive's table of contents.

    Parameters
    ----------
    layout : str
        One of `LAYOUTS`.
    root : Path
        The archive's folder.
    ignore_splits : bool
        Read an archive that comes with splits as one dataset: `compare` makes its own, by patient.
    **options
        What the layout takes (see the module), among them `exclude`: folders that hold no source images, such as an
        output folder inside `root`.

    Returns
    -------
    Manifest
        One row an image, in the archive's own order; `root` absolute.

    Raises
    ------
    InputError
        If the layout or an option is unknown, the folder is missing or not in that layout, or its table can't be
        used as a whole.
    """
    read = _reader(layout)
    allowed = layout_options(layout)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise OptionError(f"layout {layout} has no option {unknown[0]!r}; it takes {', '.join(allowed)}")
    root = Path(root).absolute()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    manifest = read(root, **options)
    if ignore_splits:
        return manifest.without_splits()
    from fastrad.archives.base import settle_splits

    return settle_splits(manifest)


def _reader(layout: str):
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    return import_module(LAYOUTS[layout]).read


def __getattr__(name: str) -> object:  # pandas and csv parsing are imported only where they are used
    if name in ("parse_columns", "parse_labels", "template"):
        return getattr(import_module("fastrad.archives.table"), name)
    raise AttributeError(f"module 'fastrad.archives' has no attribute {name!r}")
