"""What lesson 6 measures of a fine-tuned network: how far it has moved, what its codes are still worth; its figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from helpers import backbones, codes, datasets, linear, machine, plots, transfer
from helpers.backbones import Backbone
from helpers.datasets import ImageSet, Split


def prepare(name: str, *, size: int, tested: int) -> tuple[ImageSet, Split]:
    """An image set with only ``tested`` test images of each class, and its split."""
    whole = datasets.load(name, size=size)
    train, test = datasets.split(whole)
    test = test[datasets.few_shot(whole.labels[test], tested, seed=0)]
    split = Split(torch.arange(len(train)), torch.arange(len(train), len(train) + len(test)))
    return whole.subset(torch.cat([train, test])), split


def few_images(images: ImageSet, split: Split, per_class: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """(train, test): ``per_class`` training images of each class, drawn with the seed, and the test images."""
    chosen = datasets.few_shot(images.labels[split.train], per_class, seed)
    return images.subset(split.train[chosen]), images.subset(split.test)


def starting_network(train: ImageSet, *, head_first: bool, seed: int) -> Backbone:
    """ImageNet's body with a new head: fitted on the codes of ``train``, or random."""
    torch.manual_seed(seed)
    network = backbones.load()
    if head_first:
        transfer.fit_head(network, train, progress=False)
    else:
        backbones.replace_head(network, len(train.classes))
    return network.to(machine.device())  # fit_head moves it only where the codes aren't on the disk already


class Damage(NamedTuple):
    """What became of a network, on test images."""

    accuracy: float  # the network's own
    cosine: float  # between each image's code and its code of ImageNet's network; 1: unmoved
    fresh_head: float  # the accuracy of a new linear classifier on the codes: what the body is still worth


def damage(network: Backbone, train: ImageSet, test: ImageSet) -> Damage:
    """Compare a network that was trained on ``train`` with the ImageNet network it was."""
    now = {"progress": False, "cache": False}
    codes_then = codes.extract(backbones.load(network.name), test, progress=False)
    codes_now = codes.extract(network, test, **now)
    fresh = linear.fit(codes.extract(network, train, **now), train.labels, kind="logistic", C=10.0)
    with torch.inference_mode():
        said = network.head(codes_now.to(network.head.weight.device)).argmax(1).cpu()
    return Damage(
        accuracy=(said == test.labels).double().mean().item(),
        cosine=F.cosine_similarity(codes_then, codes_now).mean().item(),
        fresh_head=fresh.accuracy(codes_now, test.labels),
    )


def moved_weights(network: Backbone) -> dict[str, float]:
    """How far each stage's weights are from ImageNet's: |new - old| / |old|, the mean over the stage's layers."""
    ratios: dict[str, list[float]] = {}
    before = backbones.load(network.name).parameters()
    for (stage, new), old in zip(network.stage_of_parameters(), before, strict=True):
        if stage != "logits" and new.ndim > 1:  # the weights of layers; norms and biases are vectors
            new = new.detach().cpu()
            ratios.setdefault(stage, []).append(((new - old).norm() / old.norm()).item())
    return {stage: statistics.mean(values) for stage, values in ratios.items()}


def moved_norms(network: Backbone) -> list[float]:
    """How far the running means of each BatchNorm layer are from ImageNet's, in standard deviations."""
    new, old = (
        [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
        for net in (network, backbones.load(network.name))
    )
    return [
        ((a.running_mean.cpu() - b.running_mean) / (b.running_var + b.eps).sqrt()).abs().mean().item()
        for a, b in zip(new, old, strict=True)
    ]


def mean_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; of a single value the deviation is 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def by_number(results: dict[str, list[transfer.Result]], guessing: dict[str, float], *, title: str) -> Figure:
    """Test accuracy over the number of images a class, with spread: a panel for each set, a line for each method."""
    # Marks at the same number stand a little apart, so that one doesn't hide the other.
    looks = {"extract": ("blue", "o", 0.97), "fine_tune": ("vermilion", "s", 1.03), "scratch": ("green", "^", 1)}
    size = (4.6 * len(results), 3.8)
    figure, axes = plt.subplots(1, len(results), figsize=size, sharey=True, layout="constrained", squeeze=False)
    for axis, (name, runs) in zip(axes[0], results.items(), strict=True):
        lines = transfer.summary(runs)
        for method, (colour, marker, apart) in looks.items():
            points = [(x.per_class * apart, 100 * x.mean, 100 * x.spread) for x in lines if x.method == method]
            style = {"color": plots.COLOURS[colour], "marker": marker, "label": method.replace("_", "-")}
            if points:
                axis.errorbar(*zip(*points, strict=True), capsize=3, **style)
        axis.axhline(100 * guessing[name], color="gray", linestyle=":", label="guessing")
        numbers = sorted({x.per_class for x in lines})
        axis.set(xscale="log", xlabel="training images a class", title=name, ylim=(0, 100))
        axis.set_xticks(numbers, numbers)
        axis.minorticks_off()
    axes[0, 0].set_ylabel("test accuracy, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return plots.closed(figure, title)


def decision_table(measured: dict[tuple[str, str], dict[str, list[float]]], *, title: str) -> Figure:
    """The decision table as bars: {(row, column): {method: accuracies}}; the best mean of each cell is coloured."""
    rows, columns = (list(dict.fromkeys(key[i] for key in measured)) for i in (0, 1))
    size = (4.8 * len(columns), 2.2 * len(rows))
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, layout="constrained", squeeze=False)
    for (row, column), found in measured.items():
        means, spreads = zip(*map(mean_spread, found.values()), strict=True)
        colours = ["vermilion" if mean == max(means) else "sky" for mean in means]
        axis = axes[rows.index(row), columns.index(column)]
        plots.bars(list(found), means, spreads, title=f"{row}, {column}", colours=colours, axis=axis)
        axis.title.set_fontsize(10)
    return plots.closed(figure, title)
