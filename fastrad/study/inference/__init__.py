"""From predictions alone to numbers; `docs/design/statistics.md` says what each is.

In: the table `predictions.csv`. Out: a `StudyResult`. A wrong number here misleads a study, so each function names its
source and raises `InputError` where what it is given allows no answer.

    samples.py           labels and scores, checked; intervals
    auroc.py             AUROC, its interval, DeLong's paired test
    bootstrap.py         resampled patients; average precision
    proportions.py       Wilson's interval
    decision.py          thresholds, operating points, Brier score, calibration, ROC curves
    averaging.py         a patient's score, from images, folds and seeds
    arm_result.py        what one arm reached
    differences.py       the differences between arms
    evaluation.py        all of these: the study's result
    learning_curve.py, subgroups.py, confident_errors.py
"""
