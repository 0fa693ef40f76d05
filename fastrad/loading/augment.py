"""Augmentation of a batch on its device, as each sample's parameters say.

The geometry is one affine resampling pass, then come contrast, brightness, gamma, speckle, noise and erasing,
normalisation and the cast last. The same operations on CPU and GPU, and the same noise: it is computed from each
sample's seed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.loading.policy import Parameters
from fastrad.system.devices import send


def augment_batch(
    images: torch.Tensor, parameters: Parameters, size: int, normalisation: Normalisation, dtype: torch.dtype
) -> torch.Tensor:
    """Apply each sample's parameters.

    Parameters
    ----------
    images : torch.Tensor
        uint8, N x 1 x H x W, on any device.
    parameters : Parameters
        One entry a sample; boxes in pixels of H x W.
    size : int
        The output is size x size pixels.
    normalisation : Normalisation
        Of gray images, for floating dtypes.
    dtype : torch.dtype
        torch.uint8 (rounded to gray levels, not normalised) or a floating type.

    Returns
    -------
    torch.Tensor
        N x 1 x size x size, channels_last, on the images' device.
    """
    if not len(images):
        return _channels_last(torch.empty((0, size, size), dtype=dtype, device=images.device))
    pixels = images[:, 0]
    if not _keeps_the_frame(parameters, (pixels.shape[1], pixels.shape[2]), size):
        pixels = _resample(pixels, parameters, size)
    if _changes_intensity(parameters):
        pixels = _change_intensity(pixels.float() / 255, parameters) * 255
    if dtype == torch.uint8:
        return _channels_last(pixels if pixels.dtype == dtype else pixels.round().clamp(0, 255).to(dtype))
    return normalisation.apply(_channels_last(pixels)).to(dtype)


def _channels_last(pixels: torch.Tensor) -> torch.Tensor:
    """(N, H, W) as N x 1 x H x W with the canonical channels_last strides."""
    return pixels.contiguous().unsqueeze(-1).permute(0, 3, 1, 2)


def _columns(device: torch.device, *columns: np.ndarray) -> list[torch.Tensor]:
    """Parameters as float32 tensors of shape (N, 1, 1), sent to the device in one piece."""
    packed = np.stack([np.asarray(column, dtype=np.float32) for column in columns])
    return list(send(packed, device)[:, :, None, None])


def _keeps_the_frame(parameters: Parameters, frame: tuple[int, int], size: int) -> bool:
    height, width = frame
    moved = parameters.top.any() or parameters.left.any() or parameters.angle.any()
    mirrored = parameters.flip_horizontal.any() or parameters.flip_vertical.any()
    cropped = (parameters.height != height).any() or (parameters.width != width).any()
    return height == width == size and not (moved or mirrored or cropped)


def _resample(pixels: torch.Tensor, parameters: Parameters, size: int) -> torch.Tensor:
    """Crop, flip, rotate and resize bilinearly in one pass: (N, H, W) to float32 (N, size, size).

    Half-pixel centres, no antialiasing. Edges are clamped to the crop; a rotated crop, whose corners lie outside of
    its box, sees the pixels that are there and is clamped to the frame.
    """
    height, width = pixels.shape[1:]
    p = parameters
    turned = p.angle != 0
    center_x, center_y, step_x, step_y, cosine, sine, low_x, high_x, low_y, high_y = _columns(
        pixels.device,
        p.left + p.width / 2,
        p.top + p.height / 2,
        np.where(p.flip_horizontal, -p.width, p.width) / size,
        np.where(p.flip_vertical, -p.height, p.height) / size,
        np.cos(p.angle),
        np.sin(p.angle),
        np.where(turned, 0, p.left),
        np.where(turned, width, p.left + p.width) - 1,
        np.where(turned, 0, p.top),
        np.where(turned, height, p.top + p.height) - 1,
    )
    centered = torch.arange(size, device=pixels.device, dtype=torch.float32) + (0.5 - size / 2)
    across, down = centered[None, None, :] * step_x, centered[None, :, None] * step_y
    # y grows downwards, so that turning the picture counter-clockwise turns the sampling points clockwise
    x = (center_x + cosine * across - sine * down - 0.5).clamp(low_x, high_x)
    y = (center_y + sine * across + cosine * down - 0.5).clamp(low_y, high_y)
    grid = torch.stack([x.mul(2 / max(width - 1, 1)).sub(1), y.mul(2 / max(height - 1, 1)).sub(1)], dim=-1)
    source = pixels[:, None].float()
    return functional.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]


def _changes_intensity(parameters: Parameters) -> bool:
    p = parameters
    return bool(
        (p.brightness != 1).any()
        or (p.contrast != 1).any()
        or (p.gamma != 1).any()
        or p.speckle.any()
        or p.noise.any()
        or p.erase.any()
    )


def _change_intensity(pixels: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """Contrast about the image's mean, brightness, gamma, speckle, noise, erasing: (N, H, W) in [0, 1] to the same."""
    p, size = parameters, pixels.shape[-1]
    contrast, brightness, gamma, speckle, noise, *erase = _columns(
        pixels.device, p.contrast, p.brightness, p.gamma, p.speckle, p.noise, *p.erase.T
    )
    average = pixels.mean(dim=(1, 2), keepdim=True)
    pixels = (((pixels - average) * contrast + average) * brightness).clamp(0, 1)
    if (p.gamma != 1).any():
        pixels = pixels**gamma
    if p.speckle.any() or p.noise.any():
        first, second = _gaussian_fields(p.noise_seed, size, pixels.device)
        pixels = (pixels * (1 + speckle * first) + noise * second).clamp(0, 1)
    if p.erase.any():
        place = (torch.arange(size, device=pixels.device, dtype=torch.float32) + 0.5) / size
        top, left, bottom, right = erase
        down, across = place[None, :, None], place[None, None, :]
        pixels = pixels.masked_fill((down >= top) & (down < bottom) & (across >= left) & (across < right), 0)
    return pixels


def _gaussian_fields(seeds: np.ndarray, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Two fields of standard normal noise for each seed, float32 (N, size, size): Box and Muller over hashed pixels."""
    signed = send(seeds.astype(np.uint32).view(np.int32), device)[:, None, None]
    place = torch.arange(size * size, dtype=torch.int32, device=device).view(1, size, size)
    key = _hash(signed)
    uniform = (_hash(_hash(place * 2 + half) ^ key).float() * 2.0**-32 + 0.5 for half in (0, 1))
    first, second = (value.clamp(2.0**-32, 1 - 2.0**-24) for value in uniform)
    radius, angle = torch.sqrt(-2 * torch.log(first)), 2 * math.pi * second
    return radius * torch.cos(angle), radius * torch.sin(angle)


def _hash(words: torch.Tensor) -> torch.Tensor:
    """Mix the bits of int32 words (the "lowbias32" function of C. Wellons' hash prospector); products wrap."""
    words = words ^ _shift(words, 16)
    words = words * 0x7FEB352D
    words = words ^ _shift(words, 15)
    words = words * (0x846CA68B - (1 << 32))
    return words ^ _shift(words, 16)


def _shift(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right without the sign."""
    return (words >> bits) & ((1 << (32 - bits)) - 1)
