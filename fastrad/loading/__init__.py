"""Feeds batches from dataset files to a device, in one order and with one randomness for every engine."""

from fastrad.loading.loader import ENGINES, Batch, Loader

__all__ = ["ENGINES", "Batch", "Loader"]
