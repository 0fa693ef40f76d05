"""Which items of the reporting guidelines a study's output covers, and which are left to its authors.

Guidelines: TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), by item number; CLAIM 2024 (Tejani et al., Radiology:
Artificial Intelligence 2024;6:e240300), by topic.
"""

from __future__ import annotations

from typing import NamedTuple


class ReportingItem(NamedTuple):
    """`where` names the section or file; `covered` is "yes", "in part" or "authors"."""

    tripod: str
    claim: str
    covered: str
    where: str


def reporting_items(study: dict) -> tuple[ReportingItem, ...]:
    """The items, with what depends on the study as it was.

    Parameters
    ----------
    study : dict
        `study.json`.
    """
    hidden = study["dataset"]["patient_ids"] == "pseudonym"
    splits = "stratified splits" if study["protocol"]["splits"].startswith("drawn") else "splits as imported"
    return (
        *_BEFORE,
        ReportingItem(
            "7 Data preparation",
            "Preprocessing, de-identification",
            "yes" if hidden else "in part",
            "provenance: conversion parameters; "
            + ("pseudonyms" if hidden else "patient ids are as the source has them"),
        ),
        *_BETWEEN,
        ReportingItem(
            "13 Class imbalance", "Data partitions, prevalence", "yes", f"{splits}; class weighting in the recipe"
        ),
        *_BEHIND,
    )


_BEFORE = (
    ReportingItem(
        "3-4 Background, objectives",
        "Introduction: aims and hypotheses",
        "in part",
        "the question; rationale is the authors'",
    ),
    ReportingItem(
        "5 Data", "Data sources", "in part", "provenance: dataset, card hash; dates and sites are the authors'"
    ),
    ReportingItem(
        "6, 20 Participants",
        "Eligibility, flow of participants",
        "in part",
        "flow diagram; demographics are the authors'",
    ),
)
_BETWEEN = (
    ReportingItem("8 Outcome", "Reference standard", "authors", "how benign and malignant were established"),
    ReportingItem("9 Predictors", "Model input", "yes", "one gray image a view, size in the provenance"),
    ReportingItem("10 Sample size", "Sample size and detectable effect", "yes", "detectable difference at 80 % power"),
    ReportingItem("11 Missing data", "Missing data", "yes", "flow diagram: images without a label, and not usable"),
    ReportingItem("12 Analytical methods", "Training, evaluation, statistics", "yes", "methods and statistics"),
)
_BEHIND = (
    ReportingItem("14 Fairness", "Subgroups", "authors", "subgroups where --subgroup was given; choosing them"),
    ReportingItem("15 Model output", "Model output", "yes", "probability; threshold fixed on validation folds"),
    ReportingItem("16 Training versus evaluation", "Data partitions, leakage", "yes", "splits.csv, by patient"),
    ReportingItem(
        "17-19 Ethics, open science, patients", "Registration, funding, access", "authors", "not known to the software"
    ),
    ReportingItem(
        "21-22 Model development, specification",
        "Model, initialisation, ensembling",
        "yes",
        "provenance; runs/ holds every network",
    ),
    ReportingItem(
        "23 Model performance",
        "Performance with intervals, failure analysis",
        "yes",
        "table, curves, calibration, confident errors",
    ),
    ReportingItem("24 Model updating", "External testing", "in part", "external columns where --external was given"),
    ReportingItem(
        "25-27 Interpretation, limitations, usability",
        "Discussion",
        "in part",
        "conclusion as computed; the rest is the authors'",
    ),
)
