"""Maps of codes: t-SNE, what a map keeps of the neighbours, and pictures laid out on a grid. Lesson 07."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch.nn import functional as F


def neighbours(points: torch.Tensor, k: int = 10) -> torch.Tensor:
    """The k nearest other points of each point (Euclidean, nearest first): (N, D) -> int64 (N, k)."""
    if not 1 <= k < len(points):
        raise ValueError(f"k is {k}, but each of the {len(points)} points has {len(points) - 1} others: choose k from 1.")
    centred = points.float() - points.float().mean(0)  # smaller numbers: cdist rounds less
    distances = torch.cdist(centred, centred).fill_diagonal_(torch.inf)
    return distances.topk(k, largest=False).indices


def knn_accuracy(points: torch.Tensor, labels: torch.Tensor, k: int = 10) -> float:
    """How often the most frequent class among the k nearest *other* points is the right one (ties: the lower class)."""
    votes = F.one_hot(labels[neighbours(points, k)]).sum(1)
    return float((votes.argmax(1) == labels).float().mean())


def preservation(high: torch.Tensor, low: torch.Tensor, k: int = 10) -> float:
    """The share of the k nearest neighbours in ``high`` (N, D) that are among the k nearest in ``low`` (N, d).

    1 when a map keeps every neighbourhood; a random map reaches k / (N - 1).
    """
    if len(high) != len(low):
        raise ValueError(f"{len(high)} points and {len(low)} places on the map: they must be the same points.")
    before, after = neighbours(high, k), neighbours(low, k)
    return float((before[:, :, None] == after[:, None, :]).any(2).float().mean())


def pca(codes: torch.Tensor, dimensions: int = 50) -> torch.Tensor:
    """Codes (N, D) -> their first principal components (N, dimensions), or as many as there are."""
    dimensions = min(dimensions, *codes.shape)
    return torch.from_numpy(PCA(dimensions, random_state=0).fit_transform(codes.numpy()))


def tsne(
    codes: torch.Tensor, *, perplexity: float = 30, seed: int = 0, init: str = "pca", steps: int = 750
) -> torch.Tensor:
    """Codes (N, D) -> a map (N, 2). Van der Maaten and Hinton 2008; 50 principal components first, as they did.

    Args:
        perplexity: roughly how many neighbours a point looks at; must be smaller than N.
        init: "pca" (the first two components, which does not depend on the seed) or "random".
        steps: of gradient descent.
    """
    if not 1 <= perplexity < len(codes):
        raise ValueError(f"perplexity is {perplexity}: it must be at least 1 and below the {len(codes)} points.")
    model = TSNE(perplexity=perplexity, init=init, random_state=seed, max_iter=steps)
    return torch.from_numpy(model.fit_transform(pca(codes).numpy()))


def affinities(codes: torch.Tensor, perplexity: float = 30) -> torch.Tensor:
    """t-SNE's p_ij (N, N), sum 1: each point's Gaussian is as wide as the perplexity asks for. Same paper, section 2."""
    squared = torch.cdist(codes.double(), codes.double()).square().fill_diagonal_(torch.inf)
    low, high = torch.full((2, len(codes), 1), -40.0, dtype=torch.float64)
    high = high + 80  # log of 1 / (2 sigma^2): narrow it down by halves
    squared = squared / squared.min(1, keepdim=True).values.clamp_min(1e-12).median()  # any unit of length
    for _ in range(60):
        middle = (low + high) / 2
        p = (-(squared - squared.min(1, keepdim=True).values) * middle.exp()).softmax(1)
        entropy = torch.special.entr(p).sum(1, keepdim=True)
        too_wide = entropy > np.log(perplexity)
        low, high = torch.where(too_wide, middle, low), torch.where(too_wide, high, middle)
    return (p + p.T) / (2 * len(p))


def grid(points: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A cell of its own for each point of a map, so that the way to go is shortest in all: (N, 2) -> int64 (N,).

    Cell ``row * columns + column``; row 0 is the top. The map is stretched to the grid first, then the assignment
    problem is solved exactly: the sum of the squared ways is as small as it can be.
    """
    if len(points) > rows * columns:
        raise ValueError(f"{len(points)} pictures don't fit on {rows} x {columns} cells: take fewer, or a larger grid.")
    low, high = points.amin(0), points.amax(0)
    places = (points - low) / (high - low).clamp_min(1e-12) * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    row, column = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
    cells = torch.stack([column.flatten(), row.flatten()], dim=1)
    return torch.from_numpy(linear_sum_assignment(torch.cdist(places, cells).square().numpy())[1])


def mosaic(images: torch.Tensor, cells: torch.Tensor, rows: int, columns: int, size: int = 32) -> torch.Tensor:
    """Thumbnails (N, C, H, W) on their cells as one picture, uint8 (C, rows * size, columns * size); the rest is white."""
    small = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True).round().to(torch.uint8)
    sheet = torch.full((rows * columns, *small.shape[1:]), 255, dtype=torch.uint8)
    sheet[cells] = small
    sheet = sheet.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4)
    return sheet.reshape(len(sheet), rows * size, columns * size)
