"""The smallest detector: one 1x1 convolution on the map of a pretrained network. And scenes to try it on."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torchvision.ops import box_iou
from torchvision.transforms.functional import pil_to_tensor

from helpers import datasets, machine, plots
from helpers.backbones import Backbone, evaluating

CELL = 16
"""Pixels of the image for each place of the map of ``STAGE``."""
STAGE = "block5"
_GROUNDS = ("brick", "grass", "gravel")


def scenes(names: Sequence[str], n: int, *, first: int = 0, size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` scenes: a piece of one of these photographs, pasted on brick, grass or gravel.

    ``first`` is the seed of the first scene. Returns images, uint8 (n, 3, size, size), and the pieces' boxes (n, 4):
    x1, y1, x2, y2 in pixels.
    """
    photographs = {name: pil_to_tensor(datasets.photograph(name)).float() for name in (*names, *_GROUNDS)}
    images, boxes = zip(*(_scene(photographs, names, first + i, size) for i in range(n)), strict=True)
    return torch.stack(images), torch.tensor(boxes).float()


def _scene(photographs: dict[str, torch.Tensor], names: Sequence[str], seed: int, size: int):
    generator = torch.Generator().manual_seed(seed)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def cut(picture: torch.Tensor, side: int) -> torch.Tensor:
        top, left = pick(0, picture.shape[1] - side), pick(0, picture.shape[2] - side)
        return picture[:, top : top + side, left : left + side].clone()

    canvas = cut(photographs[_GROUNDS[seed % len(_GROUNDS)]], size)
    width, height = pick(size // 4, size * 9 // 16), pick(size // 4, size * 9 // 16)
    x, y = pick(0, size - width), pick(0, size - height)
    thing = photographs[names[pick(0, len(names) - 1)]]
    shortest = min(thing.shape[1:])
    piece = cut(thing, pick(shortest // 2, shortest))[None].mean(1, keepdim=True)  # gray as the grounds: no giveaway
    canvas[:, y : y + height, x : x + width] = F.interpolate(piece, (height, width), mode="bilinear", antialias=True)[0]
    return canvas.byte(), (x, y, x + width, y + height)


def maps(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
    """What the frozen network's ``STAGE`` makes of the images: (N, C, H / CELL, W / CELL), on the CPU."""
    backbone.to(machine.device(), memory_format=torch.channels_last)  # moved in inference mode, it couldn't learn again
    with torch.inference_mode(), evaluating(backbone):
        found = [backbone.maps(part.to(machine.device()), STAGE).cpu() for part in images.split(30)]
    return torch.cat(found).contiguous().clone()


def boxes_of(out: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The boxes (N, 4) that one place of each output says.

    Args:
        out: (N, 5, H, W): score; shift of the centre in places, x and y; logarithms of width and height over 64 pixels.
        rows, columns: the places, (N,) each.
    """
    dx, dy, width, height = out[torch.arange(len(out)), 1:, rows, columns].T
    x, y = (columns + 0.5 + dx) * CELL, (rows + 0.5 + dy) * CELL
    width, height = 64 * width.exp(), 64 * height.exp()
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1)


def detect(out: torch.Tensor) -> torch.Tensor:
    """The box of the place with the highest score, for each output (N, 5, H, W): (N, 4)."""
    best, width = out[:, 0].flatten(1).argmax(1), out.shape[3]
    return boxes_of(out, best // width, best % width)


def loss(out: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the scores (which place holds the box's centre?), and the error of the box said there."""
    columns, rows = ((boxes[:, :2] + boxes[:, 2:]) / 2 / CELL).long().T
    wrong = (boxes_of(out, rows, columns) - boxes) / 32
    where = F.cross_entropy(out[:, 0].flatten(1), rows * out.shape[3] + columns)
    return where + F.smooth_l1_loss(wrong, torch.zeros_like(wrong))


@torch.inference_mode()
def overlap(head: nn.Module, features: torch.Tensor, boxes: torch.Tensor) -> float:
    """Mean intersection over union of found and true boxes."""
    return box_iou(detect(head.eval()(features)), boxes).diag().mean().item()


def learn(
    features: torch.Tensor,
    boxes: torch.Tensor,
    test: tuple[torch.Tensor, torch.Tensor],
    *,
    epochs: int = 30,
    every: int = 5,
    seed: int = 0,
) -> tuple[nn.Module, list[float]]:
    """Train one 1x1 convolution on maps (N, C, H, W), normalised. Returns it and the mean overlap on ``test``.

    ``test``: maps and boxes. The overlap is measured before the first epoch and after every ``every`` ones.
    """
    machine.seed_everything(seed)
    head = nn.Sequential(nn.BatchNorm2d(features.shape[1], affine=False), nn.Conv2d(features.shape[1], 5, 1))
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.05)
    overlaps = [overlap(head, *test)]
    for epoch in range(1, epochs + 1):
        head.train()
        for rows in torch.randperm(len(features)).split(40):
            optimiser.zero_grad()
            loss(head(features[rows]), boxes[rows]).backward()
            optimiser.step()
        if epoch % every == 0:
            overlaps.append(overlap(head, *test))
    return head.eval(), overlaps


class MapOnly(nn.Module):
    """A backbone as torchvision's detectors want it: images in 0-1 -> one map; ``out_channels`` is its width."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.inference_mode():
            self.out_channels = backbone.maps(torch.zeros(1, 3, 64, 64), STAGE).shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.backbone.maps(255 * images, STAGE)


def show(images: torch.Tensor, found: torch.Tensor, true: torch.Tensor, *, title: str) -> Figure:
    """Images (N, 3, H, W) in a row, with found (blue) and true (yellow, dashed) boxes (N, 4); a closed figure."""
    figure, axes = plt.subplots(1, len(images), figsize=(1.85 * len(images), 2.5), squeeze=False, layout="constrained")
    for axis, image, box, right in zip(axes[0], images, found, true, strict=True):
        axis.imshow(image.permute(1, 2, 0))
        for (x1, y1, x2, y2), colour, style in ((right.tolist(), "yellow", "--"), (box.tolist(), "sky", "-")):
            axis.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=plots.COLOURS[colour], ls=style, lw=2)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))
        axis.set_title(f"IoU {box_iou(box[None], right[None]).item():.2f}", fontsize=10)
        axis.axis("off")
    return plots.closed(figure, title)
