"""`python -m fastrad` is the same program as `fastrad`."""

import os
import sys

import fastrad

# Python looks for modules in the current directory first: one there that is called click.py, say, is none of ours.
if not sys.flags.safe_path and os.path.dirname(fastrad.__path__[0]) != os.path.abspath(sys.path[0]):
    del sys.path[0]

from fastrad.cli import main

if __name__ == "__main__":
    main()
