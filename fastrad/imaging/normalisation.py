"""From gray levels to what a network is fed: (pixel / 255 - mean) / std, in the two forms in which it is computed.

Loaders that deliver floating numbers look the 256 levels up in `Normalisation.table`; whoever gets gray levels applies
it to the batch on its device. Both are the same numbers within one rounding of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """What is done to pixels before the first layer: (pixel / 255 - mean) / std, one value a channel.

    Attributes
    ----------
    mean, std : tuple of float
        Of pixel / 255; one value for gray, three for RGB.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def gray(mean: float, std: float) -> Normalisation:
        """The normalisation of one-channel images, whose pixel / 255 has this mean and std; a std of 0 counts as 1."""
        return Normalisation((float(mean),), (float(std) or 1.0,))

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise a batch on its own device.

        Parameters
        ----------
        images : tensor, (N, C, H, W)
            Gray levels 0 to 255. A float32 tensor is changed in place.

        Returns
        -------
        float32 tensor, (N, C, H, W)
        """
        if len(self.mean) == 1:  # plain numbers: a tensor made on the host would make the host wait for the GPU
            return images.float().sub_(255 * self.mean[0]).mul_(1 / (255 * self.std[0]))
        import torch

        shape = (1, len(self.mean), 1, 1)
        mean = torch.tensor(self.mean, device=images.device).mul_(255).view(shape)
        scale = torch.tensor(self.std, device=images.device).mul_(255).reciprocal_().view(shape)
        return images.float().sub_(mean).mul_(scale)

    def table(self, dtype: torch.dtype) -> torch.Tensor:
        """The 256 gray levels as a gray network is fed them, rounded once from float64 to `dtype`: shape (256,)."""
        import torch

        levels = torch.arange(256, dtype=torch.float64)
        return ((levels / 255 - self.mean[0]) / self.std[0]).to(dtype)


IMAGENET = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
