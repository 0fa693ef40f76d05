"""The study's networks: tuned or frozen, kept in one folder each, and what they score.

In: a plan's protocol and networks. Out: weights and predictions, under `runs/` and `external/`.

    runs.py      each network of the plan: already there, or trained and scored
    tune.py      tunes one; frozen.py fits a logistic regression on features instead
    score.py     a network on images: its logits
    scorer.py    a finished network, a study's or a pretrained one, and how its images were converted
    predict.py   finished networks on new patients, of files by files.py; external.py: on external sets
    grad_cam.py  where a network looked
"""
