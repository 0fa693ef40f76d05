"""What a study consists of, before anything is trained.

In: settings (`config.CompareConfig`), datasets, weights, tables of splits and attributes. Out: a `plan.Plan`, and the
record of it. Test labels are used for stratified splits, and for nothing else.
"""
