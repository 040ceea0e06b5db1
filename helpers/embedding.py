"""Maps of codes: t-SNE, what a map keeps of the neighbours, pictures on a grid, and codes of many stages at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch.nn import functional as F

from helpers.backbones import Backbone, evaluating
from helpers.datasets import resized


def neighbours(points: torch.Tensor, k: int = 10) -> torch.Tensor:
    """The k nearest other points of each point (Euclidean, nearest first): (N, D) -> int64 (N, k)."""
    if not 1 <= k < len(points):
        raise ValueError(f"k is {k}, but {len(points)} points have {len(points) - 1} others each: choose 1 to that.")
    centred = points.float() - points.float().mean(0)  # smaller numbers: cdist rounds less
    return torch.cdist(centred, centred).fill_diagonal_(torch.inf).topk(k, largest=False).indices


def knn_accuracy(points: torch.Tensor, labels: torch.Tensor, k: int = 10) -> float:
    """How often the commonest class among the k nearest *other* points is the point's own (ties: the lower class)."""
    votes = F.one_hot(labels[neighbours(points, k)]).sum(1)
    return float((votes.argmax(1) == labels).float().mean())


def preservation(high: torch.Tensor, low: torch.Tensor, k: int = 10) -> float:
    """The share of the k nearest neighbours in ``high`` (N, D) that are among the k nearest in ``low`` (N, d).

    1 when every neighbourhood is kept; a map by chance reaches about k / (N - 1).
    """
    if len(high) != len(low):
        raise ValueError(f"{len(high)} points and {len(low)} places on the map: they must be the same points.")
    before, after = neighbours(high, k), neighbours(low, k)
    return float((before[:, :, None] == after[:, None, :]).any(2).float().mean())


def pca(codes: torch.Tensor, dimensions: int = 50) -> torch.Tensor:
    """Codes (N, D) -> their first principal components (N, dimensions), or as many as there are."""
    return torch.from_numpy(PCA(min(dimensions, *codes.shape), random_state=0).fit_transform(codes.numpy()))


def tsne(codes: torch.Tensor, *, perplexity: float = 30, seed: int = 0, init: str = "pca", steps: int = 500):
    """Codes (N, D) -> a map (N, 2). Van der Maaten and Hinton 2008; 50 principal components first (they took 30).

    Args:
        perplexity: roughly how many neighbours a point looks at; must be smaller than N.
        init: "pca" (the first two components, which do not depend on the seed) or "random".
        steps: of gradient descent.
    """
    if not 1 <= perplexity < len(codes):
        raise ValueError(f"perplexity is {perplexity}: it must be at least 1 and below the {len(codes)} points.")
    values = pca(codes).numpy()
    # scikit-learn's own start from PCA approximates it, by numbers drawn with the seed: other seeds, other maps
    start = (values[:, :2] / values[:, 0].std() * 1e-4).astype("float32") if init == "pca" else init
    model = TSNE(perplexity=perplexity, init=start, random_state=seed, max_iter=steps)
    return torch.from_numpy(model.fit_transform(values))


def grid(points: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A cell of its own for each point of a map (N, 2): int64 (N,), ``row * columns + column``, row 0 at the top.

    The map is stretched to the grid; then the sum of the squared ways to the cells is made as small as it can be.
    """
    if len(points) > rows * columns:
        raise ValueError(f"{len(points)} pictures don't fit on {rows} x {columns} cells: take fewer, or a larger grid.")
    low, high = points.amin(0), points.amax(0)
    x, y = ((points - low) / (high - low).clamp_min(1e-12)).T
    row, column = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
    cells = torch.stack([column.flatten(), row.flatten()], dim=1)
    return torch.from_numpy(linear_sum_assignment(torch.cdist(torch.stack([x, 1 - y], 1), cells).square().numpy())[1])


def mosaic(images: torch.Tensor, cells: torch.Tensor, rows: int, columns: int, size: int = 32) -> torch.Tensor:
    """Thumbnails (N, C, H, W) in their cells: uint8 (C, rows * size, columns * size); empty cells are white."""
    small = resized(images, size)
    sheet = torch.full((rows * columns, *small.shape[1:]), 255, dtype=torch.uint8)
    sheet[cells] = small
    return sheet.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).reshape(-1, rows * size, columns * size)


@torch.inference_mode()
def watch(backbone: Backbone, images: torch.Tensor, layers: Sequence[str], size: int = 96) -> dict[str, torch.Tensor]:
    """What stages or modules of a network return (``Backbone.look``), in one pass: name -> codes (N, D), maps averaged.

    ``size``: the images (N, C, H, W) are scaled to this first.
    """
    found = []
    with evaluating(backbone):
        for batch in images.split(64):
            scaled = F.interpolate(batch.float(), (size, size), mode="bilinear", antialias=True)
            maps = backbone.look(scaled.contiguous(memory_format=torch.channels_last), layers)
            found.append([(values.mean((2, 3)) if values.ndim == 4 else values).cpu() for values in maps.values()])
    return dict(zip(layers, map(torch.cat, zip(*found, strict=True)), strict=True))
