"""The first sentences of a report: what was compared, and the caveats that change what the numbers mean."""

from __future__ import annotations

from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.sentence import Sentence, always, where

CV_EXCESS = 0.05  # of AUROC: from here on a cross-validated figure is a caveat of its own

LEAD = (
    Sentence(
        "lead",
        "One {network}, {count} starts ({arms}): {positive} against {negatives}.",
        "every arm is the same network, tuned",
        where(lambda facts: not facts.others and not facts.frozen),
    ),
    Sentence(
        "lead",
        "{count} networks ({arms}): {positive} against {negatives}.",
        "an arm is another network, or frozen",
        where(lambda facts: facts.others or facts.frozen),
    ),
    Sentence(
        "lead",
        "{tested} {unit} were held out: no network of this study was tuned or chosen on them.",
        "always: `compare` refuses a split where it would be false",
        always,
    ),
)

CAVEATS = (
    Sentence("caveats", SYNTHETIC_NOTE, "the dataset's card says synthetic", where(lambda facts: not facts.real)),
    Sentence(
        "caveats",
        "Synthetic weights: {synthetic_arms} started from weights of generated images; their numbers say nothing "
        "about pretraining on real ones.",
        "the images are real and an arm's weights say synthetic",
        where(lambda facts: facts.real and facts.synthetic_weights),
    ),
    Sentence(
        "caveats",
        "DDTI's labels are readers' TI-RADS categories, not pathology: malignant here means suspicious.",
        "the dataset has the layout ddti",
        where(lambda facts: facts.dataset["layout"] == "ddti"),
    ),
    Sentence(
        "caveats",
        "One fixed recipe tuned every arm: the order of the arms can depend on it (--search chooses one for each arm).",
        "no search for recipes was asked for, and several arms are tuned",
        where(lambda facts: not facts.searched and len(facts.tuned) > 1),
    ),
    Sentence(
        "caveats",
        "The archive names no patients: images were split, and each counts as a patient below. Images of one patient "
        "may lie on both sides of a split, which can make figures too good and intervals too narrow.",
        "no image belongs to a known patient",
        where(lambda facts: facts.nameless == "all"),
    ),
    Sentence(
        "caveats",
        "Not every image belongs to a known patient: the others count as a patient each, may lie on both sides of a "
        "split, and may make figures too good and intervals too narrow.",
        "some images belong to no known patient",
        where(lambda facts: facts.nameless == "some"),
    ),
    Sentence(
        "caveats",
        "{one} and {other} begin with the same weights: a difference between them is not one of initialisation.",
        "of each pair of arms whose weights, and whether they are frozen, are the same",
        lambda facts: [{"one": one, "other": other} for one, other in facts.alike],
    ),
    Sentence(
        "caveats",
        "The weights of {arm} have seen images of {confirmed} of {patients} test patients, who are tested all the "
        "same. The reason given: {reason}.",
        "of each arm where images of test patients were confirmed, and --accept-seen was given",
        lambda facts: [
            each
            for each in facts.seen
            if each["of"] == "test" and each["confirmed"] and facts.study.get("accepted_seen")
        ],
    ),
    Sentence(
        "caveats",
        "The weights of {arm} have seen images of {confirmed} of {patients} development patients: cross-validation "
        "favours that arm.",
        "of each arm where images of development patients were confirmed",
        lambda facts: [each for each in facts.seen if each["of"] == "development" and each["confirmed"]],
    ),
    Sentence(
        "caveats",
        "{of} is not external: images of {confirmed} of its {patients} patients are among {whose}. They are tested all "
        "the same; the reason given: {reason}.",
        "of each external dataset of which images were confirmed, with --accept-seen",
        lambda facts: [each for each in facts.seen if each["of"] not in ("test", "development") and each["confirmed"]],
    ),
    Sentence(
        "caveats",
        "Test images of this study were scored {scorings} times with different settings, this study among them: the "
        "best of several looks is too good. The ledger is on the page.",
        "the ledger has other scorings of the same test images",
        where(lambda facts: facts.earlier),
    ),
    Sentence(
        "caveats",
        "runs/ holds {unused} networks that this report does not use: {unused_names}.",
        "`runs/` has networks that are not the study's",
        where(lambda facts: facts.unused),
    ),
    Sentence(
        "caveats",
        "fastrad 0.1.0 made this study and sealed none of its files: nothing here shows whether they were altered.",
        "`study.json` carries no seal",
        where(lambda facts: not facts.sealed),
    ),
    Sentence(
        "caveats",
        "{unsealed} of the networks were tuned by fastrad 0.1.0, which sealed none of its files: nothing shows whether "
        "they were altered before this study was made.",
        "the study is sealed, and `run.json` of some of its networks is not",
        where(lambda facts: facts.sealed and facts.unsealed_networks),
    ),
    Sentence(
        "caveats",
        "These tables had been altered and were written again from the networks' weights: {rescored}.",
        "`report --rescore` found tables that did not hold what the networks say",
        where(lambda facts: facts.study.get("rescored", {}).get("altered")),
    ),
    Sentence(
        "caveats",
        "{by_option}: so called by the option that gave the weights; what they were trained on is not recorded.",
        "the study is of 0.1.0, which named arms by the option",
        where(lambda facts: facts.named_by_option),
    ),
    Sentence(
        "caveats",
        "Cross-validated AUROC is too good here: each network's epoch was chosen on the patients that it is computed "
        "from, and in {excess_arm} it is {excess:.2f} above the same networks' mean on the test set.",
        f"in some tuned arm of more than one epoch it is at least {CV_EXCESS}, and twice its standard error over "
        "folds, above the mean test AUROC of the arm's networks",
        where(lambda facts: facts.excess[1] >= CV_EXCESS),
    ),
)
