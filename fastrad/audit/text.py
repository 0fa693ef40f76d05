"""Text that is burned into images, and whether it tells the label.

In: stored images, read by RapidOCR (Apache-2.0; its detection and recognition networks come in the package, so no
network is needed). Out: words with how often each class carries them. A word counts as a leak where its presence
and a class depend on each other (Fisher's exact test, Bonferroni-adjusted), or where it names a diagnosis.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from fastrad.dataset import Dataset
from fastrad.dataset.opening import reopened
from fastrad.errors import MissingDependencyError
from fastrad.system.processes import WorkerPool
from fastrad.system.progress import track

LEAK_P_VALUE = 0.01
# A word seen on fewer patients may be somebody's name: it is counted, never printed.
FEWEST_PATIENTS_TO_PRINT = 3
# Below this side length letters are a few pixels high; the detector finds more when they are enlarged.
ENLARGE_BELOW = 512
# Edges and speckle are read as a large "2" or "T" now and then. From this score of the reader's and this number of
# letters and digits on a string counts as text. On images that had no part in the choice: 0 of 315 without text are
# reported (60 of them at a score of 0.5 and 1 character), 41 of 41 of DDTI with "TIRADS n" are found; on the others
# any score from 0.62 to 0.91 keeps to 2 % and 95 % (benchmarks/text_threshold.py, results/text_threshold.json).
LOWEST_SCORE = 0.8
FEWEST_CHARACTERS = 2
_DIAGNOSIS = re.compile(
    r"T[I1L]?-?RADS?|B[I1L]-?RADS?|BETHESDA|BENIGN|MALIG|CARCIN|CANCER|TUMOU?R|ADENOMA|PAPILLAR|METAST", re.I
)


@dataclass(frozen=True)
class BurnedInWord:
    """One word as it was read.

    Attributes
    ----------
    word : str
        Upper case, letters only ("TIRADS4A" and "TIRADS 3" are one word).
    images, patients : int
        On how many it was read.
    by_class : dict of str to int
        Images of each class that carry it.
    p_value : float
        The smallest Bonferroni-adjusted p of Fisher's exact tests, one class against the rest.
    names_diagnosis : bool
        It is one of the words that reports use for a finding.
    """

    word: str
    images: int
    patients: int
    by_class: dict[str, int]
    p_value: float
    names_diagnosis: bool

    @property
    def is_leak(self) -> bool:
        """It depends on the class, or names a diagnosis."""
        return self.names_diagnosis or self.p_value < LEAK_P_VALUE

    def is_on(self, strings: Sequence[str]) -> bool:
        """Whether one of the strings that were read on an image holds the word."""
        return any(word == self.word for word in _words(strings))


def read_words(datasets: Sequence[Dataset], table: pd.DataFrame, chosen: np.ndarray, workers: int) -> list[list[str]]:
    """Read the text of the chosen samples.

    Parameters
    ----------
    datasets : sequence of Dataset
    table : pandas.DataFrame
        As `describe_samples` returns it.
    chosen : (n,) int64
        Positions in `table`.
    workers : int
        Processes.

    Returns
    -------
    list of list of str
        The strings that count as text (`is_text`) on each chosen image, as they were read.

    Raises
    ------
    MissingDependencyError
        If RapidOCR is not installed.
    """
    try:
        import rapidocr  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("rapidocr", "reading burned-in text", "pip install 'fastrad[audit]'") from error
    paths = [str(dataset.path) for dataset in datasets]
    jobs = [(paths[table.at[i, "dataset"]], int(table.at[i, "index"])) for i in chosen]
    words: list[list[str]] = []
    with track("audit: reading burned-in text", len(jobs)) as progress:
        if workers <= 1 or len(jobs) < 16:
            for job in jobs:
                words.append(_read_image(job))
                progress.advance()
        else:
            with WorkerPool(workers, "spawn") as pool:
                for found in pool.map(_read_image, jobs, chunksize=4):
                    words.append(found)
                    progress.advance()
    return words


def _read_image(job: tuple[str, int]) -> list[str]:
    path, index = job
    return read_text(_text_reader(), reopened(path).decode(index))


@cache
def _text_reader() -> object:
    from rapidocr import RapidOCR

    # One thread each: the images are spread over processes.
    one = {"EngineConfig.onnxruntime.intra_op_num_threads": 1, "EngineConfig.onnxruntime.inter_op_num_threads": 1}
    return RapidOCR(params={"Global.log_level": "error", **one})


def read_text(ocr: object, image: np.ndarray) -> list[str]:
    """The text on one (H, W) uint8 image: the strings that the reader finds and `is_text` believes."""
    return [string for string, score in read_strings(ocr, image) if is_text(string, score)]


def is_text(string: str, score: float) -> bool:
    """Whether a string is text rather than texture that resembles a character.

    Parameters
    ----------
    string : str
    score : float
        The reader's confidence, 0 to 1.
    """
    return score >= LOWEST_SCORE and sum(map(str.isalnum, string)) >= FEWEST_CHARACTERS


def read_strings(ocr: object, image: np.ndarray) -> list[tuple[str, float]]:
    """Every string that the reader finds on one (H, W) uint8 image, with its confidence from 0 to 1."""
    import cv2

    factor = max(1, round(ENLARGE_BELOW / max(image.shape)))
    if factor > 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    found = ocr(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), use_cls=False)  # type: ignore[operator]
    return [(str(string), float(score)) for string, score in zip(found.txts or (), found.scores or (), strict=True)]


def count_words(
    texts: Sequence[Sequence[str]], labels: Sequence[str], patients: Sequence[str]
) -> tuple[list[BurnedInWord], int]:
    """Count each word over the images and test whether it depends on the class.

    Parameters
    ----------
    texts : (n,) sequences of str
        What was read on each image.
    labels, patients : (n,) str
        The class of each image; its patient, or "" where unknown (then all such images may be one person's).

    Returns
    -------
    words : list of BurnedInWord
        Leaks first, then by number of images. Words of fewer than three patients are left out unless they name a
        diagnosis.
    unprinted : int
        How many words were left out.
    """
    carriers: dict[str, set[int]] = defaultdict(set)
    for position, strings in enumerate(texts):
        for word in _words(strings):
            carriers[word].add(position)
    label_array = np.asarray(labels, dtype=object)
    classes = sorted(set(labels))
    printable, unprinted = {}, 0
    for word, positions in carriers.items():
        people = {patients[i] for i in positions}
        if len(people) >= FEWEST_PATIENTS_TO_PRINT or _DIAGNOSIS.search(word):
            printable[word] = (positions, len(people))
        else:
            unprinted += 1
    tests = {
        (word, name): _dependence(label_array == name, positions)
        for word, (positions, _) in printable.items()
        for name in classes
    }
    words = [
        BurnedInWord(
            word=word,
            images=len(positions),
            patients=people,
            by_class={name: int((label_array[list(positions)] == name).sum()) for name in classes},
            p_value=min(1.0, len(tests) * min(tests[word, name] for name in classes)),
            names_diagnosis=bool(_DIAGNOSIS.search(word)),
        )
        for word, (positions, people) in printable.items()
    ]
    return sorted(words, key=lambda word: (not word.is_leak, -word.images, word.word)), unprinted


def _words(strings: Sequence[str]) -> Iterator[str]:
    for string in strings:
        for piece in string.upper().split():
            if len(word := _canonical(piece)) > 1:
                yield word


def _canonical(piece: str) -> str:
    diagnosis = _DIAGNOSIS.search(piece)
    if diagnosis and "RAD" in diagnosis.group():
        # The grade behind it varies and the reader takes I for 1 or L: one finding, one word.
        return "TIRADS" if diagnosis.group().startswith("T") else "BIRADS"
    if diagnosis:  # what stands around it may be a name
        return diagnosis.group()
    return re.sub(r"[^A-Z]", "", piece)


def _dependence(is_class: np.ndarray, positions: set[int]) -> float:
    carries = np.zeros(len(is_class), dtype=bool)
    carries[list(positions)] = True
    table = [
        [int((carries & is_class).sum()), int((carries & ~is_class).sum())],
        [int((~carries & is_class).sum()), int((~carries & ~is_class).sum())],
    ]
    return float(fisher_exact(table).pvalue)
