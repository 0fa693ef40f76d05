"""Compiled inner loops of the engines: crop, resize and flip in one pass; JPEG into a slot of a batch."""
