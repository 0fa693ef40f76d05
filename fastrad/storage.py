"""The dataset formats under the name that 0.1.0 gave them; they live in `fastrad.dataset`."""

from fastrad.dataset import BetonFile, Card, write_beton
from fastrad.dataset import __getattr__ as __getattr__  # GrayscaleImageField, imported on first use

__all__ = ["BetonFile", "Card", "GrayscaleImageField", "write_beton"]  # noqa: F822
