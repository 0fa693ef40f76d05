from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from fastrad.train.metrics import confusion, evaluate, mann_whitney


def _samples(classes: int, count: int, *, ties: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    labels[:classes] = np.arange(classes)
    logits = random.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    if ties:
        logits = np.round(logits)
    return torch.tensor(logits), torch.tensor(labels)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [3, 7, 40])
def test_metrics_equal_scikit_learns(classes, ties):
    logits, labels = _samples(classes, 600, ties=ties)
    found = evaluate(logits, labels)
    probability, truth = logits.softmax(1).numpy(), labels.numpy()
    # the same ties for both: scikit-learn is given the rounded probabilities' logarithms as scores
    scores = logits.log_softmax(1).numpy()
    onehot = np.eye(classes)[truth]
    expected = [roc_auc_score(onehot[:, index], scores[:, index]) for index in range(classes)]
    np.testing.assert_allclose(found.class_auroc, expected, rtol=1e-12)
    assert found.macro_auroc == pytest.approx(np.mean(expected), rel=1e-12)
    assert found.micro_auroc == pytest.approx(roc_auc_score(onehot.ravel(), scores.ravel()), rel=1e-12)
    assert found.loss == pytest.approx(log_loss(truth, probability), rel=1e-9)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, scores.argmax(1)), rel=1e-6)
    assert found.classes_absent == 0
    if not ties:
        assert found.top1 == pytest.approx((scores.argmax(1) == truth).mean())
        if classes > 5:
            assert found.top5 == pytest.approx(top_k_accuracy_score(truth, scores, k=5, labels=range(classes)))


def test_ties_count_one_half():
    assert mann_whitney(torch.tensor([1.0, 1.0]), torch.tensor([1.0])) == 0.5
    assert mann_whitney(torch.tensor([2.0]), torch.tensor([1.0])) == 1.0
    assert mann_whitney(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0, 3.0])) == pytest.approx((0.5 + 2.5) / 6)


def test_a_class_absent_from_validation_is_left_out_and_counted():
    logits, labels = _samples(4, 200, ties=False)
    labels[labels == 2] = 3
    found = evaluate(logits, labels)
    assert found.classes_absent == 1
    assert math.isnan(found.class_auroc[2])
    others = [found.class_auroc[index] for index in (0, 1, 3)]
    assert found.macro_auroc == pytest.approx(sum(others) / 3)
    present = [index for index in range(4) if index != 2]
    predicted = logits.argmax(1)
    recalls = [(predicted[labels == index] == index).double().mean().item() for index in present]
    assert found.balanced_accuracy == pytest.approx(np.mean(recalls), rel=1e-6)


def test_a_single_class_has_no_auroc():
    found = evaluate(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long))
    assert math.isnan(found.macro_auroc)
    assert found.classes_absent == 1


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_give_no_metric_at_all(broken):
    logits, labels = _samples(3, 20, ties=False)
    logits[5, 1] = broken
    found = evaluate(logits, labels)
    assert all(math.isnan(value) for value in (found.loss, found.top1, found.macro_auroc, found.micro_auroc))
    assert len(found.class_auroc) == 3


def test_top5_of_fewer_than_five_classes_is_one():
    logits, labels = _samples(3, 50, ties=False)
    assert evaluate(logits, labels).top5 == 1.0


def test_confident_scores_keep_their_order():
    """Float32 softmax saturates at 1 here and would make all three equal."""
    logits = torch.tensor([[30.0, 0.0], [40.0, 0.0], [50.0, 0.0]])
    found = evaluate(logits, torch.tensor([1, 0, 0]))
    assert found.class_auroc == (1.0, 1.0)


def test_confusion_counts_true_by_predicted_class():
    logits, labels = _samples(5, 300, ties=False)
    expected = confusion_matrix(labels.numpy(), logits.argmax(1).numpy())
    np.testing.assert_array_equal(confusion(logits, labels).numpy(), expected)
