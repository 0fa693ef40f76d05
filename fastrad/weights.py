"""Weights files under the name that 0.1.0 gave them; they live in `fastrad.models.weights`."""

from fastrad.models.weights import Weights, initialise, load_weights, save_weights

__all__ = ["Weights", "initialise", "load_weights", "save_weights"]
