"""Explorers to move by hand, each one line in a lesson. They are pages without a server: no kernel, no network.

A page lives in a frame of its own (an ``<iframe srcdoc>``), so that neither its keys nor its styles meet those of
JupyterLab, VS Code, Colab or a saved HTML page. Where scripts don't run, its still picture is there instead.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from helpers import visualise
from helpers.backbones import Backbone, evaluating
from helpers.datasets import ImageSet, resized
from helpers.strengths import SEED, Ladder

PAGES = Path(__file__).parent / "pages"
_APART = {"subsampling": 0}  # of a JPEG: colours don't run into the next tile
_TILE = 48  # pixels of a side of a patch in the page, where it has as many
_LEVELS = 63  # of a map in the page: a fourth of its bytes is saved, and a value is right to a hundredth of the largest


@dataclass(frozen=True)
class Explorer:
    """A page with its still picture; as the last value of a cell it shows itself.

    ``name``: of its file in ``helpers/pages``. ``title`` and ``alt``: for screen readers, of the frame and the still.
    """

    name: str
    title: str
    alt: str
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def page(self) -> str:
        """The whole page, as HTML."""
        data = json.dumps(self.data).replace("</", "<\\/")
        text = _file(f"{self.name}.html").replace("/* shared.css */", _file("shared.css"))
        return text.replace("/* shared.js */", _file("shared.js")).replace("null /* data */", data)

    @property
    def still(self) -> Path:
        """The picture that stands in where scripts don't run (``python -m tools.stills`` takes it)."""
        return PAGES / f"{self.name}.png"

    def _repr_html_(self) -> str:
        still = ""
        if self.still.exists():
            data = base64.b64encode(self.still.read_bytes()).decode()
            still = f'<img src="data:image/png;base64,{data}" alt="{html.escape(self.alt)}" style="max-width:100%">'
        return (
            # without scripts the frame would be an empty box above the still picture
            "<div><noscript><style>iframe[data-explorer]{display:none}</style></noscript>"
            f'<iframe data-explorer="{self.name}" title="{html.escape(self.title)}" srcdoc="{html.escape(self.page)}" '
            f'style="width:100%;height:720px;border:0"></iframe>{still}</div>'
        )


@cache
def _file(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def address(picture: Image.Image | torch.Tensor, kind: str = "JPEG", **options: int) -> str:
    """A picture, or uint8 (C, H, W), as the address that a page takes it from."""
    file = io.BytesIO()
    (to_pil_image(picture) if isinstance(picture, torch.Tensor) else picture).save(file, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode()


def _sheet(tiles: torch.Tensor, columns: int) -> torch.Tensor:
    """uint8 (N, C, S, S) -> (C, rows * S, columns * S), row by row; what is left of the last row is black."""
    tiles = torch.cat([tiles, tiles.new_zeros(-len(tiles) % columns, *tiles.shape[1:])])
    return torch.cat(list(torch.cat(list(row), 2) for row in tiles.split(columns)), 1)


def convolution() -> Explorer:
    """A window that slides over an input: its sums written out, and the size of the output."""
    alt = "A 3×3 kernel on a 7×7 input of digits, the nine products under the window, and the 5×5 output."
    return Explorer("convolution", "Convolution explorer", alt)


def receptive_field(layers: Sequence[Sequence[int]] = ()) -> Explorer:
    """What one unit behind a stack of layers sees, along one axis, layer by layer.

    ``layers``: up to five, each ``(kernel, stride, padding, dilation)``; the tail may be left out.
    """
    alt = "A stack of layers: one unit of the last layer, and the units and pixels below that it depends on."
    data = {"layers": [list(layer) for layer in layers], "size": 21}
    return Explorer("field", "Receptive field explorer", alt, data)


def kernels(photograph: Image.Image, classics: Mapping[str, Any], start: str | None = None) -> Explorer:
    """A 3×3 kernel to edit or to pick, live on a photograph or on an image of one's own.

    Args:
        classics: name -> (3, 3) weights.
        start: the one to begin with; the first by default.
    """
    gray = photograph.convert("L").resize((300, round(300 * photograph.height / photograph.width)))
    data = {
        "photograph": address(gray, quality=92),
        "kernels": {name: [[float(weight) for weight in row] for row in kernel] for name, kernel in classics.items()},
        "start": start or next(iter(classics)),
    }
    alt = "A photograph, the nine weights of a 3×3 kernel, and the photograph after the convolution with it."
    return Explorer("kernels", "Kernel playground", alt, data)


def augmentations(
    pictures: Mapping[str, torch.Tensor], pair: Mapping[str, torch.Tensor], ladders: Sequence[Ladder], size: int = 72
) -> Explorer:
    """Each augmentation with its strengths, eight draws of each; mixup and CutMix with their labels.

    Args:
        pictures: name -> (1 or 3, H, W) in 0-255; the draws are made of them at ``size`` pixels.
        pair: two more, which are mixed.
        ladders: of ``helpers.strengths``.

    Raises:
        ValueError: ``pair`` doesn't hold two pictures.
    """
    if len(pair) != 2:
        raise ValueError(f"{len(pair)} pictures are given to be mixed: give two, by name.")
    count, sheets = 8, {}
    stored = [ladder for ladder in ladders if ladder.make]
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(SEED))
    for name, picture in pictures.items():
        small = resized(picture[None], size)[0].expand(3, -1, -1)
        rows = [small.expand(count, -1, -1, -1)]
        rows += [ladder.samples(small, value, count) for ladder in stored for value in ladder.values]
        sheets[name] = address(_sheet(torch.cat(rows), count), quality=55, **_APART)
    data = {
        "size": size,
        "count": count,
        "ladders": [
            {
                "name": one.name,
                "levels": [[one.say.format(v=v), one.code(v)] for v in one.values],
                "sigmas": None if one.make else one.values,
            }
            for one in ladders
        ],
        "noise": base64.b64encode((25 * noise).round().clamp(-127, 127).char().numpy()).decode(),  # in 25ths of σ
        "pictures": sheets,
        "pair": {name: address(resized(picture[None], 144)[0], quality=90) for name, picture in pair.items()},
    }
    alt = "Eight draws of an augmentation of a picture; below, two pictures, their blend, and its mixed label."
    return Explorer("augmentations", "Augmentation explorer", alt, data)


def code_map(
    image_set: ImageSet, codes: torch.Tensor, maps: Mapping[str, torch.Tensor], k: int = 10, size: int = 48
) -> Explorer:
    """Maps of codes: the picture behind each point, and its k nearest among the codes and on the map.

    Args:
        image_set: N images, shown as thumbnails of ``size`` pixels; more than 1,500 make a heavy page.
        codes: (N, D).
        maps: name -> (N, 2), in the order of the slider; the middle one is shown first.

    Raises:
        ValueError: codes or a map have another number of rows than there are images.
    """
    from helpers.embedding import neighbours  # scikit-learn comes with it, which lesson 01 needn't wait for

    for name, rows in {"codes": codes, **maps}.items():
        if len(rows) != len(image_set):
            raise ValueError(f"{name}: {len(rows)} rows, but there are {len(image_set)} images. Take the same sample.")

    def drawn(points: torch.Tensor) -> list[list[int]]:
        """x and y in thousandths of the longer side; y goes down."""
        low, high = points.amin(0), points.amax(0)
        x, y = (1000 * ((points - (low + high) / 2) / (high - low).max() + 0.5)).round().int().T.tolist()
        return [x, [1000 - value for value in y]]

    columns = 25
    data = {
        "classes": list(image_set.classes),
        "labels": image_set.labels.tolist(),
        "files": ["/".join(name.split("/")[-2:]) for name in image_set.files],
        "k": k,
        "near": neighbours(codes, k).tolist(),
        "maps": [
            {"name": name, "places": drawn(points), "near": neighbours(points, k).tolist()}
            for name, points in maps.items()
        ],
        "sheet": address(_sheet(resized(image_set.images, size), columns), quality=70, **_APART),
        "columns": columns,
    }
    alt = "A map of images as points, one chosen: its nearest neighbours among the codes and on the map, as thumbnails."
    return Explorer("map", "Map of codes", alt, data)


@torch.no_grad()
def filters(
    networks: Mapping[str, tuple[Backbone, Mapping[str, visualise.Strongest]]],
    photographs: Mapping[str, torch.Tensor],
    stages: Mapping[str, str],
    *,
    also: Sequence[int] = (),
    channels: int = 16,
    start: int = 0,
) -> Explorer:
    """Network, stage and channel to choose: its map of a photograph, and the patches that excite it most.

    Args:
        networks: name -> the network, and what ``visualise.strongest`` found with it in an image set.
        photographs: name -> pixels (3, H, W) in 0-255, all of one size.
        stages: layer (as in ``Backbone.look``) -> the name shown.
        also: channels that come first in the stages that have them; the lowest numbers fill up to ``channels``.
        start: which stage is shown first.
    """
    pixels = torch.stack([picture.byte() for picture in photographs.values()])
    height, width = pixels.shape[2:]
    pictures = {name: address(one, quality=85) for name, one in zip(photographs, pixels, strict=True)}
    data = {"networks": {}, "photographs": pictures, "height": height, "width": width, "start": start}
    for name, (backbone, found) in networks.items():
        with evaluating(backbone):
            maps = backbone.look(pixels.to(backbone._mean.device), list(stages))
        data["networks"][name] = {}
        for layer, shown in stages.items():
            count = maps[layer].shape[1]
            chosen = list(dict.fromkeys(channel for channel in (*also, *range(count)) if channel < count))[:channels]
            data["networks"][name][shown] = _stage(maps[layer][:, chosen].cpu(), found[layer], chosen)
    alt = "A photograph, the map of one channel of a network, and the nine patches that excite this channel most."
    return Explorer("filters", "Filter and activation browser", alt, data)


def _stage(maps: torch.Tensor, found: visualise.Strongest, chosen: list[int]) -> dict[str, Any]:
    """What the page shows of some channels of a layer: maps (P, K, H, W) and patches, each kind as one picture."""
    patches = [found.patches(channel, min(9, len(found.values))) for channel in chosen]
    largest = maps.amax((2, 3), keepdim=True)  # each map has its own scale
    levels = (_LEVELS * maps / largest.clamp_min(1e-12)).clamp_min(0).round().byte() * (255 // _LEVELS)
    side = min(_TILE, patches[0][0].pixels.shape[-1])
    tiles = [[np.asarray(to_pil_image(patch.pixels).resize((side, side))) for patch in row] for row in patches]
    sheets = [Image.fromarray(np.vstack([np.hstack(row) for row in rows])) for rows in (levels.numpy(), tiles)]
    return {
        "channels": chosen,
        "shape": list(maps.shape[2:]),
        "fields": [{"size": field.size, "jump": field.jump, "start": field.start} for field in found.fields],
        "largest": largest.flatten(1).tolist(),
        "silent": (maps <= 0).float().mean((2, 3)).tolist(),
        "maps": address(sheets[0], "WEBP", lossless=1),
        "values": [[round(patch.value, 4) for patch in row] for row in patches],
        "patches": address(sheets[1], "WEBP", quality=65),
        "side": side,
        "images": len(found.values),
    }
