"""From a manifest to dataset files: planned into shards, converted in parallel, journalled, joined.

    plan.py      manifest + options -> one plan a split: rows, shards, where each shard's pages go
    images.py    a stretch of the archive -> fitted, encoded images (numpy and cv2 only)
    shard.py     what a worker does: one shard's images -> pages and a record (numpy and cv2 only)
    journal.py   the work folder: what is done, and whether it still fits source and options
    workers.py   runs shards on processes; a worker that dies costs a retry, then the file that kills it
    finish.py    records -> header, metadata, allocation table and card of the finished file

The bytes of a file follow from its plan alone, not from the number of workers or from interruptions.
"""
