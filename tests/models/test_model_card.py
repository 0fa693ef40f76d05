"""Each line of a model card is what the metadata says."""

from __future__ import annotations

import copy
import re

import pytest

from fastrad.models.card import model_card

METADATA = {
    "normalisation": {"mean": [0.21], "std": [0.325]},
    "size": 160,
    "classes": ["abdomen", "head|neck", "thyroid"],
    "card_sha256": "ab" * 32,
    "dataset": {"layout": "radimagenet", "split": "train", "samples": 77},
    "synthetic": False,
    "metrics": {
        "epoch": 3,
        "val_classes_absent": 0,
        "val_macro_auroc": 0.91234,
        "val_micro_auroc": 0.95,
        "val_top1": 0.7,
        "val_top5": 1.0,
        "val_balanced_accuracy": 0.65432,
        "val_loss": 1.2,
    },
    "recipe": {"epochs": 16, "batch_size": 512, "lr": 0.2, "label_smoothing": 0.1},
    "seed": 4,
    "precision": "bfloat16",
    "fastrad": "9.9",
}


@pytest.fixture
def metadata() -> dict:
    return copy.deepcopy(METADATA)


def words(text: str) -> str:
    """The card with its line breaks undone."""
    return " ".join(text.split())


def test_what_it_was_made_from_and_what_to_feed_it(metadata):
    card = words(model_card(metadata, "One gray channel."))
    assert card.startswith(
        "# ResNet-18, 3 classes, 160 px ## Data 77 images of the `radimagenet` layout, split `train`"
    )
    assert "ab" * 32 in card
    assert "One gray channel. Pixels are normalised as (pixel / 255 - 0.210000) / 0.325000" in card
    assert "`abdomen`, `head|neck`, `thyroid`" in card
    metadata["dataset"]["split"] = ""
    assert "split `none`" in model_card(metadata, "")


def test_each_metric_is_a_row_with_its_value(metadata):
    rows = [line.strip("| ").split(" | ") for line in model_card(metadata, "").splitlines() if line.startswith("| ")]
    assert dict(rows[2:]) == {
        "macro AUROC, one against rest": "0.9123",
        "micro AUROC, one against rest": "0.9500",
        "top-1 accuracy": "0.7000",
        "top-5 accuracy": "1.0000",
        "balanced accuracy": "0.6543",
        "cross-entropy, nats": "1.2000",
    }


def test_the_peak_rate_is_that_of_the_batch_and_the_epoch_is_said_to_be_chosen(metadata):
    card = words(model_card(metadata, ""))
    assert "Epoch 3 of 16, chosen by macro AUROC on the same validation images, which makes it too high." in card
    assert "SGD, batch 512, peak learning rate 0.4, label smoothing 0.1, seed 4, bfloat16, fastrad 9.9." in card


def test_absent_classes_and_synthetic_images_are_said_only_where_they_are(metadata):
    assert "left out of the means" not in model_card(metadata, "")
    assert "synthetic" not in model_card(metadata, "")
    metadata["metrics"]["val_classes_absent"] = 2
    metadata["synthetic"] = True
    card = words(model_card(metadata, ""))
    assert "2 classes have no validation image and are left out of the means." in card
    assert "**The images are synthetic: these weights know nothing of patients.**" in card


def test_a_class_that_is_markup_stays_text(metadata):
    metadata["classes"] = ["<script>alert(1)</script>", "a`b", "line\nbreak", "a & b", "plain name", "[x](http://y)"]
    metadata["dataset"]["layout"] = "`</code><img src=x onerror=alert(1)>"
    metadata["precision"] = "<b>x</b>"
    card = model_card(metadata, "")
    assert not re.search(r"<\s*/?\s*[a-z]", card)
    listed = card.split("## Classes\n")[1].strip()
    assert listed == (r"&lt;script>alert(1)&lt;/script>, a\`b, line break, a & b, `plain name`, `[x](http://y)`")
