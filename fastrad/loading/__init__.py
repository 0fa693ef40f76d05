"""Feeds batches from dataset files to a device, in one order and with one randomness for every engine."""
