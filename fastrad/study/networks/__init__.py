"""The study's networks: tuned or frozen, kept in one folder each, and what they score.

In: a plan's protocol and networks. Out: weights and predictions, under `runs/` and `external/`.
"""
