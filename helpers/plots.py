"""Figures that several lessons draw. Each returns a closed figure: as the last value of a cell it shows once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart (jfly.uni-koeln.de/color).
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}


def images(
    pictures: Sequence[Any],
    titles: Sequence[str] = (),
    *,
    title: str = "",
    columns: int | None = None,
    size: float = 2.4,
    cmap: str = "gray",
    limits: tuple[float, float] | None = None,
    numbers: bool = False,
) -> Figure:
    """Pictures side by side.

    Args:
        pictures: PIL images, arrays or tensors: (H, W), (H, W, 3), (1 or 3, H, W).
        titles: one a picture.
        title: what the figure says.
        columns: how many in a row; all by default.
        size: height of one picture in inches.
        limits: the values shown as the two ends of ``cmap``; without them each picture has its own scale.
        numbers: write each value into its pixel (small tables only).
    """
    arrays = [_array(picture) for picture in pictures]
    columns = columns or len(arrays)
    rows = math.ceil(len(arrays) / columns)
    aspect = max(a.shape[1] / a.shape[0] for a in arrays)
    width, height = columns * size * aspect + 0.2, rows * (size + 0.45 * bool(titles)) + 0.45 * bool(title)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, array) in enumerate(zip(axes.flat, arrays, strict=False)):
        shown = axis.imshow(array, cmap=cmap, vmin=limits and limits[0], vmax=limits and limits[1])
        axis.set_title(titles[i] if i < len(titles) else "", fontsize=10)
        if numbers:
            for (row, column), value in np.ndenumerate(array):
                dark = np.dot(shown.cmap(shown.norm(value))[:3], [0.3, 0.6, 0.1]) < 0.5
                text = f"{round(float(value), 2) + 0:g}"  # + 0: no "-0"
                axis.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    figure.suptitle(title, fontsize=12)
    plt.close(figure)
    return figure


def _array(picture: Any) -> np.ndarray:
    """Anything that looks like a picture as (H, W) or (H, W, 3)."""
    array = np.asarray(picture.detach().cpu() if hasattr(picture, "detach") else picture)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
