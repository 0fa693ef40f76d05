"""Generated archives that stand in where no real one is at hand: thyroid ultrasound, radiology, natural pictures.

archive.py      what is written where: layouts, tables, the marker, parallel drawing
thyroid.py      nodules by TI-RADS feature, and the neck around them
organs.py       abdominal and pelvic ultrasound
ultrasound.py   the B-mode scanner that both are seen through
tomography.py   CT and MR slices
radiology.py    the classes of the radiology archive
leaves.py       colour dead leaves
shapes.py, texture.py   outlines and random fields
"""

from fastrad.phantom.archive import LAYOUTS, MARKER, write_phantom

__all__ = ["LAYOUTS", "MARKER", "write_phantom"]
