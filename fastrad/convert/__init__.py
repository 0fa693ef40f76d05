"""From a manifest to dataset files: planned into chunks, converted in parallel, journalled, joined.

In: a `Manifest`, or WebDataset shards that were converted before. Out: one beton file per split, or its
WebDataset shards, with a card. A *chunk* is a unit of work, some thousand rows of a split; a *shard* is a tar.
`docs/design/conversion.md` says how it holds together.

    run.py          the conversion from start to end
    options.py      what the user chooses
    summary.py      what a conversion did, or would do
    plan.py         source + options -> one plan a split: rows, chunks, format
    archive.py      the source of a plan: an archive's rows, or (from_shards.py) shards converted before
    levels.py       how many gray levels an archive would keep, judged before it is converted
    images.py       a stretch of the archive -> fitted, encoded images (sample.py)
    outputs/        encoded images -> a chunk's data, chunks -> finished files: one module a format
    chunk.py        what a worker does: one chunk's images -> its data and its record
    record.py       what it leaves behind: the record, and the mark of where it is
    journal.py      the work folder (paths: folder.py): what is done, and whether it still fits source and options
    pool.py         runs chunks on processes; a worker that dies costs a retry, then the file that kills it
    cluster.py      the same on a Dask cluster
    totals.py       records -> sums over the split
    stored.py       for verify: stored images against their source, converted again
    destination.py  a local folder or an fsspec URL

The bytes of a file follow from its plan alone, not from the number of workers or from interruptions.
"""
