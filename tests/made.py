"""Small image sets and networks that tests make."""

from __future__ import annotations

import torch
from torch import nn

from helpers.datasets import ImageSet


def stripes(n: int = 96, size: int = 32, seed: int = 0, soft: bool = False) -> ImageSet:
    """Two classes that a small network tells apart in seconds: horizontal and vertical stripes, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    wave = 127 + 90 * torch.sin(torch.arange(size) * 1.3)
    images = torch.stack([wave.expand(size, size) if y else wave.expand(size, size).T for y in labels.tolist()])[
        :, None
    ]
    images = (images + 40 * torch.randn(n, 1, size, size, generator=generator)).clamp(0, 255).to(torch.uint8)
    probabilities = torch.nn.functional.one_hot(labels, 2).float() * 0.8 + 0.1 if soft else None
    return ImageSet(
        name="stripes",
        images=images,
        labels=labels,
        classes=("horizontal", "vertical"),
        files=tuple(f"{i}.png" for i in range(n)),
        soft=probabilities,
    )


class SmallNet(nn.Module):
    """Convolution, BatchNorm, ReLU, dropout, pooling, linear: all that a resumed run must restore."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images.float() / 255 - 0.5)
