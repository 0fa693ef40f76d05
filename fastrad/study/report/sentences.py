"""Every sentence that a report can print besides its conclusion, with the condition under which it is true.

In: `Facts`. Out: the sentences of each place of the page (`said`), filled in. The template has headings, labels and
numbers, and no sentence of its own, so that this list is all that a report can say; `docs/report-sentences.md` is made
from it, and a test renders each of them. Those of the conclusion stand with their conditions in `conclusion.py`.
"""

from __future__ import annotations

from fastrad.study.report.captions import CAPTIONS
from fastrad.study.report.caveats import CAVEATS, LEAD
from fastrad.study.report.conclusion import EPOCH_NOTE, INTERVAL_NOTE
from fastrad.study.report.facts import Facts
from fastrad.study.report.sentence import Sentence, always, of_each, where


def said(place: str, facts: Facts) -> list[str]:
    """The sentences of one place that are true of a study, in their order."""
    return [
        sentence.text.format_map({**facts.words, **case})
        for sentence in SENTENCES
        if sentence.place == place
        for case in sentence.cases(facts)
    ]


def title(facts: Facts) -> str:
    """The page's headline: the user's, or one that names no more than is known."""
    if own := facts.study.get("title"):
        return str(own)
    if facts.thyroid:
        return "Does pretraining classify thyroid nodules better?"
    return "Which start tells {positive} from {negatives} best?".format_map(facts.words)


_SEVERAL_EPOCHS = "networks were tuned for more than one epoch"
_SPLIT = "{tested} held out for the test, {developed} in {folds}-fold cross-validation ({splits})."
_METHODS = (
    Sentence(
        "methods",
        f"Patients, not images, were split: {_SPLIT}",
        "every image belongs to a known patient",
        where(lambda facts: not facts.nameless),
    ),
    Sentence(
        "methods",
        f"Patients were split where they are known, and single images where not: {_SPLIT}",
        "some images belong to no known patient",
        where(lambda facts: facts.nameless == "some"),
    ),
    Sentence(
        "methods",
        f"Images, not patients, were split, because the archive names no patients: {_SPLIT}",
        "no image belongs to a known patient",
        where(lambda facts: facts.nameless == "all"),
    ),
    Sentence(
        "methods",
        "Of each image the outlined nodule alone was used, with a margin around it.",
        "the dataset was converted with --crop nodule",
        where(lambda facts: facts.dataset.get("source_options", {}).get("crop") == "nodule"),
    ),
    Sentence(
        "methods",
        "For each tuned arm, fold and seed one network with a one-channel stem and a fresh head was fine-tuned with "
        "AdamW on one gray image at a time, {recipe_size} × {recipe_size} pixels: up to {recipe_epochs} epochs with "
        "warm-up and cosine, {recipe_patience} without improvement at most, weight decay {recipe_weight_decay}, batch "
        "{recipe_batch_size}; {augmentation}.",
        "always: an arm without transfer is always tuned",
        always,
    ),
    Sentence(
        "methods",
        "The learning rate was {recipe_learning_rate} for the head and the backbone alike.",
        "no recipes were searched for, and the backbone's share of the rate is 1",
        where(lambda facts: not facts.searched and facts.recipe["backbone_rate"] == 1),
    ),
    Sentence(
        "methods",
        "The learning rate was {recipe_learning_rate}, and {recipe_backbone_rate} of it for the backbone.",
        "no recipes were searched for, and the backbone's share of the rate is between 0 and 1",
        where(lambda facts: not facts.searched and 0 < facts.recipe["backbone_rate"] < 1),
    ),
    Sentence(
        "methods",
        "The learning rate was {recipe_learning_rate}, the backbone was frozen.",
        "no recipes were searched for, and the backbone's share of the rate is 0",
        where(lambda facts: not facts.searched and facts.recipe["backbone_rate"] == 0),
    ),
    Sentence(
        "methods",
        "In the first {recipe_head_first} of the epochs the head learned alone.",
        "no recipes were searched for, and the head learned first",
        where(lambda facts: not facts.searched and facts.recipe.get("head_first")),
    ),
    Sentence(
        "methods",
        "Each arm's learning rate, the backbone's share of it, and whether the head learned first or alone was chosen "
        "in each fold from one grid of recipes.",
        "recipes were searched for",
        where(lambda facts: facts.searched),
    ),
    Sentence(
        "methods",
        "The loss weighted both classes alike, and the logits were shifted back to the training prevalence.",
        "class weighting is on",
        where(lambda facts: facts.recipe["class_weighting"]),
    ),
    Sentence(
        "methods",
        "The loss was not weighted by class.",
        "class weighting is off",
        where(lambda facts: not facts.recipe["class_weighting"]),
    ),
    Sentence(
        "methods",
        "An image's score is the mean logit of it and its mirror image.",
        "flip averaging is on",
        where(lambda facts: facts.recipe["flip_average"]),
    ),
    Sentence(
        "methods",
        "An image's score is its logit.",
        "flip averaging is off",
        where(lambda facts: not facts.recipe["flip_average"]),
    ),
    Sentence(
        "methods",
        "Pixels were normalised by the mean and standard deviation of the development images, {pixel_mean:.3f} and "
        "{pixel_sd:.3f} of the gray range.",
        "always",
        always,
    ),
    Sentence(
        "methods",
        "The epoch with the highest AUROC over the fold's validation {unit} was kept.",
        _SEVERAL_EPOCHS,
        where(lambda facts: facts.epoch_chosen),
    ),
    Sentence(
        "methods",
        "Folds, seeds, order, augmentation, normalisation, head and recipe are the same in every arm; the initial "
        "weights of the backbone alone differ.",
        "every arm is the same network, tuned, and no recipes were searched for",
        where(lambda facts: not facts.others and not facts.frozen and not facts.searched),
    ),
    Sentence(
        "methods",
        "Folds, seeds, order, augmentation, normalisation, head, grid and budget are the same in every arm; the "
        "initial weights of the backbone differ, and what the search chose for them.",
        "every arm is the same network, tuned, and recipes were searched for",
        where(lambda facts: not facts.others and not facts.frozen and facts.searched),
    ),
    Sentence(
        "methods",
        "Folds, seeds and normalisation are the same in every arm; between tuned {network}s the initial weights of the "
        "backbone alone differ.",
        "an arm is another network, or frozen, and no recipes were searched for",
        where(lambda facts: (facts.others or facts.frozen) and not facts.searched),
    ),
    Sentence(
        "methods",
        "Folds, seeds, normalisation, grid and budget are the same in every arm that is tuned; between {network}s the "
        "initial weights of the backbone differ, and what the search chose for them.",
        "an arm is another network, or frozen, and recipes were searched for",
        where(lambda facts: (facts.others or facts.frozen) and facts.searched),
    ),
    Sentence(
        "methods",
        "{arm} is another network.",
        "of each arm that is another network than the one without transfer",
        of_each(lambda facts: facts.others),
    ),
    Sentence(
        "methods",
        "{arm}: not fine-tuned; a ridge logistic regression on the features of whole frames, its penalty chosen on the "
        "fold's validation data.",
        "of each frozen arm",
        of_each(lambda facts: facts.frozen),
    ),
    Sentence(
        "methods",
        "Test labels were used to stratify the split, and for the final scoring.",
        "the splits were drawn",
        where(lambda facts: facts.drawn),
    ),
    Sentence(
        "methods",
        "The split was imported; the study used test labels for the final scoring only.",
        "the splits were imported",
        where(lambda facts: not facts.drawn),
    ),
)

_SEARCH = (
    Sentence(
        "search",
        "Every arm had the same grid of recipes and the same budget: in each fold, each recipe was tried on two inner "
        "validation parts of the training {unit}, which are two of the other folds, and the one with the lowest mean "
        "log loss tuned the arm's networks. Neither the fold's validation {unit} nor the test {unit} had a say. The "
        "trials of an arm start from its first weights file, with the first seed.",
        "recipes were searched for",
        where(lambda facts: facts.searched),
    ),
    Sentence(
        "search",
        "Where `frozen` was chosen the networks are not fine-tuned: a ridge logistic regression on their features, its "
        "penalty chosen on the fold's validation data.",
        "recipes were searched for, and frozen features were among them",
        where(lambda facts: facts.searched and "frozen" in facts.study["protocol"]["search"]["recipes"]),
    ),
    Sentence(
        "fixed recipe",
        "Sensitivity analysis: the same networks, all tuned by the recipe of a study without a search.",
        "recipes were searched for",
        where(lambda facts: facts.searched),
    ),
)

_CHECKS = (
    Sentence(
        "checks",
        "{images} images were compared with each other for copies: {identical} groups have the same pixels, {near} "
        "pairs are near copies, and {joined} {unit} were kept together for it; {blank} blank images join nobody.",
        "the study is not of 0.1.0",
        where(lambda facts: "copies" in facts.study),
    ),
    Sentence(
        "checks",
        "Of copies, fastrad 0.1.0 looked for images with the same pixels alone.",
        "the study is of 0.1.0",
        where(lambda facts: "copies" not in facts.study),
    ),
    Sentence(
        "checks",
        "The images of {patients} patients ({of}) were looked up among {whose}, {among}: those of {confirmed} patients "
        "were found, those of {possible} more may be there.",
        "of each look-up: of test, development and external images, among those of an arm's weights, or of the study",
        lambda facts: facts.seen,
    ),
    Sentence(
        "checks",
        "The look-up misses crops, turned images and other views of one lesion; mirrored ones it finds.",
        "images were looked up",
        where(lambda facts: facts.seen),
    ),
    Sentence(
        "checks",
        "{arm}: its weights keep no fingerprints of {which} images that they were trained on, so that none could be "
        "looked up among them.",
        "of each arm whose weights have no fingerprints of the images, or of some, that trained them",
        lambda facts: [{"arm": arm["label"], "which": arm["which"]} for arm in facts.unfingerprinted],
    ),
    Sentence(
        "checks",
        "{arm}: its weights name fingerprints of images that they have seen, but the files were not beside the "
        "weights, so that none could be looked up among these images.",
        "of each arm whose weights' fingerprints were not all at hand",
        of_each(lambda facts: facts.missing),
    ),
    Sentence(
        "checks",
        "Text burned into the images was not read for this study; `fastrad audit` reads it.",
        "always",
        always,
    ),
)

_STATISTICS = (
    Sentence("statistics", INTERVAL_NOTE, "always", always),
    Sentence("statistics", EPOCH_NOTE, _SEVERAL_EPOCHS, where(lambda facts: facts.epoch_chosen)),
    Sentence(
        "statistics",
        "Detectable: the 0.975 and 0.8 quantiles of Student's t (of the normal distribution for the ensembles) times "
        "the measured standard error of the difference, for one comparison at 5 %. Bootstrap of one network: the "
        "central 95 % over 2,000 resamples of {unit}, folds, seeds within folds and weights files. Bootstrap of the "
        "ensembles: of the test {unit} alone, within their class; it checks the interval beside it, and decides "
        "nothing.",
        "always",
        always,
    ),
)

_RECORD = (
    Sentence(
        "ledger",
        "By the ledgers in the study's folder and in the user's configuration folder, its test images were scored with "
        "these settings alone. Scorings elsewhere are not in them.",
        "the ledger has one scoring of these test images",
        where(lambda facts: not facts.earlier and "scoring" in facts.study),
    ),
    Sentence(
        "ledger",
        "By the ledgers in the study's folder and in the user's configuration folder, its test images, or some of "
        "them, were scored {scorings} times with different settings; commands that give the same scores again are not "
        "counted, and scorings elsewhere are not in them.",
        "the ledger has other scorings of the same test images",
        where(lambda facts: facts.earlier),
    ),
    Sentence(
        "ledger",
        "fastrad 0.1.0 kept no ledger: how often these {unit} were scored is not known.",
        "the study has no entry in a ledger",
        where(lambda facts: "scoring" not in facts.study),
    ),
    Sentence(
        "seals",
        "Hashes of predictions, splits, weights, settings, versions and device stand in study.json and run.json; those "
        "of what is in the folder were compared when this page was written, and labels with those of the dataset. They "
        "show that a file was altered; they prevent nothing: who alters a file and computes the hashes again leaves no "
        "trace in them.",
        "the study carries seals",
        where(lambda facts: facts.sealed),
    ),
    Sentence(
        "seals",
        "The files of this study carry no seals.",
        "`study.json` carries no seal",
        where(lambda facts: not facts.sealed),
    ),
)

SENTENCES: tuple[Sentence, ...] = (
    *LEAD,
    *CAVEATS,
    *CAPTIONS,
    *_METHODS,
    *_SEARCH,
    *_CHECKS,
    *_STATISTICS,
    *_RECORD,
)
