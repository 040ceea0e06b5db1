"""Augmentations from weak to strong, as the explorer of lesson 04 shows them: the functions that the lesson uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms import v2

from helpers.augmentation import ColourJitter, PCALighting, RandomAffine

SEED = 218  # with it, each step of a flip's probability mirrors one draw more
Transform = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Ladder:
    """An augmentation with a few strengths, the weakest first.

    ``say`` and ``code`` are texts with ``{v}`` for the strength; ``make`` gives the transform of a strength, which is
    called with float images (N, 3, H, W) in 0-255 and a generator, and draws for each image.
    ``live``: its values are the σ of noise that the page adds itself, for JPEG would lose most of it.
    """

    name: str
    say: str
    code: str
    values: tuple[Any, ...]
    make: Callable[[Any], Transform]
    live: bool = False

    def samples(self, image: torch.Tensor, value: Any, count: int, seed: int = SEED) -> torch.Tensor:
        """What a strength makes of an image (3, H, W), uint8, in ``count`` draws: uint8 (count, 3, H, W).

        The same seed draws alike at every strength of a ladder, so that a draw only gets stronger.
        """
        copies = image.float().expand(count, -1, -1, -1)
        return self.make(value)(copies, torch.Generator().manual_seed(seed)).round().clamp(0, 255).byte()


def _each(transform: Callable[[torch.Tensor], torch.Tensor]) -> Transform:
    """A transform of torchvision, which draws once a call and from the global generator, image by image."""

    def apply(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seeds = torch.randint(2**31, (len(images),), generator=generator, device=generator.device).tolist()
        changed = []
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            for image, seed in zip(images.byte(), seeds, strict=True):
                torch.manual_seed(seed)
                changed.append(transform(image))
        return torch.stack(changed).float()

    return apply


def ladders(lighting: PCALighting) -> list[Ladder]:
    """All of them. ``lighting``: fitted to photographs; its σ is what the strengths change."""
    still = {"flip": 0, "area": (1, 1), "stretch": 1}

    def blur(sigma: float) -> Transform:
        return _each(v2.GaussianBlur(2 * math.ceil(3 * sigma) + 1, sigma))

    tenths = (0.2, 0.4, 0.6, 0.8, 1.0)
    return [
        Ladder(
            "mirror",
            "with probability {v}",
            "RandomAffine(flip={v}, area=(1, 1), stretch=1)",
            tenths,
            lambda v: RandomAffine(**still | {"flip": v}),
        ),
        Ladder(
            "upside down",
            "with probability {v}",
            "RandomAffine(flip=0, flip_vertical={v}, area=(1, 1), stretch=1)",
            tenths,
            lambda v: RandomAffine(**still, flip_vertical=v),
        ),
        Ladder(
            "crop",
            "down to {v:.0%} of the area",
            "RandomAffine(flip=0, area=({v}, 1), stretch=1)",
            (0.8, 0.6, 0.4, 0.2, 0.08),
            lambda v: RandomAffine(**still | {"area": (v, 1)}),
        ),
        Ladder(
            "move",
            "by up to {v:.0%} of the side",
            "v2.RandomAffine(0, translate=({v}, {v}))",
            (0.05, 0.1, 0.2, 0.3, 0.5),
            lambda v: _each(v2.RandomAffine(0, translate=(v, v))),
        ),
        Ladder(
            "rotation",
            "by up to ±{v}°",
            "RandomAffine(flip=0, area=(1, 1), stretch=1, rotate={v})",
            (10, 20, 45, 90, 180),
            lambda v: RandomAffine(**still, rotate=v),
        ),
        Ladder(
            "shear",
            "by up to ±{v}°",
            "v2.RandomAffine(0, shear={v})",
            (10, 20, 30, 40, 50),
            lambda v: _each(v2.RandomAffine(0, shear=v)),
        ),
        Ladder(
            "brightness and contrast",
            "each by up to ±{v:.0%}",
            "ColourJitter(brightness={v}, contrast={v})",
            tenths,
            lambda v: ColourJitter(v, v),
        ),
        Ladder(
            "hue",
            "by up to ±{v} of the colour circle",
            "v2.ColorJitter(hue={v})",
            (0.05, 0.1, 0.2, 0.35, 0.5),
            lambda v: _each(v2.ColorJitter(hue=v)),
        ),
        Ladder(
            "PCA lighting",
            "with σ = {v}",
            "PCALighting(lighting.values, lighting.directions, sigma={v})",
            (0.1, 0.3, 1.0, 2.0, 4.0),
            lambda v: PCALighting(lighting.values, lighting.directions, v),
        ),
        Ladder(
            "noise",
            "with σ = {v} gray levels",
            "image + {v} * torch.randn(image.shape)",
            (10, 20, 40, 80, 160),
            lambda v: (
                lambda images, generator: (
                    images + v * torch.randn(images.shape, generator=generator, device=images.device)
                )
            ),
            live=True,
        ),
        Ladder(
            "blur",
            "with σ = {v} pixels",
            "v2.GaussianBlur(kernel_size, sigma={v})",
            (0.5, 1.0, 2.0, 3.0, 5.0),
            blur,
        ),
        Ladder(
            "random erasing",
            "of {v:.0%} of the area",
            "v2.RandomErasing(p=1, scale=({v}, {v}), ratio=(0.5, 2))",
            (0.05, 0.1, 0.2, 0.35, 0.6),
            lambda v: _each(v2.RandomErasing(p=1, scale=(v, v), ratio=(0.5, 2))),
        ),
        Ladder(
            "RandAugment",
            "two operations, magnitude {v} of 30",
            "v2.RandAugment(num_ops=2, magnitude={v})",
            (3, 9, 15, 22, 30),
            lambda v: _each(v2.RandAugment(num_ops=2, magnitude=v)),
        ),
        Ladder(
            "AugMix",
            "severity {v} of 10",
            "v2.AugMix(severity={v})",
            (1, 3, 5, 7, 10),
            lambda v: _each(v2.AugMix(severity=v)),
        ),
        Ladder(
            "TrivialAugment",
            "draws its own strength",
            "v2.TrivialAugmentWide()",
            (None,),
            lambda v: _each(v2.TrivialAugmentWide()),
        ),
        Ladder(
            "AutoAugment",
            "draws from the policies found for ImageNet",
            "v2.AutoAugment()",
            (None,),
            lambda v: _each(v2.AutoAugment()),
        ),
    ]
