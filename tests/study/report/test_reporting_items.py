"""The guidelines' items: numbered as published, and "yes" only where the page has the section that shows it."""

from __future__ import annotations

import re

import pytest

from fastrad.study.report.reporting_items import claim_items, tripod_items


def numbers(items) -> list[str]:
    """Every item by its number, ranges written out: 18a-e is 18a, 18b, 18c, 18d, 18e."""
    found = []
    for item in items:
        whole = re.fullmatch(r"(\d+)([a-z]?)(?:-(\w+))?", item.number)
        assert whole, item.number
        number, letter, last = whole.groups()
        if last is None:
            found.append(f"{number}{letter}")
        elif last.isdigit():
            found += [str(each) for each in range(int(number), int(last) + 1)]
        else:
            found += [f"{number}{chr(code)}" for code in range(ord(letter), ord(last) + 1)]
    return found


def test_tripods_items_are_those_of_the_published_checklist_in_its_order(record):
    """Collins et al., BMJ 2024;385:e078378, table 2: 27 items, these of them with letters."""
    letters = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab"}
    letters[27] = "abc"
    expected = [f"{n}{letter}" for n in range(1, 28) for letter in letters.get(n, [""])]
    assert numbers(tripod_items(record, subgroups=True, errors=True, epoch_chosen=True)) == expected


def test_claims_items_are_those_of_the_2024_update(record):
    assert numbers(claim_items(record, subgroups=True, errors=True, epoch_chosen=True)) == [
        str(number) for number in range(1, 45)
    ]


@pytest.mark.parametrize(
    ("number", "topic"),
    [("10", "sample size"), ("16", "development and evaluation"), ("24", "updating"), ("13", "imbalance")],
)
def test_what_was_mapped_wrongly_before(record, number, topic):
    (item,) = [
        each for each in tripod_items(record, subgroups=True, errors=True, epoch_chosen=True) if each.number == number
    ]
    assert topic in item.topic.lower()
    assert item.covered != "yes" or number == "13"


@pytest.mark.parametrize(
    ("number", "topic"),
    [("20", "separation"), ("24", "initialisation"), ("27", "ensembling"), ("33", "external"), ("36", "partition")],
)
def test_claims_topics_stand_at_their_numbers(record, number, topic):
    (item,) = [
        each for each in claim_items(record, subgroups=True, errors=True, epoch_chosen=True) if each.number == number
    ]
    assert topic in item.topic.lower()


def covered(items, number: str) -> str:
    return next(item.covered for item in items if item.number == number)


def test_items_follow_the_study(record):
    shown = {"subgroups": False, "errors": False, "epoch_chosen": True}
    counted = {**record, "characteristics": [{"column": "sex", "value": "f", "development": 3, "test": 4}]}
    assert covered(tripod_items(record, **shown), "20c") == "in part"
    assert covered(tripod_items(counted, **shown), "20c") == "yes"
    assert covered(claim_items(record, **shown), "36") == "in part"
    assert covered(claim_items(counted, **shown), "36") == "yes"
    assert covered(tripod_items(record, **shown), "23a") == "in part"
    assert covered(tripod_items(record, subgroups=True, errors=False, epoch_chosen=True), "23a") == "yes"
    assert covered(claim_items({**record, "external": []}, **shown), "33") == "authors"
    nameless = {**record, "dataset": {**record["dataset"], "patient_ids": "none"}}
    assert covered(tripod_items(record, **shown), "20a") == "yes"
    assert covered(tripod_items(nameless, **shown), "20a") == "in part"
    hidden = {**record, "dataset": {**record["dataset"], "patient_ids": "pseudonym"}}
    assert covered(claim_items(record, **shown), "11") == "authors"
    assert covered(claim_items(hidden, **shown), "11") == "in part"
    weighted = {**record, "protocol": {**record["protocol"], "recipe": {"class_weighting": True}}}
    assert covered(tripod_items(weighted, **shown), "13") == "in part"


def test_a_choice_of_the_epoch_is_claimed_only_where_there_was_one(record):
    for chosen in (True, False):
        shown = {"subgroups": False, "errors": False, "epoch_chosen": chosen}
        (built,) = [item.where for item in tripod_items(record, **shown) if item.number == "12c"]
        (final,) = [item.where for item in claim_items(record, **shown) if item.number == "26"]
        assert ("choice of the epoch" in built) is chosen
        assert ("on validation patients" in final) is chosen
        assert ("no epoch was chosen" in final) is not chosen


def test_every_section_that_an_item_points_to_is_on_the_page(reported, record):
    page = (reported / "report.html").read_text()
    sections = set(re.findall(r'id="([^"]+)"', page))
    links = re.findall(r'<td class="(?:yes|part)">(?:yes|in part)</td><td>(?:<a href="#([^"]+)">)?', page)
    assert len(links) > 50
    assert set(links) <= sections
