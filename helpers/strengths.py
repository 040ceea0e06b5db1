"""Augmentations from weak to strong, as the explorer of lesson 04 shows them: the functions that the lesson uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms import v2

from helpers.augmentation import ColourJitter, PCALighting, RandomAffine

SEED = 218  # with it, each step of a flip's probability mirrors one draw more


@dataclass(frozen=True)
class Ladder:
    """An augmentation with a few strengths, the weakest first.

    ``make`` with the ``options`` of a strength gives the transform: one of torchvision, or one that is called with
    float images (N, 3, H, W) in 0-255 and a generator, and draws for each image. ``say`` has ``{v}`` for the strength,
    and so has ``shown``, the line of code where options don't tell it. Without ``make``, the strengths are the σ of
    noise that the page adds itself, for JPEG would lose most of it.
    """

    name: str
    say: str
    values: tuple[Any, ...]
    make: Callable[..., Any] | None
    options: Callable[[Any], dict[str, Any]] = lambda v: {}
    shown: str = ""

    def code(self, value: Any) -> str:
        """The line of Python that makes the transform."""
        if self.shown:
            return self.shown.format(v=value)
        library = "v2." if issubclass(self.make, v2.Transform) else ""
        return f"{library}{self.make.__name__}({', '.join(f'{k}={v}' for k, v in self.options(value).items())})"

    def samples(self, image: torch.Tensor, value: Any, count: int, seed: int = SEED) -> torch.Tensor:
        """``count`` draws at a strength of an image (3, H, W) in 0-255: uint8 (count, 3, H, W).

        The same seed draws alike at every strength of a ladder, so that a draw only gets stronger.
        """
        copies = image.float().expand(count, -1, -1, -1)
        transform = self.make(**self.options(value))
        transform = _each(transform) if isinstance(transform, v2.Transform) else transform
        return transform(copies, torch.Generator().manual_seed(seed)).round().clamp(0, 255).byte()


def _each(transform: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
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


_STILL = {"flip": 0, "area": (1, 1), "stretch": 1}
_TENTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def ladders(lighting: PCALighting) -> list[Ladder]:
    """All of them. ``lighting``: fitted to photographs; its σ is what the strengths change."""
    light = {"values": lighting.values, "directions": lighting.directions}
    rows = (
        ("mirror", "with probability {v}", _TENTHS, RandomAffine, lambda v: _STILL | {"flip": v}),
        ("upside down", "with probability {v}", _TENTHS, RandomAffine, lambda v: _STILL | {"flip_vertical": v}),
        (
            "crop",
            "down to {v:.0%} of the area",
            (0.8, 0.6, 0.4, 0.2, 0.08),
            RandomAffine,
            lambda v: _STILL | {"area": (v, 1)},
        ),
        (
            "move",
            "by up to {v:.0%} of the side",
            (0.05, 0.1, 0.2, 0.3, 0.5),
            v2.RandomAffine,
            lambda v: {"degrees": 0, "translate": (v, v)},
        ),
        ("rotation", "by up to ±{v}°", (10, 20, 45, 90, 180), RandomAffine, lambda v: _STILL | {"rotate": v}),
        ("shear", "by up to ±{v}°", (10, 20, 30, 40, 50), v2.RandomAffine, lambda v: {"degrees": 0, "shear": v}),
        (
            "brightness and contrast",
            "each by up to ±{v:.0%}",
            _TENTHS,
            ColourJitter,
            lambda v: {"brightness": v, "contrast": v},
        ),
        (
            "hue",
            "by up to ±{v} of the colour circle",
            (0.05, 0.1, 0.2, 0.35, 0.5),
            v2.ColorJitter,
            lambda v: {"hue": v},
        ),
        (
            "PCA lighting",
            "with σ = {v}",
            (0.1, 0.3, 1.0, 2.0, 4.0),
            PCALighting,
            lambda v: light | {"sigma": v},
            "PCALighting(lighting.values, lighting.directions, sigma={v})",
        ),
        (
            "noise",
            "with σ = {v} gray levels",
            (10, 20, 40, 80, 160),
            None,
            None,
            "image + {v} * torch.randn(image.shape)",
        ),
        (
            "blur",
            "with σ = {v} pixels",
            (0.5, 1.0, 2.0, 3.0, 5.0),
            v2.GaussianBlur,
            lambda v: {"kernel_size": 31, "sigma": v},
        ),
        (
            "random erasing",
            "of {v:.0%} of the area",
            (0.05, 0.1, 0.2, 0.35, 0.6),
            v2.RandomErasing,
            lambda v: {"p": 1, "scale": (v, v), "ratio": (0.5, 2)},
        ),
        (
            "RandAugment",
            "two operations, magnitude {v} of 30",
            (3, 9, 15, 22, 30),
            v2.RandAugment,
            lambda v: {"num_ops": 2, "magnitude": v},
        ),
        ("AugMix", "severity {v} of 10", (1, 3, 5, 7, 10), v2.AugMix, lambda v: {"severity": v}),
        ("TrivialAugment", "draws its own strength", (None,), v2.TrivialAugmentWide),
        ("AutoAugment", "draws from the policies found for ImageNet", (None,), v2.AutoAugment),
    )
    return [Ladder(*row) for row in rows]
