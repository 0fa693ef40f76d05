"""Do an archive's gray levels survive 8 bits? Judged once, on a sample of it, before anything is converted.

Values of more than 8 bits are mapped onto 0 to 255 by the range that their stored bits can hold. Where an archive uses
a small part of it (12-bit values in 16-bit files), what is stored is nearly black; so that stops the conversion, and
the message names the window that would not. No image is ever stretched by its own minimum and maximum.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.convert.images import OF_THE_MACHINE, read_twice
from fastrad.convert.options import AUTO, WINDOWS, ConvertOptions
from fastrad.errors import InputError, OptionError
from fastrad.imaging import ImageError, read_values
from fastrad.imaging.decode import kind_of_8_bits
from fastrad.imaging.window import Window
from fastrad.system.progress import track

SAMPLE = 200  # images of each file suffix, spread evenly over the archive
LEAST_LEVELS = 64  # of 256 that a kind of source must use: a quarter
_LEAST_OF_LEVEL = 2e-4  # of the pixels: what a level holds that counts as used
_PIXELS = 4096  # of an image, spread evenly
_TAILS = 0.1, 99.9  # percentiles: a marker or a dead pixel is not the range in use
_SCALES_APART = 4  # the brightest values of two groups of images, one over the other: 12 bits among 16 are 16 apart
_LEAST_GROUP = 0.1  # of the images
_AUTO = 0.5, 99.5  # percentiles that --window auto makes black and white


def settle_window(manifest: Manifest, options: ConvertOptions) -> ConvertOptions:
    """The options with a window of two numbers, or none where the archive can do without.

    Raises
    ------
    InputError
        If too few gray levels would be left, or kinds of source or scales differ, which no window can serve.
    OptionError
        If "auto" finds nothing to choose from.
    """
    kinds = _sample(manifest)
    if isinstance(options.window, tuple):
        _refuse_mixed_depths(manifest, kinds)
        return options
    if options.window in WINDOWS:
        _refuse_other_units(manifest, kinds, options.window)
        return replace(options, window=WINDOWS[options.window], window_from=options.window)
    for kind, found in kinds.items():
        _refuse_two_scales(manifest, kind, found)
    if options.window == AUTO:
        return replace(options, window=_choose(manifest, kinds), window_from=AUTO)
    for kind, found in kinds.items():
        _refuse_few_levels(manifest, kind, found)
    _refuse_unknown_scale(manifest, kinds)
    return options


class _Kind:
    """Values of one kind of source, from many images."""

    def __init__(self, value_range: Window | None, bits: int, *, windowed: bool) -> None:
        self.range, self.bits, self.windowed = value_range, bits, windowed
        self._parts: list[np.ndarray] = []

    @property
    def is_deep(self) -> bool:
        """It holds more than 8 bits, and its files bring no window of their own."""
        return (self.bits > 8 or self.range is None) and not self.windowed

    def add(self, values: np.ndarray) -> None:
        self._parts.append(values.astype(np.float64))

    def percentiles(self, *shares: float) -> list[float]:
        return np.percentile(np.concatenate(self._parts), shares).tolist()

    def levels_used(self) -> int:
        """Of the 256 gray levels, how many hold a share of the pixels that is no marker's and no dead pixel's."""
        assert self.range is not None
        low, high = self.range
        pooled = np.concatenate(self._parts)
        levels = np.clip(np.rint((pooled - low) * (255 / (high - low))), 0, 255).astype(int)
        return int((np.bincount(levels, minlength=256) > _LEAST_OF_LEVEL * pooled.size).sum())

    def brightest(self) -> np.ndarray:
        """Of each image, sorted, how far its brightest values lie above the range's low end."""
        assert self.range is not None
        return np.sort([np.percentile(part, _TAILS[1]) for part in self._parts]) - self.range[0]

    def values_used(self) -> int:
        return len(np.unique(np.concatenate(self._parts)))


def _sample(manifest: Manifest) -> dict[str, _Kind]:
    """Values of up to `SAMPLE` images of each suffix, by kind of source; blank images left out."""
    table = manifest.table
    usable = np.flatnonzero((table["reason"] == "").to_numpy())
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, path in zip(usable.tolist(), table["path"].iloc[usable].tolist(), strict=True):
        rows[PurePosixPath(path).suffix.lower()].append(row)
    chosen = [
        members[place]
        for members in rows.values()
        for place in np.unique(np.linspace(0, len(members) - 1, SAMPLE).astype(int)).tolist()
    ]
    kinds: dict[str, _Kind] = {}
    with track("looking at gray levels", len(chosen)) as progress:
        for row in chosen:
            progress.advance(1)
            path, frame, box = (table[name].iloc[row] for name in ("path", "frame", "box"))
            try:
                if shallow := read_twice(partial(_kind_of_8_bits, manifest.root / path)):
                    kinds.setdefault(shallow, _Kind((0, 255), 8, windowed=False))
                    continue
                values = read_twice(
                    partial(read_values, manifest.root / path, frame=int(frame), box=box, within=manifest.root)
                )
            except (ImageError, OSError) as error:
                if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
                    raise
                continue  # the conversion lists it with its reason
            pixels = values.pixels.ravel()
            if pixels.dtype.kind == "f":
                pixels = pixels[np.isfinite(pixels)]
            pixels = pixels[:: max(1, pixels.size // _PIXELS)]
            if not pixels.size or np.ptp(np.percentile(pixels, _TAILS)) == 0:
                continue
            kinds.setdefault(values.kind, _Kind(values.range, values.bits, windowed=values.windowed)).add(pixels)
    return kinds


def _kind_of_8_bits(path: Path) -> str | None:
    """As of `imaging.decode`: most archives hold such files alone, which need not be decoded to be judged."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return kind_of_8_bits(file.read(32))


def _choose(manifest: Manifest, kinds: dict[str, _Kind]) -> tuple[float, float]:
    deep = {kind: found for kind, found in kinds.items() if found.is_deep}
    if not deep:
        raise OptionError(
            "--window auto: no image of a sample has more than 8 stored bits, no window of its own and more than one "
            "value; leave it out"
        )
    if len(kinds) > 1:
        raise InputError(
            f"{manifest.root}: holds several kinds of images ({', '.join(sorted(kinds))}), for which one window does "
            "not mean the same; convert them apart"
        )
    (found,) = deep.values()
    low, high = found.percentiles(*_AUTO)
    if found.range is not None:  # whole numbers
        low, high = float(np.floor(low)), float(np.ceil(high))
    if not low < high:
        raise InputError(f"{manifest.root}: a sample has nearly one value only ({low:g}); give --window LOW,HIGH")
    return low, high


def _refuse_few_levels(manifest: Manifest, kind: str, found: _Kind) -> None:
    if not found.is_deep or found.range is None:
        return
    least, greatest = found.range
    levels, values = found.levels_used(), found.values_used()
    if levels >= LEAST_LEVELS or values < 2 * levels:  # few values: no window would part them further
        return
    low, high = found.percentiles(*_TAILS)
    presets = f", or one of {', '.join(WINDOWS)}" if " CT" in kind else ""
    raise InputError(
        f"{manifest.root}: its images ({kind}) use the values {low:g} to {high:g} of {least:g} to {greatest:g}, which "
        f"leaves about {levels} of 256 gray levels; choose one window for the whole archive: --window auto, or "
        f"--window LOW,HIGH{presets}"
    )


def _refuse_two_scales(manifest: Manifest, kind: str, found: _Kind) -> None:
    """Images of one kind that were stored on two scales: pooled, the brighter ones hide what the darker ones lose."""
    if not found.is_deep or found.range is None:
        return
    brightest = found.brightest()
    least_group = max(2, int(np.ceil(_LEAST_GROUP * len(brightest))))
    splits = range(least_group, len(brightest) - least_group + 1)
    width = found.range[1] - found.range[0]
    for split in splits:
        dark, bright = brightest[split - 1], brightest[split]
        if bright >= _SCALES_APART * max(dark, 1) and dark * 256 < LEAST_LEVELS * width:
            raise InputError(
                f"{manifest.root}: {split} images of a sample ({kind}) use values up to {dark + found.range[0]:g} at "
                f"most, the other {len(brightest) - split} values from {bright + found.range[0]:g} on at their "
                "brightest, as if they were stored on two scales, and the darker ones would be nearly black; convert "
                "the two apart, or give --window LOW,HIGH for all of them"
            )


def _refuse_mixed_depths(manifest: Manifest, kinds: dict[str, _Kind]) -> None:
    if len({found.bits > 8 or found.range is None or found.windowed for found in kinds.values()}) > 1:
        raise InputError(
            f"{manifest.root}: holds images of 8 bits and deeper ones ({', '.join(sorted(kinds))}), for which one "
            "window does not mean the same; convert them apart"
        )


def _refuse_other_units(manifest: Manifest, kinds: dict[str, _Kind], name: str) -> None:
    others = sorted(kind for kind in kinds if " CT" not in kind)
    if others:
        raise InputError(
            f"{manifest.root}: --window {name} is in Hounsfield units, and its images ({', '.join(others)}) are not; "
            "give --window LOW,HIGH in their own units"
        )


def _refuse_unknown_scale(manifest: Manifest, kinds: dict[str, _Kind]) -> None:
    scaled = [kind for kind in kinds if "sBIT" in kind]
    plain = [kind for kind, found in kinds.items() if kind.startswith("PNG, ") and 8 < found.bits < 16]
    if scaled and plain:
        raise InputError(
            f"{manifest.root}: some of its images ({plain[0]}) hold values of those bits, others larger ones, scaled "
            "to 16 bits; convert them apart, or give --window LOW,HIGH"
        )
