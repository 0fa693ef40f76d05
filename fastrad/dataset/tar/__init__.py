"""WebDataset shards with DALI's index: the layout of a tar, and a set of shards opened as one dataset."""
