"""From a manifest to dataset files: planned into chunks, converted in parallel, journalled, joined.

    run.py          the conversion from start to end
    plan.py         manifest + options -> one plan a split: rows, chunks, where each chunk's pages go
    archive.py      the source of a plan: an archive's rows, or (from_shards.py) shards converted before
    images.py       a stretch of the archive -> fitted, encoded images (without torch)
    chunk.py        what a worker does: one chunk's images -> pages and a record (without torch)
    journal.py      the work folder: what is done, and whether it still fits source and options
    pool.py         runs chunks on processes; a worker that dies costs a retry, then the file that kills it
    cluster.py      the same on a Dask cluster
    totals.py       records -> sums over the split, and the card
    outputs/        encoded images -> pages and the finished file, one module a format
    destination.py  a local folder or an fsspec URL

The bytes of a file follow from its plan alone, not from the number of workers or from interruptions.
"""
