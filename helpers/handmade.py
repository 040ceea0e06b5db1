"""Features that people designed before networks learned theirs: HOG, and a bag of SIFT-like words on a pyramid.

Both start from the gradient: how much does the image change at a pixel, and in which direction?
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from joblib import Memory
from sklearn.cluster import MiniBatchKMeans
from torch.nn import functional as F

from helpers import machine
from helpers.datasets import ImageSet, resized


def hog(image_set: ImageSet, size: int = 64) -> torch.Tensor:
    """Histograms of oriented gradients (Dalal & Triggs 2005) by scikit-image, float32 (N, D); kept on disk.

    Cells of 8 x 8 pixels, 9 directions, blocks of 2 x 2 cells: D is 1,764 for a size of 64.
    """
    return torch.from_numpy(_memory().cache(_hog)(gray(image_set, size).numpy()))


def bag_of_words(image_set: ImageSet, train: torch.Tensor, words: int = 200, size: int = 160) -> torch.Tensor:
    """Spatial pyramids of SIFT-like words (Lazebnik, Schmid & Ponce 2006), float32 (N, 5 x words); kept on disk.

    Args:
        train: rows whose patches may form the vocabulary. Only they: the test part stays unseen.
        words: how many kinds of patches are told apart.
        size: pixels of a side; patches are 16 pixels wide and stand 8 pixels apart.
    """
    images, rows = gray(image_set, size).numpy(), train.numpy()
    found = torch.from_numpy(_memory().cache(_bag_of_words)(images, rows, words))
    machine.give_memory_back()
    return found


def gray(image_set: ImageSet, size: int) -> torch.Tensor:
    """The images as uint8 (N, size, size), in gray."""
    parts = image_set.images.split(256)
    return torch.cat([resized(part.float().mean(1, keepdim=True), size) for part in parts])[:, 0]


def sift(images: torch.Tensor) -> torch.Tensor:
    """SIFT-like descriptors (Lowe 2004, section 6) on a grid: gray (N, H, W) -> (N, rows, columns, 128).

    The length of the gradient goes to the maps of the directions near its own, of eight; the maps are averaged in cells
    of 4 x 4 pixels; 4 x 4 cells make a descriptor. It is a small ConvNet made by hand: filters, a nonlinearity,
    pooling, normalisation. (Left out of the original: the Gaussian window, scale and rotation.)
    """
    x = F.pad(images.float()[:, None], (1, 1, 1, 1), mode="replicate")
    dx, dy = x[..., 1:-1, 2:] - x[..., 1:-1, :-2], x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    length = torch.hypot(dx, dy)
    dx, dy = dx / length.clamp_min(1e-6), dy / length.clamp_min(1e-6)
    maps = []
    for i in range(8):
        angle = i * math.pi / 4
        cosine = (dx * math.cos(angle) + dy * math.sin(angle)).clamp_min(0)
        squared = cosine.square()
        maps.append(F.avg_pool2d(cosine * squared * squared * length, 4))  # at 45 degrees, a sixth of it
    cells = torch.cat(maps, 1)
    rows, columns = ((side - 4) // 2 + 1 for side in cells.shape[2:])
    values = F.unfold(cells, 4, stride=2).transpose(1, 2).reshape(len(x), rows, columns, -1)
    # Length 1, then no value above 0.2, then length 1 again: one strong edge must not outweigh all the rest.
    # What hardly changes at all (a clear sky) becomes zero instead of being blown up.
    strength = values.norm(dim=-1, keepdim=True)
    return F.normalize((values / strength.clamp_min(4.0)).clamp_max(0.2), dim=-1) * (strength > 4.0)


def _hog(images: np.ndarray) -> np.ndarray:
    from skimage.feature import hog

    return np.stack([hog(image, 9, (8, 8), (2, 2)) for image in images]).astype(np.float32)


def _bag_of_words(images: np.ndarray, train: np.ndarray, words: int) -> np.ndarray:
    vocabulary = _vocabulary(images[train], words)
    return torch.cat([_pyramid(sift(part), vocabulary) for part in torch.from_numpy(images).split(64)]).numpy()


def _vocabulary(images: np.ndarray, words: int) -> torch.Tensor:
    """Centres (words, D) of the clusters that descriptors of these images form."""
    random = np.random.default_rng(0)
    chosen = torch.from_numpy(images[random.permutation(len(images))[:300]])
    descriptors = torch.cat([sift(part).flatten(0, 2) for part in chosen.split(64)]).numpy()
    descriptors = descriptors[random.permutation(len(descriptors))[:20_000]]
    clusters = MiniBatchKMeans(words, batch_size=2048, n_init=1, max_iter=20, random_state=0).fit(descriptors)
    return torch.from_numpy(clusters.cluster_centers_).float()


def _pyramid(descriptors: torch.Tensor, vocabulary: torch.Tensor) -> torch.Tensor:
    """How often each word is the nearest, in the image and in each quarter of it: (N, 5 x words), roots of shares."""
    nearest = (descriptors @ vocabulary.T - vocabulary.square().sum(1) / 2).argmax(-1)
    maps = F.one_hot(nearest, len(vocabulary)).permute(0, 3, 1, 2).float()
    whole, quarters = (F.adaptive_avg_pool2d(maps, side).flatten(1) / side**2 for side in (1, 2))
    return torch.cat([whole, quarters], 1).sqrt()  # the root tames words that are everywhere


def _memory() -> Memory:  # named by this file: joblib looks only at the one function whose results it keeps
    code = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=6).hexdigest()
    return Memory(machine.cache_dir() / "handmade" / code, verbose=0)
