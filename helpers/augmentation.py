"""Augmentation of whole batches on the device, and what torchvision lacks.

torchvision's transforms draw one set of random numbers a call; here each image of a batch gets its own. A transform is
called with float images (N, C, H, W) in 0-255 and a generator, and returns the same kind. mixup, CutMix, AugMix and
random erasing are torchvision's (``torchvision.transforms.v2``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import resize, ten_crop

from helpers.backbones import evaluating


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
        outside = "reflection" if self.rotate else "border"  # only a turned crop leaves the image; "border" is faster
        return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


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
        # ((images - mean) * gain + mean) * light, in one pass
        return torch.addcmul(mean * (1 - gain) * light, images, gain * light).clamp_(0, 255)


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: Sequence

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for transform in self.transforms:
            images = transform(images, generator)
        return images


@dataclass(frozen=True)
class PCALighting:
    """An offset along the principal directions of all pixels, the same at every pixel of an image.

    offset = sum over i of a_i * l_i * p_i, with a_i drawn once an image from N(0, sigma): Krizhevsky et al. 2012,
    section 4.1. l_i and p_i are the eigenvalues and eigenvectors of the covariance of the pixels **in 0-1**: an
    eigenvalue has the unit of a squared pixel, so in 0-255 the same formula would give offsets 255 times too large.
    Nothing is clipped.

    Args:
        values: eigenvalues (C,), largest first; directions: eigenvectors (C, C), one a column.
    """

    values: torch.Tensor
    directions: torch.Tensor
    sigma: float = 0.1

    @classmethod
    def of(cls, images: torch.Tensor, sigma: float = 0.1) -> PCALighting:
        """Fitted to all pixels of images (N, C, H, W) in 0-255 (the training set's, or a sample of them)."""
        pixels = images.transpose(0, 1).flatten(1).double() / 255
        values, directions = torch.linalg.eigh(torch.cov(pixels).reshape(len(pixels), len(pixels)))
        return cls(values.flip(0).float(), directions.flip(1).float(), sigma)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if images.shape[1] != len(self.values):
            raise ValueError(f"fitted to images of {len(self.values)} channels, but these have {images.shape[1]}.")
        device = images.device
        alphas = torch.randn(len(images), len(self.values), generator=generator, device=device) * self.sigma
        values, directions = (part.to(device, non_blocking=True) for part in (self.values, self.directions))
        offsets = (alphas * values) @ directions.T  # (N, C)
        return images + 255 * offsets[:, :, None, None]


@dataclass(frozen=True)
class ResNetCrop:
    """Short side to L, whole number, uniform in [low, high]; then a random square crop, or its mirror image.

    He et al. 2016, section 3.4: L in [256, 480], crops of 224. Bilinear without a low-pass filter: give it images
    whose short side is about ``low``, or they alias. Returns (N, C, crop, crop).
    """

    low: int = 256
    high: int = 480
    crop: int = 224
    flip: float = 0.5

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.crop <= self.low <= self.high:
            raise ValueError(f"crop <= low <= high is needed, but they are {self.crop}, {self.low}, {self.high}.")
        n, channels, height, width = images.shape
        side = torch.floor(_uniform(n, self.low, self.high + 1, generator)).clamp(max=self.high)
        rows, columns = (torch.round(side * edge / min(height, width)) for edge in (height, width))  # resized
        top = torch.floor(_uniform(n, 0, 1, generator) * (rows - self.crop + 1)).clamp(max=rows - self.crop)
        left = torch.floor(_uniform(n, 0, 1, generator) * (columns - self.crop + 1)).clamp(max=columns - self.crop)
        mirror = torch.where(_uniform(n, 0, 1, generator) < self.flip, -1.0, 1.0)
        # The crop as an affine map of [-1, 1] x [-1, 1]: its size, and its centre.
        y, x = (2 * top + self.crop) / rows - 1, (2 * left + self.crop) / columns - 1
        zero = torch.zeros_like(x)
        theta = torch.stack([mirror * self.crop / columns, zero, x, zero, self.crop / rows, y], 1).view(n, 2, 3)
        grid = F.affine_grid(theta, [n, channels, self.crop, self.crop], align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def ten_crops(images: torch.Tensor, crop: int) -> torch.Tensor:
    """Four corners and the centre, then their mirror images: (N, C, H, W) -> (10, N, C, crop, crop).

    Krizhevsky et al. 2012, section 4.1. Raises ValueError for a crop that doesn't fit.
    """
    return torch.stack(ten_crop(images, [crop, crop]))


def multi_scale_crops(
    images: torch.Tensor, scales: Sequence[int] = (224, 256, 384, 480, 640), crop: int = 224
) -> Iterator[torch.Tensor]:
    """Ten crops at each scale (a scale is the length of the short side, in pixels), as the ResNet lectures describe it.

    He et al. 2016, section 3.4, use these scales, and ten crops for their comparisons. Yields (10, N, C, crop, crop).
    """
    for scale in scales:
        yield ten_crops(resize(images.float(), scale), crop)


@torch.inference_mode()
def averaged(model: nn.Module, views: torch.Tensor) -> torch.Tensor:
    """The mean over views (V, N, C, H, W) of the softmax of the model in eval mode: probabilities (N, K)."""
    with evaluating(model):
        return torch.stack([model(view).softmax(1) for view in views]).mean(0)


def jensen_shannon(*logits: torch.Tensor) -> torch.Tensor:
    """AugMix's consistency loss (Hendrycks et al. 2020, section 3): how far the softmax of k >= 2 views are apart.

    Each (N, K). The mean over views and images of KL(p_view || m), m the views' mean probability: 0 when all agree,
    at most log k. In nats.
    """
    logs = torch.stack([view.log_softmax(1) for view in logits])  # (k, N, K)
    mean = logs.exp().mean(0).clamp_min(1e-12).log()
    return (logs.exp() * (logs - mean)).sum(2).mean()
