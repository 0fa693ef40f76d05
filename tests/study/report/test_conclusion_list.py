"""The conclusion says nothing that is not on its list, and everything that is on it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
from test_conclusion import ABOVE, ACROSS

from fastrad.study.inference.networks import NOTHING, NetworkDifference
from fastrad.study.inference.samples import Interval
from fastrad.study.report.conclusion import conclusion
from fastrad.study.report.conclusion_list import CONCLUSIONS


def filled(text: str) -> str:
    return ".+?".join(re.escape(part) for part in re.split(r"\{\w+\}", text))


def pattern(text: str) -> re.Pattern:
    """What a listed sentence looks like filled in: one of the parts in brackets, something for each brace."""
    parts = re.split(r"\[([^\]]*)\]", text)  # what is between brackets has odd places
    return re.compile(
        "".join(
            f"(?:{'|'.join(map(filled, part.split('|')))})" if place % 2 else filled(part)
            for place, part in enumerate(parts)
        )
    )


PATTERNS = [pattern(each.text) for each in CONCLUSIONS]


def conclusions(record, result, enough):
    """Of studies that differ in one thing each."""
    yield conclusion(record, result)
    yield conclusion({**record, "synthetic": False, "protocol": {**record["protocol"], "folds": 5}}, result)
    for networks, folds, bootstrap, holm in product((ABOVE, ACROSS), (ABOVE, ACROSS), (ABOVE, ACROSS), (0.01, 0.2)):
        found = enough(networks=networks, folds=folds, bootstrap=bootstrap, holm=holm, folds_holm=holm, shown=False)
        yield conclusion(record, found)
    yield conclusion(record, enough(shown=True))
    yield conclusion(record, enough(p_value=float("nan"), shown=False))
    second = {**record, "arms": [*record["arms"], {"name": "null", "label": "Second random start"}]}
    yield conclusion(second, enough(names=("null", "none"), shown=True))
    yield conclusion(second, enough(names=("null", "none"), networks=ACROSS, shown=False))
    alone = tuple(replace(each, network=NetworkDifference(0.1, None, None, NOTHING)) for each in result.differences)
    yield conclusion(record, replace(result, differences=alone))
    yield conclusion(record, replace(result, differences=alone, labels=np.arange(32) % 2))
    margin = {**record, "protocol": {**record["protocol"], "margin": 0.05}}
    for difference, error in ((0.0, 0.01), (0.06, 0.01), (-0.06, 0.01), (0.0, 0.1)):
        found = enough(difference=difference, networks=ACROSS, shown=False)
        own = found.differences[0].network.networks._replace(standard_error=error)
        network = replace(found.differences[0].network, networks=own, folds=own)
        yield conclusion(margin, replace(found, differences=(replace(found.differences[0], network=network),)))
    arm = result.arms[0]
    every = arm.operating_point.sensitivity._replace(estimate=1.0, interval=Interval(0.9, 1.0))
    few = every._replace(estimate=0.6, interval=Interval(0.5, 0.7))
    operating, validation = arm.operating_point, arm.validation_point
    for rate in ("sensitivity", "specificity"):
        parted = replace(
            arm,
            operating_point=operating._replace(**{rate: every}),
            validation_point=validation._replace(**{rate: few}),
        )
        yield conclusion(record, replace(result, arms=(parted, *result.arms[1:])))
    yield conclusion(record, replace(result, arms=result.arms[:2]))
    for count in (1, 5):
        largest = type("Largest", (), {"patients": count, "differences": result.differences})()
        yield conclusion(record, replace(result, largest_image=largest))


def test_each_listed_sentence_is_made_and_no_other(record, result, enough):
    made = set()
    for sentences in conclusions(record, result, enough):
        for sentence in sentences:
            matching = [index for index, known in enumerate(PATTERNS) if known.fullmatch(sentence)]
            assert len(matching) == 1, sentence
            made.add(matching[0])
    assert [CONCLUSIONS[index].text for index in range(len(CONCLUSIONS)) if index not in made] == []
