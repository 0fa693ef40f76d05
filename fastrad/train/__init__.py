"""Pretrains a ResNet-18 on a converted archive; the loop knows nothing of what the images show."""

from fastrad.train.config import PretrainConfig, Recipe

__all__ = ["PretrainConfig", "Recipe"]
