"""FFCV's `.beton` format with one-channel images: its layout, reader, writer, and the field that stock FFCV reads
it by.
"""
