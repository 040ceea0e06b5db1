"""What the units of a network look for: filters as pictures, patches that excite a unit, style.

Pictures are pixels in 0-255, (N, C, H, W). A layer is a stage of a backbone ("block3") or a module of its network
("blocks.2.1.bn2", the last ReLU inside that block).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torchvision.transforms.functional import crop
from torchvision.utils import make_grid

from helpers import arithmetic, machine
from helpers.backbones import Backbone, evaluating
from helpers.datasets import ImageSet


def mosaic(filters: torch.Tensor, columns: int = 8) -> np.ndarray:
    """Filters (K, 1 or 3, h, w) as one picture (H, W, 3) in 0-1, a weight a pixel, white lines between them.

    Mid-gray is a weight of zero; each filter is stretched so that its largest weight is fully bright or dark, but one
    that is nearly zero beside the others stays gray.
    """
    filters = filters.detach().cpu().float().expand(-1, 3, -1, -1)
    largest = filters.abs().amax((1, 2, 3), keepdim=True)
    scaled = 0.5 + filters / (2 * largest.clamp_min(0.02 * float(largest.max())).clamp_min(1e-12))
    return make_grid(scaled, columns, padding=1, pad_value=1)[:, 1:-1, 1:-1].permute(1, 2, 0).numpy()


# ---------------------------------------------------------------- maps, and what excites a unit


class Patch(NamedTuple):
    """Where a unit of an image answers most. ``box``: top, left, bottom, right of its receptive field, in pixels."""

    image: int
    row: int
    column: int
    value: float
    box: tuple[int, int, int, int]
    pixels: torch.Tensor  # uint8 (C, h, w)


@dataclass(frozen=True)
class Strongest:
    """For each image and channel of a layer, its strongest unit: ``values`` and places (N, C)."""

    images: torch.Tensor
    fields: tuple[arithmetic.Field, arithmetic.Field]
    values: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    def patches(self, channel: int, top: int = 9) -> list[Patch]:
        """The ``top`` patches that excite a channel most, the strongest first, at most one an image."""
        found = []
        for i in self.values[:, channel].topk(top).indices.tolist():
            row, column = int(self.rows[i, channel]), int(self.columns[i, channel])
            box = unit_box(self.fields, row, column)
            found.append(Patch(i, row, column, float(self.values[i, channel]), box, cut(self.images[i], box)))
        return found


@torch.no_grad()  # not inference_mode: the network's weights, moved below, must stay usable for gradients
def strongest(
    backbone: Backbone, image_set: ImageSet, layers: Sequence[str], *, inside: bool = True, batch: int = 16
) -> dict[str, Strongest]:
    """Run an image set through the network once, and keep the strongest unit of each channel of some layers.

    inside: leave out units that see beyond the image's border, where zero padding draws a frame that no photograph
    has (in a layer whose units all do, none is left out).
    """
    images, device = image_set.images, backbone._mean.device
    table = arithmetic.layer_table(backbone, (1, 3, *images.shape[2:]))
    fields = {name: table.fields[f"net.{backbone.module(name)}"] for name in layers}
    found: dict[str, list] = {name: [] for name in layers}
    with evaluating(backbone.to(memory_format=torch.channels_last)):
        for start in range(0, len(images), batch):
            pixels = images[start : start + batch].to(device).float().contiguous(memory_format=torch.channels_last)
            for name, maps in backbone.look(pixels, layers).items():
                rows, columns = (
                    _inside(f, n, side) if inside else slice(0, n)
                    for f, n, side in zip(fields[name], maps.shape[2:], images.shape[2:], strict=True)
                )
                part = maps[:, :, rows, columns]
                best = part.flatten(2).max(2)
                row, column = best.indices // part.shape[3] + rows.start, best.indices % part.shape[3] + columns.start
                found[name].append((best.values.cpu(), row.cpu(), column.cpu()))
    machine.give_memory_back()
    return {n: Strongest(images, fields[n], *map(torch.cat, zip(*found[n], strict=True))) for n in layers}


def _inside(field: arithmetic.Field, units: int, side: int) -> slice:
    """The units whose field lies in an image of ``side`` pixels; all where there is none."""
    chosen = [u for u in range(units) if field.span(u)[0] >= 0 and field.span(u)[1] <= side]
    return slice(chosen[0], chosen[-1] + 1) if chosen else slice(0, units)


def unit_box(fields: Sequence[arithmetic.Field], row: int, column: int) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the pixels that a unit sees; it may reach beyond the image."""
    (top, bottom), (left, right) = (f.span(u) for f, u in zip(fields, (row, column), strict=True))
    return int(top), int(left), int(bottom), int(right)


def cut(image: torch.Tensor, box: tuple[int, int, int, int]) -> torch.Tensor:
    """The pixels of a box of an image (C, H, W): gray (127) beyond its border; the whole image if it is smaller."""
    top, left, bottom, right = box
    _, height, width = image.shape
    if bottom - top >= height or right - left >= width:
        return image.clone()
    return (crop(image.int() - 127, top, left, bottom - top, right - left) + 127).to(image.dtype)  # it pads with zeros


# ---------------------------------------------------------------- style


def gram(maps: torch.Tensor) -> torch.Tensor:
    """Maps (N, C, H, W) -> (N, C, C): how much channels answer together, averaged over all places."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


class Stylised(NamedTuple):
    """The picture that was found, uint8 (1, 3, H, W), and the two losses at each step."""

    image: torch.Tensor
    style_loss: list[float]
    content_loss: list[float]


def stylise(
    backbone: Backbone,
    style: torch.Tensor,
    content: torch.Tensor | None = None,
    *,
    layers: Sequence[str] = ("stem", "block1", "block2", "block3", "block4"),
    content_weight: float = 0.3,
    smoothness: float = 1.0,
    steps: int = 100,
    rate: float = 5.0,
    seed: int = 0,
) -> Stylised:
    """Change the pixels of ``content`` until its Gram matrices are those of ``style`` (Gatys, Ecker, Bethge 2016).

    Without ``content`` it starts from noise: only the style is left, a texture. The losses are squared differences
    relative to the target, so 1 is "as far as a black map". Both pictures: (1, 3, H, W), 0-255.
    """
    device = backbone._mean.device
    style = style.to(device).float()
    with torch.no_grad():
        target = {name: gram(maps) for name, maps in backbone.look(style, layers).items()}
        kept = None if content is None else backbone.look(content.to(device).float(), layers[-1:])[layers[-1]]
    noise = torch.rand(style.shape, generator=torch.Generator().manual_seed(seed)) * 255
    x = (noise.to(device) if content is None else content.to(device).float().clone()).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=rate)
    result = Stylised(x, [], [])
    for _ in range(steps):
        maps = backbone.look(x, layers)
        style_loss = torch.stack([_relative(gram(maps[n]), target[n]) for n in layers]).mean()
        content_loss = x.new_zeros(()) if kept is None else _relative(maps[layers[-1]], kept)
        rough = (x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()
        loss = style_loss + content_weight * content_loss + smoothness * rough / 255
        (x.grad,) = torch.autograd.grad(loss, x)  # only the pixels learn
        optimiser.step()
        with torch.no_grad():
            x.clamp_(0, 255)
        result.style_loss.append(style_loss.item())
        result.content_loss.append(content_loss.item())
    return result._replace(image=x.detach().round().to("cpu", torch.uint8))


def _relative(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (values - target).square().sum() / target.square().sum()
