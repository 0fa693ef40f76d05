"""DeLong's test under the name that 0.1.0 gave it; it lives in `fastrad.study.inference.auroc`."""

from fastrad.study.inference.auroc import delong_test

__all__ = ["delong_test"]
