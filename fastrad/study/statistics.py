"""DeLong's test under the name that 0.1.0 gave it; it lives in `fastrad.study.inference.statistics`."""

from fastrad.study.inference.statistics import delong_test

__all__ = ["delong_test"]
