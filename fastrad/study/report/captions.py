"""The sentences under tables and figures."""

from __future__ import annotations

from fastrad.study.report.sentence import Sentence, always, where

CAPTIONS = (
    Sentence(
        "published",
        "The abstract: Vahdati, Khosravi, Rouzrokh, Erickson; 721 patients, 145 of them held out. The journal's "
        "version: JACR 2024, doi 10.1016/j.jacr.2024.06.011, 101 test patients. Their patients, with thyroid nodules, "
        "are others than these: the figures stand beside arms whose weights may be of that kind, to compare their "
        "order, not to be equalled.",
        "the images are real thyroid nodules, by the layout or by --title",
        where(lambda facts: facts.thyroid),
    ),
    Sentence(
        "external",
        "No network of this study was tuned or chosen on them.",
        "there is an external set, and no image of one was found in the study; `compare` refuses a set of the study's "
        "own patients",
        where(
            lambda facts: (
                facts.values["external"] and not any(each["by"] == "" and each["confirmed"] for each in facts.seen)
            )
        ),
    ),
    Sentence(
        "external",
        "Thresholds are those of the validation folds.",
        "there is an external set",
        where(lambda facts: facts.values["external"]),
    ),
    Sentence(
        "roc",
        "ROC curves on the held-out {unit}. Bands: pointwise 95 %, {unit} resampled within their class, the same "
        "resamples for every arm.",
        "always",
        always,
    ),
    Sentence(
        "differences",
        "The ensembles, given these networks.",
        "there is one seed",
        where(lambda facts: facts.one_seed),
    ),
    Sentence(
        "differences",
        "One network; each interval is the widest of networks and folds as readers and of these very networks.",
        "there are several seeds",
        where(lambda facts: not facts.one_seed),
    ),
    Sentence(
        "differences",
        "An interval that crosses the line at 0 shows no difference. Gray: too small to be found here with 80 % power.",
        "always",
        always,
    ),
    Sentence(
        "operating-point",
        "PPV, NPV and AUPRC hold at this test set's prevalence of {prevalence:.3f}, which is also the AUPRC of a "
        "random score. Threshold: largest Youden index over the validation folds, on copies of the scores calibrated "
        "on each network's own fold.",
        "always",
        always,
    ),
    Sentence(
        "operating-point",
        "(!): the rate on the test set differs from that on the validation folds by more than chance allows.",
        "sensitivity or specificity of some arm differs so",
        where(lambda facts: any(arm.get("parted") for arm in facts.values["arms"])),
    ),
    Sentence(
        "subgroups",
        "AUROC of the ensembles, and differences of {compared}, with 95 % intervals. Small groups have wide intervals; "
        "differences between groups are not tested.",
        "there are subgroups",
        where(lambda facts: facts.values["subgroups"]),
    ),
    Sentence("variation", "One mark a network ({folds} folds, seeds: {seeds}), line: mean.", "always", always),
    Sentence(
        "variation",
        "{arm}: standard deviation of the test AUROC over networks {sd:.3f}.",
        "always, of each arm",
        lambda facts: [{"arm": arm["label"], "sd": arm["network_auroc_sd"]} for arm in facts.values["arms"]],
    ),
    Sentence(
        "variation",
        "The ensembles' intervals hold for the sampling of {unit} alone; those of one network hold for other networks "
        "too.",
        "there are several seeds",
        where(lambda facts: not facts.one_seed),
    ),
    Sentence(
        "variation",
        "The intervals hold for the sampling of {unit} alone, not for this spread.",
        "there is one seed",
        where(lambda facts: facts.one_seed),
    ),
    Sentence(
        "curve",
        "Test AUROC of the first seed's folds together, against the number of training {unit}.",
        "there is a learning curve",
        where(lambda facts: facts.curve),
    ),
    Sentence(
        "calibration",
        "Five groups of {unit}, of equal size, by predicted probability (calibrated copies of the scores), with 95 % "
        "intervals. On the dashed line the probabilities are right.",
        "always",
        always,
    ),
    Sentence(
        "errors",
        "Test {unit} to whose true class an arm gave the least probability. Right: Grad-CAM, what spoke for the wrong "
        "answer, mean over the first seed's folds. It shows where, not why.",
        "pictures of confident errors are there",
        where(lambda facts: facts.errors),
    ),
    Sentence(
        "characteristics",
        "What --attributes says of the {unit}, counted. Columns of names, dates or too many values are left out.",
        "--attributes was given",
        where(lambda facts: facts.study.get("characteristics")),
    ),
    Sentence(
        "characteristics",
        "Nothing but the classes is known of the {unit}: no --attributes were given.",
        "--attributes was not given",
        where(lambda facts: not facts.study.get("characteristics")),
    ),
)
