"""Every sentence that a report can print, rendered: it stands on the page where it is true, and nowhere else."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fastrad.study.protocol.ledger import Scoring
from fastrad.study.report.conclusion_list import CONCLUSIONS
from fastrad.study.report.facts import Facts
from fastrad.study.report.folder import read_folder
from fastrad.study.report.page import render_page
from fastrad.study.report.provenance import ledger_lines
from fastrad.study.report.search import choices, trials
from fastrad.study.report.sentences import SENTENCES, said, title

TEMPLATES = Path(__file__).parents[3] / "fastrad" / "study" / "report" / "templates"


def changed(record: dict, **changes) -> dict:
    """A copy of a study's record; `a__b=3` sets what lies at a, b."""
    record = copy.deepcopy(record)
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = record
        for key in outer:
            place = place[key]
        place[last] = value
    return record


# What a study can be, one thing at a time; the last of them is what most real ones are.
VARIANTS: dict[str, dict] = {
    "as it is": {},
    "real images": {"synthetic": False},
    "DDTI": {"synthetic": False, "dataset__layout": "ddti"},
    "nodules alone": {"dataset__source_options": {"crop": "nodule", "margin": 0.2}},
    "a title": {"synthetic": False, "title": "Thyroid nodules of our own"},
    "a title of something else": {"synthetic": False, "title": "Breast lesions"},
    "no patients": {"dataset__patient_ids": "none"},
    "no patients, by count": {"dataset__images_without_patient": 90},
    "some patients": {"dataset__images_without_patient": 7},
    "splits of one's own": {"protocol__splits": "imported from site.csv"},
    "attributes": {"characteristics": [{"column": "sex", "value": "f", "development": 3, "test": 4}]},
    "frozen backbone": {"protocol__recipe__backbone_rate": 0.0},
    "slower backbone": {"protocol__recipe__backbone_rate": 0.1},
    "class weighting": {"protocol__recipe__class_weighting": True},
    "no flips": {"protocol__recipe__flip_average": False},
    "head first": {"protocol__recipe__head_first": 0.2},
    "a search": {"protocol__search": {"recipes": ["3e-4", "1e-3"], "parts": 2, "trials": []}},
    "a search with frozen features": {"protocol__search": {"recipes": ["3e-4", "frozen"], "parts": 2, "trials": []}},
    "rescored": {"rescored": {"altered": ["predictions.csv"], "networks": 16, "external": []}},
}


@pytest.fixture(scope="module")
def base(kept, sealed_study, reported):
    """Facts of the kept study of 0.1.0, and of the same one sealed."""
    found = {}
    for name, folder in (("0.1.0", kept), ("sealed", sealed_study)):
        study = read_folder(folder)
        values = json.loads((reported / "table.json").read_text())
        found[name] = (study, values)
    return found


def facts_of(base, version: str, **changes) -> tuple[Facts, object]:
    study, values = base[version]
    record = changed(study.study, **changes)
    values = {**values, "synthetic": record["synthetic"]}
    if searched(record):
        found = {"choices": choices(record), "trials": trials(record)}
        values |= {"search": found, "fixed_recipe": {"arms": [], "differences": []}}
    return Facts(record, values), study.current


def every_study(base):
    """The variants, and further states that no record shows."""
    for version in ("0.1.0", "sealed"):
        for name, changes in VARIANTS.items():
            yield f"{version}, {name}", *facts_of(base, version, **changes)
    plain, current = facts_of(base, "sealed", synthetic=False)
    arms = [{**arm, "frozen": False, "label": "my_tuned", "trained_on": "x"} for arm in plain.study["arms"]]
    yield "no frozen arm", Facts({**plain.study, "arms": arms}, plain.values), current
    whole = changed({**plain.study, "arms": arms}, protocol__search=VARIANTS["a search"]["protocol__search"])
    found = {"search": {"choices": [], "trials": []}, "fixed_recipe": {"arms": [], "differences": []}}
    yield "no frozen arm, and a search", Facts(whole, {**plain.values, **found}), current
    deep = [{**arm, "architecture": "resnet50"} if arm["name"] == "my_frozen" else arm for arm in arms]
    yield "another network", Facts({**plain.study, "arms": deep}, plain.values), current
    every = [{**arm, "architecture": "resnet34"} for arm in arms]
    yield "all of another network", Facts({**plain.study, "arms": every}, plain.values), current
    generated = [{**arm, "synthetic": arm["name"] == "radimagenet"} for arm in arms]
    yield "synthetic weights", Facts({**plain.study, "arms": generated}, plain.values), current
    other = Scoring("2026-01-02T03:04:05Z", "0.2.0", current.dataset, current.rows, {"rate": 1e-3})
    yield "hunted", Facts(plain.study, plain.values, (other,)), current
    looked = {"among": 900, "patients": 32, "possible": ["q"], "rows": []}
    found = [
        {**looked, "by": "radimagenet", "of": "test", "confirmed": ["p1", "p2"]},
        {**looked, "by": "radimagenet", "of": "development", "confirmed": ["p3"]},
        {**looked, "by": "", "of": "away", "confirmed": ["p4"]},
    ]
    copies = {"images": 90, "blank": 1, "identical": 2, "near": 3, "joined": 4}
    leaky = {**plain.study, "seen": found, "accepted_seen": "no other weights are to be had", "copies": copies}
    yield "seen images", Facts(leaky, plain.values), current
    clean = [{**each, "confirmed": []} for each in found]
    yield "no seen images", Facts({**leaky, "seen": clean, "accepted_seen": ""}, plain.values), current
    dropped = {**leaky, "seen": found[:1], "accepted_seen": ""}
    yield "seen test patients left out", Facts(dropped, plain.values), current
    every = [{**clean[0], "by": arm["name"]} for arm in plain.study["arms"] if arm["sha256"]]
    yield "fingerprints of every arm", Facts({**leaky, "seen": every}, plain.values), current
    gone = [{**every[0], "among": 0, "missing": 40, "unkept": False}, *every[1:]]
    yield "fingerprints that are not at hand", Facts({**leaky, "seen": gone}, plain.values), current
    partly = [{**every[0], "missing": 0, "unkept": True}, *every[1:]]
    yield "fingerprints of some images", Facts({**leaky, "seen": partly}, plain.values), current
    yield "unused", Facts(plain.study, plain.values, unused=("none-seed9-fold0",)), current
    yield "errors", Facts(plain.study, plain.values, errors=True), current
    yield "a learning curve", Facts(plain.study, plain.values, curve=True), current
    bare = copy.deepcopy(plain.values)
    bare.update(external=[], subgroups=[], seeds=[0])
    for arm in bare["arms"]:
        arm.update(seed_sd=None, parted=[])
    one = changed(plain.study, protocol__seeds=[0])
    yield "one seed, nothing else asked for", Facts(one, bare), current
    bare = copy.deepcopy(plain.values)
    bare["arms"][0]["parted"] = ["sensitivity"]
    yield "a threshold that does not carry over", Facts(plain.study, bare), current
    old = [{**each, "seal": ""} if index < 2 else each for index, each in enumerate(plain.study["networks"])]
    yield "networks of 0.1.0", Facts({**plain.study, "networks": old}, plain.values), current
    values = copy.deepcopy(plain.values)
    values["arms"][2]["cv_auroc"] = 0.05 + sum(map(sum, values["arms"][2]["test_auroc_by_seed_and_fold"])) / 4 + 1e-9
    values["arms"][2]["cv_auroc_sd"] = 0.03  # 0.05 is more than twice what it says of two folds
    yield "a chosen epoch that flatters", Facts(plain.study, values), current
    alike = copy.deepcopy(values)
    alike["arms"][2]["cv_auroc_sd"] = 0.05
    yield "a chosen epoch that flatters no more than chance", Facts(plain.study, alike), current
    alone = changed(plain.study, protocol__recipe__epochs=1)
    yield "a single epoch", Facts(alone, values), current
    flat = copy.deepcopy(plain.values)
    for arm in flat["arms"]:
        arm["cv_auroc"] = arm["test_auroc_by_seed_and_fold"][0][0] - 0.2
    yield "a chosen epoch that does not", Facts(plain.study, flat), current


def nameless(study: dict) -> str:
    images = study["development"]["images"] + study["test"]["images"]
    count = study["dataset"].get("images_without_patient", 0)
    if study["dataset"]["patient_ids"] == "none" or count == images:
        return "all"
    return "some" if count else "none"


def excess(study: dict, values: dict) -> float:
    if study["protocol"]["recipe"]["epochs"] == 1:
        return 0.0
    tuned = [arm["label"] for arm in study["arms"] if not arm["frozen"]]
    arms = [arm for arm in values["arms"] if arm["label"] in tuned]
    means = [sum(map(sum, arm["test_auroc_by_seed_and_fold"])) / 4 for arm in arms]
    found = [(arm["cv_auroc"] - mean, arm["cv_auroc_sd"]) for arm, mean in zip(arms, means, strict=True)]
    return max([most for most, sd in found if most > 2 * sd / study["protocol"]["folds"] ** 0.5], default=0.0)


def thyroid(study: dict) -> bool:
    return not study["synthetic"] and (
        study["dataset"]["layout"] in ("ddti", "tn3k", "tn5000", "thyroidxl", "aimi")
        or "thyroid" in (study.get("title") or "").lower()
    )


def searched(study: dict) -> bool:
    return "search" in study["protocol"]


def alike(study: dict) -> bool:
    return len({arm["architecture"] for arm in study["arms"]}) == 1 and not any(arm["frozen"] for arm in study["arms"])


def rate(study: dict) -> float:
    return study["protocol"]["recipe"]["backbone_rate"]


def found_of(facts: Facts, of: str, **more) -> bool:
    """Whether a look-up of these images found some."""
    wanted = {"of": of, **more}
    return any(
        each["confirmed"] != [] and all(each[name] == value for name, value in wanted.items())
        for each in facts.study.get("seen", [])
    )


def same_weights(study: dict) -> bool:
    known = [(arm["sha256"], arm["frozen"]) for arm in study["arms"] if arm["name"] != "none"]
    return len(known) != len(set(known))


# How each sentence begins, and when it is true, said a second time: of study.json, the values and the ledger alone.
TRUE: dict[str, Callable[[Facts], bool]] = {
    "One {network},": lambda f: alike(f.study),
    "{count} networks (": lambda f: not alike(f.study),
    "{tested} {unit} were held out": lambda f: True,
    "Synthetic images:": lambda f: f.study["synthetic"],
    "Synthetic weights:": lambda f: not f.study["synthetic"] and any(arm["synthetic"] for arm in f.study["arms"]),
    "DDTI's labels": lambda f: f.study["dataset"]["layout"] == "ddti",
    "One fixed recipe": lambda f: not searched(f.study),
    "The archive names no patients:": lambda f: nameless(f.study) == "all",
    "Not every image belongs": lambda f: nameless(f.study) == "some",
    "{one} and {other} begin with the same": lambda f: same_weights(f.study),
    "Test images of this study were scored": lambda f: len(f.earlier) > 0,
    "runs/ holds": lambda f: len(f.unused) > 0,
    "fastrad 0.1.0 made this study": lambda f: f.study["versions"]["fastrad"] == "0.1.0",
    "{unsealed} of the networks": lambda f: any(each["seal"] == "" for each in f.study.get("networks", [])),
    "These tables had been altered": lambda f: "rescored" in f.study,
    "{by_option}: so called": lambda f: any("trained_on" not in arm for arm in f.study["arms"]),
    "Cross-validated AUROC is too good": lambda f: excess(f.study, f.values) >= 0.05,
    "The abstract: Vahdati": lambda f: thyroid(f.study),
    "No network of this study was tuned or chosen on them": lambda f: (
        f.values["external"] != [] and not found_of(f, "away", by="")
    ),
    "Thresholds are those": lambda f: f.values["external"] != [],
    "The weights of {arm} have seen images of {confirmed} of {patients} test": lambda f: (
        found_of(f, "test") and f.study["accepted_seen"] != ""
    ),
    "The weights of {arm} have seen images of {confirmed} of {patients} dev": lambda f: found_of(f, "development"),
    "{of} is not external": lambda f: found_of(f, "away"),
    "{images} images were compared": lambda f: "copies" in f.study,
    "Of copies, fastrad 0.1.0": lambda f: "copies" not in f.study,
    "The images of {patients}": lambda f: sum(each["among"] for each in f.study.get("seen", [])) > 0,
    "The look-up misses": lambda f: len(f.study.get("seen", [])) > 0,
    "{arm}: its weights keep no": lambda f: (
        {each["by"] for each in f.study.get("seen", []) if not each.get("unkept")} - {""}
        != {arm["name"] for arm in f.study["arms"] if arm["name"] != "none"}
    ),
    "{arm}: its weights name": lambda f: any(each.get("missing", 0) > 0 for each in f.study.get("seen", [])),
    "Text burned": lambda f: True,
    "Test AUROC of the first seed's folds": lambda f: f.curve,
    "ROC curves": lambda f: True,
    "The ensembles, given": lambda f: f.study["protocol"]["seeds"] == [0],
    "One network; each": lambda f: f.study["protocol"]["seeds"] == [0, 1],
    "An interval that crosses": lambda f: True,
    "PPV, NPV": lambda f: True,
    "(!): the rate": lambda f: any(arm["parted"] for arm in f.values["arms"]),
    "AUROC of the ensembles, and": lambda f: f.values["subgroups"] != [],
    "One mark a network": lambda f: True,
    "{arm}: standard deviation": lambda f: True,
    "The ensembles' intervals hold": lambda f: f.study["protocol"]["seeds"] == [0, 1],
    "The intervals hold": lambda f: f.study["protocol"]["seeds"] == [0],
    "Five groups of": lambda f: True,
    "One network: mean": lambda f: True,
    "Detectable:": lambda f: True,
    "Test {unit} to whose true class": lambda f: f.errors,
    "What --attributes says": lambda f: "characteristics" in f.study,
    "Nothing but the classes": lambda f: "characteristics" not in f.study,
    "Patients, not images, were split": lambda f: nameless(f.study) == "none",
    "Patients were split where": lambda f: nameless(f.study) == "some",
    "Images, not patients, were split": lambda f: nameless(f.study) == "all",
    "For each tuned arm": lambda f: True,
    "The learning rate was {recipe_learning_rate} for": lambda f: rate(f.study) == 1 and not searched(f.study),
    "The learning rate was {recipe_learning_rate}, and": lambda f: rate(f.study) == 0.1,
    "The learning rate was {recipe_learning_rate}, the": lambda f: rate(f.study) == 0,
    "In the first {recipe_head_first}": lambda f: f.study["protocol"]["recipe"].get("head_first") == 0.2,
    "Each arm's learning rate": lambda f: searched(f.study),
    "Every arm had the same grid": lambda f: searched(f.study),
    "Where `frozen` was chosen": lambda f: searched(f.study) and "frozen" in f.study["protocol"]["search"]["recipes"],
    "Sensitivity analysis": lambda f: searched(f.study),
    "The loss weighted": lambda f: f.study["protocol"]["recipe"]["class_weighting"],
    "The loss was not": lambda f: not f.study["protocol"]["recipe"]["class_weighting"],
    "An image's score is the mean": lambda f: f.study["protocol"]["recipe"]["flip_average"],
    "An image's score is its": lambda f: not f.study["protocol"]["recipe"]["flip_average"],
    "Pixels were normalised": lambda f: True,
    "The epoch with the highest": lambda f: f.study["protocol"]["recipe"]["epochs"] > 1,
    "Cross-validated AUROC of an arm that is tuned": lambda f: f.study["protocol"]["recipe"]["epochs"] > 1,
    "Folds, seeds, order, augmentation, normalisation, head and": lambda f: alike(f.study) and not searched(f.study),
    "Folds, seeds, order, augmentation, normalisation, head, grid": lambda f: alike(f.study) and searched(f.study),
    "Folds, seeds and normalisation": lambda f: not alike(f.study) and not searched(f.study),
    "Folds, seeds, normalisation, grid": lambda f: not alike(f.study) and searched(f.study),
    "{arm} is another network": lambda f: len({arm["architecture"] for arm in f.study["arms"]}) > 1,
    "{arm}: not fine-tuned": lambda f: any(arm["frozen"] for arm in f.study["arms"]),
    "Of each image the outlined nodule alone": lambda f: (
        f.study["dataset"].get("source_options") == {"crop": "nodule", "margin": 0.2}
    ),
    "Test labels were used to stratify": lambda f: not f.study["protocol"]["splits"].startswith("imported"),
    "The split was imported": lambda f: f.study["protocol"]["splits"].startswith("imported"),
    "By the ledgers in the study's folder and in the user's configuration folder, its test images were": lambda f: (
        "scoring" in f.study and not f.earlier
    ),
    "By the ledgers in the study's folder and in the user's configuration folder, its test images, or": lambda f: (
        len(f.earlier) > 0
    ),
    "fastrad 0.1.0 kept no ledger": lambda f: f.study["versions"]["fastrad"] == "0.1.0",
    "Hashes of predictions": lambda f: f.study["versions"]["fastrad"] != "0.1.0",
    "The files of this study carry no seals": lambda f: f.study["versions"]["fastrad"] == "0.1.0",
}


def true_of(sentence, facts: Facts) -> bool:
    (condition,) = [holds for beginning, holds in TRUE.items() if sentence.text.startswith(beginning)]
    return condition(facts)


def text_of(page: str) -> str:
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_each_sentence_is_on_the_page_where_it_is_true_and_on_no_other(base):
    printed, left_out = set(), set()
    for name, facts, current in every_study(base):
        values = {**facts.values, "title": title(facts), "unit": facts.unit, "caveats": said("caveats", facts)}
        drawings = {"learning-curve": "<svg></svg>"} if facts.curve else {}
        shown = [{"arm": "none", "row": 3, "label": 1, "probability": 0.1, "src": "", "src_cam": ""}] * facts.errors
        page = text_of(render_page(facts, values, drawings, shown, ledger_lines(current, facts.earlier)))
        for sentence in SENTENCES:
            texts = [sentence.text.format_map({**facts.words, **case}) for case in sentence.cases(facts)]
            assert bool(texts) == true_of(sentence, facts), (name, sentence.text)
            assert all(" ".join(text.split()) in page for text in texts), (name, sentence.text)
            (printed if texts else left_out).add(sentence.text)
        assert not re.findall(r"\{[a-z_]+\}|None|Undefined", page), name
    assert printed == {sentence.text for sentence in SENTENCES}
    assert left_out == {sentence.text for sentence in SENTENCES if not sentence.condition.startswith("always")}


def test_a_page_says_nothing_that_is_not_in_the_list():
    """Between tags the templates hold headings, labels and names, and no sentence: four words and a full stop."""
    for path in TEMPLATES.glob("*.html"):
        source = re.sub(r"<style>.*?</style>|<defs>.*?</defs>", "", path.read_text(), flags=re.DOTALL)
        source = re.sub(r"\{%.*?%\}|\{#.*?#\}", " ", source, flags=re.DOTALL)
        source = re.sub(r"\{\{.*?\}\}", "X", source, flags=re.DOTALL)
        prose = [" ".join(text.split()) for text in re.findall(r">([^<>]+)<", source)]
        found = [text for text in prose if re.search(r"(?:\w+\W+){4,}\w+[.](?:\s|$)", text)]
        assert not found, path.name


def test_what_depends_on_the_archive_is_not_said_of_others(base):
    """Breasts without patients, under phantom weights."""
    facts, current = facts_of(base, "sealed", synthetic=False, dataset__patient_ids="none", title="Breast lesions")
    arms = [
        {**arm, "synthetic": arm["name"] != "none", "trained_on": "x", "label": arm["name"]}
        for arm in facts.study["arms"]
    ]
    named = json.dumps(facts.values).replace("RadImageNet", "radimagenet").replace("ImageNet", "imagenet")
    facts = Facts({**facts.study, "arms": arms, "notices": []}, json.loads(named))
    values = {**facts.values, "title": title(facts), "unit": facts.unit, "caveats": said("caveats", facts)}
    page = text_of(render_page(facts, values, {}, [], ledger_lines(current, ())))
    assert page.count("Breast lesions") == 2
    for wrong in ("hyroid", "RadImageNet", "ImageNet-1k", "Patients, not images", "CT, MR", "Vahdati", "slightly"):
        assert wrong not in page, wrong


def test_the_list_in_the_guide_is_this_one():
    listed = (Path(__file__).parents[3] / "docs" / "report-sentences.md").read_text()
    cells = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in listed.splitlines() if line.startswith("| ")]
    rows = [tuple(cell.replace("\\|", "|") for cell in row) for row in cells[2:]]
    filled = [(each.place, each.text, each.condition) for each in SENTENCES]
    filled += [("conclusion", each.text, each.condition) for each in CONCLUSIONS]
    assert rows == [(place, re.sub(r"\{(\w+)\}", r"`\1`", text), condition) for place, text, condition in filled]
