"""Which items of the reporting guidelines a study's page covers, and which are left to its authors.

Guidelines, by their published numbering: TRIPOD+AI (Collins et al., BMJ 2024;385:e078378, 27 items) and CLAIM 2024
(Tejani et al., Radiology: Artificial Intelligence 2024;6:e240300, 44 items). What an item asks for stands here in our
own words. "yes" only where the page shows all of it.
"""

from __future__ import annotations

from typing import NamedTuple

YES, PART, AUTHORS, NONE = "yes", "in part", "authors", "not applicable"


class ReportingItem(NamedTuple):
    """One item; `covered` is "yes", "in part", "authors" or "not applicable", `section` an id on the page or ""."""

    number: str
    topic: str
    covered: str
    where: str
    section: str = ""


def tripod_items(study: dict, *, subgroups: bool, errors: bool, epoch_chosen: bool) -> tuple[ReportingItem, ...]:
    """The items of TRIPOD+AI for a study.

    Parameters
    ----------
    study : dict
        `study.json`.
    subgroups, errors : bool
        Whether the page shows subgroups, and confident errors.
    epoch_chosen : bool
        Whether one of several epochs was chosen on validation patients.
    """
    counted = bool(study.get("characteristics"))
    weighted = study["protocol"]["recipe"].get("class_weighting")
    by_group = (PART, "AUROC by subgroup; how groups were chosen is the authors'", "subgroups")
    item = ReportingItem
    return (
        item("1", "Title", PART, "names the classes; population and setting are the authors'", "question"),
        item("2", "Abstract", AUTHORS, "not written by the software"),
        item("3a-c", "Context, intended use, known inequalities", AUTHORS, "not known to the software"),
        item("4", "Objectives", PART, "what is compared; development and internal evaluation", "question"),
        item(
            "5a", "Sources of the data", PART, "dataset and layout; how it was collected is the authors'", "provenance"
        ),
        item("5b", "Dates of the data", AUTHORS, "not known to the software"),
        item("6a", "Setting and centres", *_if(counted, PART, "as far as --attributes has them", "characteristics")),
        item("6b-c", "Eligibility, treatments", AUTHORS, "not known to the software"),
        item(
            "7",
            "Preparation and quality of the data",
            PART,
            "conversion parameters; quality is the authors'",
            "provenance",
        ),
        item("8a-c", "Outcome, its assessors, blinding", AUTHORS, "how the classes were established"),
        item("9a", "Choice of predictors", YES, "the image alone", "methods"),
        item(
            "9b",
            "Measurement of predictors",
            PART,
            "stored pixels; how they were acquired is the authors'",
            "provenance",
        ),
        item("9c", "Assessors of predictors", NONE, "no predictor is read by a person"),
        item(
            "10",
            "Sample size, with reasons",
            PART,
            "numbers and detectable difference; why so many is the authors'",
            "differences",
        ),
        item(
            "11",
            "Missing data",
            PART,
            "images without a label or not usable are counted; reasons are the authors'",
            "flow",
        ),
        item("12a", "Use and partition of the data", YES, "test set and folds", "methods"),
        item("12b", "Handling of predictors", YES, "size, augmentation, normalisation", "methods"),
        item(
            "12c",
            "Type of model, building, internal validation",
            YES,
            "network, recipe, choice of the epoch" if epoch_chosen else "network, recipe",
            "methods",
        ),
        item("12d", "Heterogeneity across clusters", *(by_group if subgroups else _LEFT)),
        item(
            "12e",
            "Measures and plots of performance",
            PART,
            "discrimination and calibration; clinical utility is not",
            "statistics",
        ),
        item("12f", "Updating after evaluation", NONE, "nothing was updated"),
        item("12g", "How predictions were computed", YES, "mean logit over images, folds, seeds", "statistics"),
        item("13", "Class imbalance", *_imbalance(bool(weighted))),
        item("14", "Fairness", AUTHORS, "no method was used to address it"),
        item(
            "15", "Output and threshold", YES, "probability; threshold fixed on the validation folds", "operating-point"
        ),
        item("16", "Differences between development and evaluation data", PART, _BESIDE, "characteristics"),
        item("17", "Ethical approval", AUTHORS, "not known to the software"),
        item("18a-e", "Funding, conflicts, protocol, registration, data", AUTHORS, "not known to the software"),
        item("18f", "Code", PART, "software and versions; the authors' own code is theirs", "provenance"),
        item("19", "Patient and public involvement", AUTHORS, "not known to the software"),
        item("20a", "Flow of participants", *_flow(study)),
        item("20b", "Characteristics of participants", PART, _COUNTED if counted else _UNCOUNTED, "characteristics"),
        item("20c", "Evaluation data compared with development data", *_compared(counted)),
        item(
            "21",
            "Participants and events in each analysis",
            PART,
            "development and test; each fold's are in splits.csv",
            "results",
        ),
        item(
            "22",
            "Full model",
            PART,
            "weights in runs/, used by fastrad predict; terms of use are the authors'",
            "provenance",
        ),
        item("23a", "Performance with intervals, subgroups", *(_PERFORMED if subgroups else _UNGROUPED)),
        item("23b", "Heterogeneity of performance", *(by_group if subgroups else _LEFT)),
        item("24", "Results of updating", NONE, "nothing was updated"),
        item(
            "25", "Interpretation", PART, "what the numbers do and do not show; the rest is the authors'", "conclusion"
        ),
        item("26", "Limitations", PART, "what the software knows of; the rest is the authors'", "conclusion"),
        item("27a-c", "Usability in care", AUTHORS, "not known to the software"),
    )


def claim_items(study: dict, *, subgroups: bool, errors: bool, epoch_chosen: bool) -> tuple[ReportingItem, ...]:
    """The items of CLAIM 2024 for a study; the parameters are those of `tripod_items`."""
    counted, hidden = bool(study.get("characteristics")), study["dataset"]["patient_ids"] == "pseudonym"
    external, item = bool(study["external"]), ReportingItem
    return (
        item(
            "1",
            "Identified as a study of AI",
            PART,
            "the headline and the lines under it; the paper's title is the authors'",
            "question",
        ),
        item("2", "Summary", AUTHORS, "not written by the software"),
        item("3", "Background, intended use", AUTHORS, "not known to the software"),
        item("4", "Aims, hypotheses", PART, "what is compared; hypotheses are the authors'", "question"),
        item("5", "Prospective or retrospective", AUTHORS, "not known to the software"),
        item("6", "Goal of the study", PART, "a comparison of starts; its goal in care is the authors'", "question"),
        item(
            "7", "Sources of data", PART, "dataset, layout, hash of its card; its origin is the authors'", "provenance"
        ),
        item(
            "8", "Inclusion and exclusion", PART, "images left out are counted; the criteria are the authors'", "flow"
        ),
        item("9", "Preprocessing", YES, "conversion parameters; size, augmentation, normalisation", "provenance"),
        item("10", "Selection of subsets", AUTHORS, "what was chosen before conversion"),
        item("11", "De-identification", *(_HIDDEN if hidden else _AS_THEY_ARE)),
        item("12", "Missing data", PART, "images without a label or not usable are counted", "flow"),
        item(
            "13", "Acquisition of images", *_if(counted, PART, "as far as --attributes has scanners", "characteristics")
        ),
        item("14-18", "Reference standard, annotators, variability", AUTHORS, "how the classes were established"),
        item("19", "Assignment to partitions", YES, "drawn or imported, with numbers", "methods"),
        item("20", "Level of separation", YES, "patients or images, as the methods say", "methods"),
        item(
            "21",
            "Intended sample size",
            PART,
            "what the test set could detect; what was intended is the authors'",
            "differences",
        ),
        item("22", "Model", YES, "network, stem, head, input, output", "methods"),
        item("23", "Software", YES, "versions", "provenance"),
        item("24", "Initialisation", YES, "the arms, with hashes of their weights", "arms"),
        item("25", "Training", YES, "recipe, augmentation, number of networks", "methods"),
        item("26", "Choice of the final model", *(_CHOSEN if epoch_chosen else _UNCHOSEN)),
        item("27", "Ensembling", YES, "mean logit over folds and seeds", "statistics"),
        item("28", "Metrics", YES, "named with their sources in the guide", "statistics"),
        item("29", "Significance and uncertainty", YES, "intervals, tests, adjustment", "statistics"),
        item("30", "Robustness", PART, "spread over folds and seeds", "variation"),
        item("31", "Explainability", *_if(errors, PART, "Grad-CAM of confident errors; not validated", "errors")),
        item("32", "Evaluation on internal data", YES, "cross-validation and held-out test set", "results"),
        item("33", "Testing on external data", *_if(external, YES, "external validation", "external")),
        item("34", "Registration", AUTHORS, "not known to the software"),
        item(
            "35", "Numbers included and excluded", PART, "images from conversion on; before it is the authors'", "flow"
        ),
        item("36", "Characteristics in each partition", *_compared(counted)),
        item("37", "Performance with uncertainty", YES, "on development and test data", "results"),
        item(
            "38",
            "Diagnostic performance and precision",
            YES,
            "sensitivity, specificity, predictive values",
            "operating-point",
        ),
        item(
            "39", "Failures", *_if(errors, PART, "the most confident errors; their analysis is the authors'", "errors")
        ),
        item("40", "Limitations", PART, "what the software knows of; the rest is the authors'", "conclusion"),
        item("41", "Implications for practice", AUTHORS, "not known to the software"),
        item(
            "42", "Protocol, further detail", PART, "command, seeds, hashes; the protocol is the authors'", "provenance"
        ),
        item(
            "43",
            "Availability of software, model, data",
            PART,
            "software and versions; the rest is the authors'",
            "provenance",
        ),
        item("44", "Funding", AUTHORS, "not known to the software"),
    )


_LEFT = (AUTHORS, "no subgroups were asked for (--subgroup)")
_BESIDE = "classes and --attributes of both beside each other; setting and eligibility are the authors'"
_COUNTED = "what --attributes has; dates and treatments are the authors'"
_UNCOUNTED = "numbers and classes; demographics need --attributes"
_PERFORMED = (YES, "tables and curves with intervals, subgroups", "results")
_UNGROUPED = (PART, "tables and curves with intervals; no subgroups were asked for", "results")
_HIDDEN = (PART, "pseudonyms by a keyed hash; text in the pixels is the authors' to check", "provenance")
_AS_THEY_ARE = (AUTHORS, "patient ids are as the source has them")
_CHOSEN = (YES, "the epoch, on validation patients", "methods")
_UNCHOSEN = (YES, "every network as its training left it: no epoch was chosen", "methods")


def _if(shown: bool, covered: str, where: str, section: str) -> tuple[str, ...]:
    return (covered, where, section) if shown else (AUTHORS, "not in this study")


def _imbalance(weighted: bool) -> tuple[str, str, str]:
    if weighted:
        return PART, "the loss was weighted, the logits shifted back; why is the authors'", "methods"
    return YES, "no method was used", "methods"


def _flow(study: dict) -> tuple[str, str, str]:
    if study["dataset"]["patient_ids"] == "none":
        return PART, "images alone: the archive names no patients", "flow"
    return YES, "flow diagram, with and without the outcome", "flow"


def _compared(counted: bool) -> tuple[str, str, str]:
    if counted:
        return YES, "development beside test", "characteristics"
    return PART, "numbers and classes of both; demographics need --attributes", "characteristics"
