"""From predictions alone to numbers: AUROC, intervals, tests, thresholds, calibration."""
