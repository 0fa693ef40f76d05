"""From a manifest to dataset files: planned into shards, converted in parallel, journalled, joined.

    plan.py      manifest + options -> one plan a split: rows, shards, where each shard's pages go
    images.py    a stretch of the archive -> fitted, encoded images (without torch)
    shard.py     what a worker does: one shard's images -> pages and a record (without torch)
    journal.py   the work folder: what is done, and whether it still fits source and options
    workers.py   runs shards on processes; a worker that dies costs a retry, then the file that kills it
    cluster.py   the same on a Dask cluster
    sinks.py     encoded images -> pages of a beton, or a stretch of a tar
    finish.py, finish_tars.py   records -> the finished beton, or shards with their index
    totals.py    records -> sums over the split, and the card
    destination.py   a local folder or an fsspec URL

The bytes of a file follow from its plan alone, not from the number of workers or from interruptions.
"""
