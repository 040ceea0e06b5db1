"""Figures that several lessons draw. Each returns a closed figure: as the last value of a cell it shows once."""

from __future__ import annotations

import math
import textwrap
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


def closed(figure: Figure, title: str = "") -> Figure:
    """The figure with its title; closed, so that as the last value of a cell it shows once."""
    figure.suptitle(title, fontsize=12)
    plt.close(figure)
    return figure


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
    return closed(figure, title)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    spreads: Sequence[float] = (),
    *,
    title: str = "",
    label: str = "test accuracy, %",
    colours: Sequence[str] = ("blue",),
    lowest: float = 0.0,
    axis: Any = None,
) -> Figure:
    """Lying bars, the first on top, each with its value in per cent and, where given, its spread.

    Args:
        values, spreads: fractions (0.9 is drawn as 90 %); a spread of 0 draws none.
        colours: names of ``COLOURS``, one a bar (repeated when there are fewer).
        lowest: where the axis begins, in per cent; if not at 0, there are points instead of bars.
        axis: draw into this one instead of a figure of its own.
    """
    if axis is None:
        _, axis = plt.subplots(figsize=(8, 0.8 + 0.38 * len(names)), layout="constrained")
    spreads = spreads or [0.0] * len(names)
    for i, (value, spread) in enumerate(zip(values, spreads, strict=True)):
        colour = COLOURS[colours[i % len(colours)]]
        if lowest:  # the length of a bar that begins there would mislead
            axis.hlines(i, lowest, 100 * value, colors="gray", linestyles="dotted")
            axis.plot(100 * value, i, "o", color=colour, markersize=10)
        else:
            axis.barh(i, 100 * value, color=colour)
        axis.errorbar(100 * value, i, xerr=100 * spread or None, color="black", capsize=3)
        text = f" {100 * value:.1f}" + (f" ± {100 * spread:.1f}" if spread else "")
        end = 100 * value + max(100 * spread, (100 - lowest) / 80 if lowest else 0)
        axis.text(end, i, text, va="center", fontsize=9)
    axis.set_yticks(range(len(names)), names)
    axis.set(title=title, xlabel=label, xlim=(lowest, lowest + 1.15 * (100 - lowest)), ylim=(len(names) - 0.4, -0.6))
    axis.set_xticks([tick for tick in axis.get_xticks() if tick <= 100])
    plt.close(axis.figure)
    return axis.figure


def curves(
    x: Sequence[float],
    series: dict[str, Any],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    limits: tuple[float, float] | None = None,
    axis: Any = None,
) -> Figure:
    """Mean curves over seeds, with their spread (standard deviation) as bars.

    Args:
        x: (P,) places.
        series: name -> (P,), or (seeds, P) values.
        log: which axes are logarithmic: "", "x", "y" or "xy".
        limits: of the y axis.
        axis: draw into this one instead of a figure of its own.
    """
    if axis is None:
        _, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    styles = zip((name for name in COLOURS if name != "yellow"), "os^Dv*P", strict=True)
    for (name, values), (colour, marker) in zip(series.items(), styles, strict=False):
        values = np.atleast_2d(np.asarray(values, dtype=float))
        spread = values.std(0, ddof=1) if len(values) > 1 else None
        axis.errorbar(x, values.mean(0), spread, marker=marker, color=COLOURS[colour], capsize=3, label=name)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear", ylim=limits)
    if len(series) > 1:
        axis.legend()
    plt.close(axis.figure)
    return axis.figure


def confusion(matrix: Any, classes: Sequence[str], *, title: str = "") -> Figure:
    """A confusion matrix (K, K) of counts, rows true and columns predicted, shown as per cent of each row."""
    counts = np.asarray(matrix, dtype=float)
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    side = 2.2 + 0.42 * len(classes)
    figure, axis = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 50 else "black"
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 4 else 0)
    axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="predicted class", ylabel="true class")
    figure.suptitle(textwrap.fill(title, int(11 * figure.get_figwidth())))  # above the colour bar, not through it
    figure.colorbar(shown, ax=axis, label="% of the true class", shrink=0.8)
    plt.close(figure)
    return figure


def points(
    maps: Sequence[Any],
    labels: Sequence[Any],
    classes: Sequence[str],
    titles: Sequence[str] = (),
    *,
    title: str = "",
    columns: int | None = None,
    size: float = 3.6,
) -> Figure:
    """Maps side by side, a dot a point, with one legend. The axes of a map mean nothing, so they have no numbers.

    Args:
        maps: (N, 2) each.
        labels: class numbers (N,) of all maps, or one such row for each map.
        classes: their names; colour and shape together tell up to 21 apart.
    """
    columns = columns or len(maps)
    rows = math.ceil(len(maps) / columns)
    shape = (columns * size + 1.6, rows * (size + 0.3) + 0.4 * bool(title))
    figure, axes = plt.subplots(rows, columns, figsize=shape, squeeze=False, layout="constrained")
    colours = [colour for name, colour in COLOURS.items() if name != "yellow"]  # too pale for a dot
    rows_of_labels = [labels] * len(maps) if np.ndim(labels[0]) == 0 else labels
    for axis, points, own in zip(axes.flat, maps, rows_of_labels, strict=False):
        places, numbers = np.asarray(points), np.asarray(own)
        for number, name in enumerate(classes):
            style = {"color": colours[number % 7], "marker": "o^s"[number // 7 % 3]}
            axis.scatter(*places[numbers == number].T, s=14, linewidths=0, alpha=0.8, label=name, **style)
    for i, axis in enumerate(axes.flat):
        axis.set(xticks=[], yticks=[], title=titles[i] if i < len(titles) else "")
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_visible(i < len(maps))
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside right center", markerscale=2, frameon=False)
    return closed(figure, title)


def _array(picture: Any) -> np.ndarray:
    """Anything that looks like a picture as (H, W) or (H, W, 3)."""
    array = np.asarray(picture.detach().cpu() if hasattr(picture, "detach") else picture)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
