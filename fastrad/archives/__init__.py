"""Archives on disk to manifests: one module a layout. `LAYOUTS` is the only list of them.

In: a folder and the name of its layout. Out: a `Manifest` in the archive's own order; rows that can't be used are kept
with a reason. Of each file how it begins is read, for its frames; but no still image of RadImageNet, 1.35 million of
which take minutes on a network disk. What is missing or damaged is found when it is read, and files of another spelling
by listing folders. `read_gray(path, within=root)` then also refuses a file that is a link out of ROOT; folders that are
such links, `..` and paths outside ROOT are refused here.

To add a layout:

1. Write `archives/NAME.py`. It knows neither dataset files nor torch, and holds two things:

       @dataclass(frozen=True)
       class Options:
           \"\"\"What can be chosen.

           Attributes
           ----------
           views : str
               Which views to take: this line is the help of `--views`.
           \"\"\"

           views: str = field(default="all", metadata={"choices": ("all", "axial")})

       def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
           found = walk_images(root, exclude)                     # of archives without a table; else `read_csv`
           rows = [Row(path, label=..., patient=..., split=..., reason=reason) for path, reason in found]
           return manifest_of_rows(root, "NAME", rows, found.notes)

   A layout without options has an empty `Options`. What metadata may say is in `cli/options.py`; what the command line
   cannot check, `__post_init__` refuses with an `OptionError`. `base.py` has the row, the split names, boxes around
   outlines and the checks that all layouts share; `imaging/walk.py` lists a folder's images, and its `WalkOptions` are
   `--include` and `--exclude`; `system/csv_file.py` reads tables. What is said of clips and of whole screens comes by
   itself.
2. Add `"NAME": "what ROOT holds, on one line"` to `LAYOUTS`.

That is all: `fastrad convert NAME ROOT OUT` is there with its options and help, `convert thyroid --layout NAME` too,
the options are kept in the card, and `verify --source` reads the archive again with them. A test in `tests/archives/`
writes a small archive of that layout and says what its table must be.
"""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fastrad.errors import InputError, OptionError

if TYPE_CHECKING:  # pandas is imported with the first layout that is read
    from collections.abc import Mapping, Sequence

    from fastrad.archives.manifest import Manifest

__all__ = ["LAYOUTS", "layout_module", "options_for_card", "read_source"]

# name -> what ROOT holds; the layout `name` is the module `fastrad.archives.<name>`.
LAYOUTS = {
    "radimagenet": "RadImageNet: radiology_ai/ (or the folder that holds it) and the official CSV files, if any.",
    "ddti": "DDTI: N.xml and N_k.jpg in one folder.",
    "tn3k": "TN3K: trainval-image/, test-image/, label4trainval.csv, label4test.csv.",
    "tn5000": "TN5000: JPEGImages/, Annotations/, ImageSets/; or {Train,Valid,Test}/{Benign,Malignant}/.",
    "thyroidxl": "ThyroidXL: {train,test}/images/ and {train,test}_annotations.json.",
    "aimi": "Stanford AIMI thyroid cine clips: dataset.hdf5 and metadata.csv.",
    "table": "Images or DICOM files, and a CSV path,label,patient[,split][,frame].",
    "folder": "One folder a class, or train/, val/ and test/ of such.",
}


def layout_module(layout: str) -> ModuleType:
    """The module of a layout, with its `Options` and `read`.

    Parameters
    ----------
    layout : str
        One of `LAYOUTS`.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    return import_module(f"fastrad.archives.{layout}")


def read_source(
    layout: str,
    root: Path | str,
    *,
    exclude: Sequence[Path | str] = (),
    ignore_splits: bool = False,
    val_fraction: float | None = None,
    **options: Any,
) -> Manifest:
    """Read an archive's table of contents.

    Parameters
    ----------
    layout : str
        One of `LAYOUTS`.
    root : Path
        The archive's folder.
    exclude : sequence of Path
        Folders that hold no source images, such as an output folder inside `root`.
    ignore_splits : bool
        Read an archive that comes with splits as one dataset: `compare` makes its own, by patient.
    val_fraction : float, optional
        Of the training patients, to become the validation split of an archive without one.
    **options
        Of the layout: the fields of its `Options`.

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
    from fastrad.archives.base import settle_splits
    from fastrad.archives.clips import notes_on_files

    module = layout_module(layout)
    known = [each.name for each in fields(module.Options)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(f"layout {layout} has no option {unknown[0]!r}; it takes {', '.join(known) or 'none'}")
    if ignore_splits and val_fraction is not None:
        raise OptionError("--val-fraction draws a split, which --ignore-splits would ignore: give one of them")
    root = Path(root).absolute()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    chosen = module.Options(**options)
    if ignore_splits and hasattr(module, "without_splits"):
        chosen = module.without_splits(chosen)
    manifest = module.read(root, chosen, exclude=exclude)
    assert manifest.layout == layout, f"{module.__name__} calls its layout {manifest.layout!r}"
    published = layout == "radimagenet"  # 1.35 million PNG
    found = notes_on_files(manifest.root, manifest.table, stills_by_name=published)
    manifest = replace(manifest, notes=(*manifest.notes, *found))
    if ignore_splits:
        return manifest.without_splits()
    if val_fraction is not None:
        from fastrad.archives.validation import draw_validation

        manifest = draw_validation(manifest, val_fraction)
    return settle_splits(manifest)


def options_for_card(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of options given to `read_source`, those that a card keeps: all but paths, which lead nowhere elsewhere.

    Parameters
    ----------
    options : mapping
        Name to value.

    Returns
    -------
    dict
        To be given to `read_source` again, with the paths as they are then.
    """
    return {name: value for name, value in options.items() if not isinstance(value, Path)}
