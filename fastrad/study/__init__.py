"""The comparison of initialisations: does in-domain pretraining help?

In: a dataset with patients, weights files. Out: a folder with networks, predictions, numbers and a report. The way is
one: protocol -> networks -> predictions -> inference -> report.

    protocol/       what a study consists of: patients, splits, arms, settings, and the plan made of them
    networks/       what trains and scores: tuned, frozen, external sets, new patients, where a network looked
    predictions.py  the table between them: one line an image and network
    inference/      from predictions alone to numbers; knows no torch
    report/         from numbers to tables, figures and page
    compare.py      leads through all of it
"""
