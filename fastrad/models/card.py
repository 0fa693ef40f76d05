"""The model card of weights: what they were made from, how good they are, what to feed them, and what binds their user.

Markdown, after Mitchell et al., Model cards for model reporting, FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastrad.system.markdown import markdown_code, markdown_text

_METRICS = {
    "val_macro_auroc": "macro AUROC, one against rest",
    "val_micro_auroc": "micro AUROC, one against rest",
    "val_top1": "top-1 accuracy",
    "val_top5": "top-5 accuracy",
    "val_balanced_accuracy": "balanced accuracy",
    "val_loss": "cross-entropy, nats",
}


_CAVEAT = """\
For research; no medical device. Weights made from images under a data agreement (RadImageNet asks for one) are bound
by that agreement: read it before you hand them on. Labels and images carry their archive's errors and its scanners'
habits."""


def tuned_card(metadata: Mapping[str, Any], input_note: str) -> str:
    """The card of a study's network.

    Parameters
    ----------
    metadata : mapping
        As `fastrad compare` writes it into its weights, with the `architecture`.
    input_note : str
        What one input of this very file is, as a sentence.
    """
    converted, size = metadata["parameters"], metadata["size"]
    mean, std = metadata["normalisation"]["mean"][0], metadata["normalisation"]["std"][0]
    synthetic = (
        "**The images are synthetic: this network knows nothing of patients.**\n\n" if metadata.get("synthetic") else ""
    )
    positive = markdown_code(str(metadata.get("positive") or "malignant"))
    negatives = ", ".join(map(markdown_code, metadata.get("negatives", ())))
    against = f" against {negatives}" if negatives else ""
    window = converted.get("window")
    levels = f", window {window[0]:g} to {window[1]:g}" if window else ""
    crop = str(metadata.get("source_options", {}).get("crop") or "")
    part = f", cropped ({markdown_code(crop)})" if crop else ""
    averaged = (
        "The study's scores are means over an image and its mirror image."
        if metadata["flip_average"]
        else "The study's scores are of the image alone, not of its mirror image."
    )
    network = str(metadata["architecture"]).replace("resnet", "ResNet-")
    return f"""# {markdown_text(network)}, one logit: {positive}{against}, {size} px

{synthetic}## Origin
One network of a study, tuned on one fold of its development images; arm {markdown_code(metadata["arm"])}. What it is
worth stands in the study's report; no figure of one network alone is a test.

## Input
{input_note} Pixels are normalised as (pixel / 255 - {mean:.6f}) / {std:.6f}; the size is {size} x {size}. The study's
images were stored at {converted["size"]} px (fit {markdown_code(converted["fit"])}{levels}{part}).

## Output
One logit: above 0 it is more probably {positive}, at the prevalence of the study. {averaged}

## Use and terms
{_CAVEAT}
"""


def model_card(metadata: Mapping[str, Any], input_note: str) -> str:
    """The card's text.

    Parameters
    ----------
    metadata : mapping
        As `fastrad pretrain` writes it into its weights.
    input_note : str
        What one input of this very file is, as a sentence.
    """
    data, recipe, metrics = metadata["dataset"], metadata["recipe"], metadata["metrics"]
    mean, std = metadata["normalisation"]["mean"][0], metadata["normalisation"]["std"][0]
    classes = metadata["classes"]
    synthetic = (
        "**The images are synthetic: these weights know nothing of patients.**\n\n" if metadata["synthetic"] else ""
    )
    split = markdown_code(data["split"] or "none")
    table = "\n".join(f"| {label} | {metrics[name]:.4f} |" for name, label in _METRICS.items())
    absent = metrics["val_classes_absent"]
    left_out = f" {absent} classes have no validation image and are left out of the means." if absent else ""
    # "resnet50, one channel" -> "ResNet-50"
    network = str(metadata.get("architecture", "resnet18")).split(",")[0].replace("resnet", "ResNet-")
    return f"""# {markdown_text(network)}, {len(classes)} classes, {metadata["size"]} px

{synthetic}## Data
{data["samples"]} images of the {markdown_code(data["layout"])} layout, split {split}; the dataset card's
SHA-256 is {markdown_code(metadata["card_sha256"])}.

## Input
{input_note} Pixels are normalised as (pixel / 255 - {mean:.6f}) / {std:.6f}; the validation size is
{metadata["size"]} x {metadata["size"]}.

## Validation
Epoch {metrics["epoch"]} of {recipe["epochs"]}, chosen by macro AUROC on the same validation images, which makes it
too high.{left_out}

| metric | value |
| --- | --- |
{table}

## Training
SGD, batch {recipe["batch_size"]}, peak learning rate {recipe["lr"] * recipe["batch_size"] / 256:g}, label smoothing
{recipe["label_smoothing"]:g}, seed {metadata["seed"]}, {markdown_text(metadata["precision"])}, fastrad
{markdown_text(metadata["fastrad"])}.

## Use and terms
{_CAVEAT}

## Classes
{", ".join(map(markdown_code, classes))}
"""
