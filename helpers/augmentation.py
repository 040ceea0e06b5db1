"""Augmentation of whole batches on the device, and what torchvision lacks.

torchvision's transforms draw one set of random numbers a call; here each image of a batch gets its own. A transform is
called with float images (N, C, H, W) in 0-255 and a generator, and returns the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * (high - low) + low


@dataclass(frozen=True)
class RandomAffine:
    """Flip, random crop, rotation and stretch in a single resampling (bilinear, borders mirrored).

    Args:
        flip, flip_vertical: probabilities.
        area: the part of the image's area that is kept, as in Inception's random crops (Szegedy et al. 2015).
        stretch: the largest change of the aspect ratio (4/3: from 3:4 to 4:3).
        rotate: the largest angle, in degrees.
    """

    flip: float = 0.5
    flip_vertical: float = 0.0
    area: tuple[float, float] = (0.5, 1.0)
    stretch: float = 4 / 3
    rotate: float = 0.0

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n = len(images)
        side = _uniform(n, *self.area, generator).sqrt()
        ratio = torch.exp(_uniform(n, -1, 1, generator) * math.log(self.stretch) / 2)
        width, height = (side * ratio).clamp(max=1), (side / ratio).clamp(max=1)
        x = _uniform(n, -1, 1, generator) * (1 - width)  # the crop's centre; it stays inside the image
        y = _uniform(n, -1, 1, generator) * (1 - height)
        width = torch.where(_uniform(n, 0, 1, generator) < self.flip, -width, width)
        height = torch.where(_uniform(n, 0, 1, generator) < self.flip_vertical, -height, height)
        angle = _uniform(n, -1, 1, generator) * math.radians(self.rotate)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = [width * cos, -height * sin, x, width * sin, height * cos, y]
        grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), images.shape, align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness and contrast, each times a random factor in [1 - strength, 1 + strength]."""

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n = len(images)
        gain = _uniform(n, 1 - self.contrast, 1 + self.contrast, generator).view(n, 1, 1, 1)
        light = _uniform(n, 1 - self.brightness, 1 + self.brightness, generator).view(n, 1, 1, 1)
        mean = images.mean((1, 2, 3), keepdim=True)
        return (((images - mean) * gain + mean) * light).clamp(0, 255)


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: Sequence

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for transform in self.transforms:
            images = transform(images, generator)
        return images
