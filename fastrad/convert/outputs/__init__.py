"""The formats that a conversion writes.

    base.py   what formats share: what is stored of an image, the data file of a chunk, the contract `Output`
    beton.py  pages of a `.beton` file
    tar.py    WebDataset shards

Another format is a module with an `Output`, and its line in `FORMATS`; options, plan, workers, journal and the last
step of a conversion take it from here. Nothing that a worker imports of it may need torch or pandas.
"""

from fastrad.convert.outputs.base import Output
from fastrad.convert.outputs.beton import BetonOutput
from fastrad.convert.outputs.tar import TarOutput

FORMATS: dict[str, type[Output]] = {output.format: output for output in (BetonOutput, TarOutput)}
