"""Classification metrics over a whole validation set: losses, hits and areas under ROC curves.

Logits and labels may lie on any device; the results are plain floats. Every AUROC here is the Mann-Whitney statistic
with ties counted as one half (Hanley and McNeil, Radiology 1982), one class against the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Metrics:
    """What one validation found.

    Attributes
    ----------
    loss : float
        Mean cross-entropy in nats, without label smoothing.
    top1, top5 : float
        Share of samples whose label is among the 1 or 5 highest logits (with fewer than five classes: among all).
    balanced_accuracy : float
        Mean recall over the classes that occur among the labels.
    macro_auroc : float
        Mean of the one-against-rest AUROC over the classes that occur; NaN where a single class occurs.
    micro_auroc : float
        AUROC of all (sample, class) pairs pooled.
    class_auroc : tuple of float
        One a class; NaN for a class that is absent.
    classes_absent : int
        Classes without a sample, left out of `balanced_accuracy` and `macro_auroc`.
    """

    loss: float
    top1: float
    top5: float
    balanced_accuracy: float
    macro_auroc: float
    micro_auroc: float
    class_auroc: tuple[float, ...]
    classes_absent: int


def mann_whitney(positive: Tensor, negative: Tensor) -> float:
    """Probability that a positive's score is above a negative's (the AUROC); ties count one half.

    Parameters
    ----------
    positive, negative : float tensors, (P,) and (N,)
        Scores. Neither may be empty.

    Examples
    --------
    >>> mann_whitney(torch.tensor([0.9, 0.4]), torch.tensor([0.1, 0.4]))
    0.875
    """
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive, right=False).sum()
    not_above = torch.searchsorted(ordered, positive, right=True).sum()
    return (below + not_above).item() / (2 * len(positive) * len(negative))


def evaluate(logits: Tensor, labels: Tensor) -> Metrics:
    """All metrics of a validation; all of them NaN where a single logit is not finite.

    Parameters
    ----------
    logits : float tensor, (N, C)
    labels : int64 tensor, (N,)
        In [0, C).
    """
    samples, classes = logits.shape
    if not torch.isfinite(logits).all():
        nan = float("nan")  # an order among them would mean nothing, and might look perfect
        return Metrics(nan, nan, nan, nan, nan, nan, (nan,) * classes, classes - len(labels.unique()))
    scores = functional.log_softmax(logits.double(), dim=1)  # the logarithm keeps scores near 1 apart
    counts = torch.bincount(labels, minlength=classes)
    present = counts > 0
    hit = scores.argmax(1) == labels
    hit5 = (scores.topk(min(5, classes), dim=1).indices == labels[:, None]).any(1)
    recall = torch.bincount(labels[hit], minlength=classes).double() / counts
    truth = functional.one_hot(labels, classes).bool()
    class_auroc = tuple(
        mann_whitney(scores[truth[:, index], index], scores[~truth[:, index], index])
        if 0 < count < samples
        else float("nan")
        for index, count in enumerate(counts.tolist())
    )
    known = [value for value in class_auroc if value == value]
    return Metrics(
        loss=functional.nll_loss(scores, labels).item(),
        top1=hit.double().mean().item(),
        top5=hit5.double().mean().item(),
        balanced_accuracy=recall[present].mean().item(),
        macro_auroc=sum(known) / len(known) if known else float("nan"),
        micro_auroc=mann_whitney(scores[truth], scores[~truth]) if classes > 1 else float("nan"),
        class_auroc=class_auroc,
        classes_absent=int((~present).sum()),
    )


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Counts of (true class, class with the highest logit): int64 tensor, (C, C), on the CPU."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes).cpu()
