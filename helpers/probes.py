"""What lesson 3 measures, compares with and draws: library steps, the landscape of a loss, a second test set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from helpers import plots
from helpers.datasets import ImageSet
from helpers.training import History


def adam_steps(seed: int, steps: int) -> list[tuple]:
    """What torch.optim.Adam does (rate 0.05, betas 0.8 and 0.95, eps 0.01) with random gradients of shape (3, 2).

    For each step: what goes in, (w, g, m, s), and what comes out, (w, m, s); m and s are the running means of g and g².
    """
    generator = torch.Generator().manual_seed(seed)
    w, m, s = nn.Parameter(torch.randn(3, 2, generator=generator)), torch.zeros(3, 2), torch.zeros(3, 2)
    adam, found = torch.optim.Adam([w], lr=0.05, betas=(0.8, 0.95), eps=0.01), []
    for _ in range(steps):
        w.grad = torch.randn(3, 2, generator=generator)
        given = (w.detach().clone(), w.grad.clone(), m, s)
        adam.step()
        m, s = adam.state[w]["exp_avg"].clone(), adam.state[w]["exp_avg_sq"].clone()
        found.append((given, (w.detach().clone(), m, s)))
    return found


def batch_norm_step(channels: int, momentum: float, eps: float, training: bool) -> tuple[tuple, tuple]:
    """What nn.BatchNorm2d does with random values: (x, gamma, beta, mean, var) and (out, new mean, new var)."""
    generator = torch.Generator().manual_seed(7)
    layer = nn.BatchNorm2d(channels, momentum=momentum, eps=eps).train(training)
    given = [torch.rand(channels, generator=generator) + 0.5 for _ in range(4)]
    names = ("weight", "bias", "running_mean", "running_var")
    layer.load_state_dict(dict(zip(names, given, strict=True)), strict=False)
    x = torch.randn(4, channels, 3, 2, generator=generator) * 5 + 1
    return (x, *given), (layer(x).detach(), layer.running_mean, layer.running_var)


def descend_line(x: torch.Tensor, y: torch.Tensor, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient descent on the mean of (w·x + b - y)², from w = b = 0 until 99 % of the possible fall is done.

    x, y: (N,). Returns the points (w, b) on the way, (steps + 1, 2), and the minimum, (2,); float64.
    """
    inputs, y = torch.stack([x, torch.ones_like(x)], 1).double(), y.double()
    best = torch.linalg.lstsq(inputs, y[:, None]).solution[:, 0]
    lowest, points = (inputs @ best - y).square().mean(), [torch.zeros(2, dtype=torch.float64)]
    while (inputs @ points[-1] - y).square().mean() - lowest > 0.01 * (y.square().mean() - lowest):
        points.append(points[-1] - rate * 2 * inputs.T @ (inputs @ points[-1] - y) / len(y))
    return torch.stack(points), best


def movement(model: nn.Module, run: Callable[[], object], number: int = 3) -> float:
    """How far the channel means at the input of a ReLU move from step to step, in standard deviations, during ``run``.

    ``number``: which ReLU of the model, counted from 0. ``run`` trains the model a little.
    """
    seen: list[torch.Tensor] = []
    relu = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)][number]
    hook = relu.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    run()
    hook.remove()
    means, deviations = (torch.stack([measure(x, (0, 2, 3)) for x in seen]) for measure in (torch.mean, torch.std))
    return (means.diff(dim=0).abs() / deviations[1:]).mean().item()


def kept_promise(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, rates: Sequence[float]) -> torch.Tensor:
    """(fall of the loss) / (rate · |gradient|²) after one step against the gradient, for each rate; (rates,).

    1: the loss fell as its slope promised; below 0: it rose. In the manner of Santurkar et al. 2018, figure 4a. The
    model's weights stay as they are.
    """
    weights = dict(model.named_parameters())
    loss = F.cross_entropy(model(images), labels)
    slopes = torch.autograd.grad(loss, list(weights.values()))
    promise, kept = sum((slope**2).sum() for slope in slopes), []
    with torch.no_grad():
        for rate in rates:
            moved = {name: w - rate * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}
            after = F.cross_entropy(functional_call(model, moved, images), labels)
            kept.append((loss - after) / (rate * promise))
    return torch.stack(kept).cpu()


def through_8x8(image_set: ImageSet) -> ImageSet:
    """Digits of 28x28 pixels, shrunk to 8x8 and enlarged again: what the blur of ``other_writers`` alone does.

    Their box of 20x20 pixels (LeCun et al. 1998) lies elsewhere in each image: it is moved to the middle, and back.
    """
    shifts = []
    for ink in image_set.images[:, 0] > 0:
        ends = [ink.any(axis).nonzero()[[0, -1], 0].tolist() for axis in (1, 0)]  # first and last row, column
        shifts.append([max(0, 4 - first) + min(0, 23 - last) for first, last in ends])
    pairs = list(zip(image_set.images, shifts, strict=True))
    inside = torch.stack([image.roll(shift, (1, 2)) for image, shift in pairs])[..., 4:24, 4:24]
    blurred = _enlarged(F.interpolate(inside.float(), (8, 8), mode="area"))
    back = [image.roll((-down, -right), (1, 2)) for image, (down, right) in zip(blurred, shifts, strict=True)]
    return dataclasses.replace(image_set, name="through 8x8", images=torch.stack(back))


def other_writers(like: ImageSet) -> ImageSet:
    """scikit-learn's 1,797 digits (8x8 pixels, 13 writers; Alpaydin & Kaynak 1998), enlarged to 20x20 pixels in the
    middle of 28x28. ``like``: a set of digits, whose classes it gets."""
    from sklearn.datasets import load_digits  # here: it takes seconds to import

    digits = load_digits()
    images = _enlarged(torch.tensor(digits.images)[:, None].float() * 255 / 16)
    labels, files = torch.tensor(digits.target), ("",) * len(images)
    return dataclasses.replace(like, name="other writers", images=images, labels=labels, files=files)


def centred(image_set: ImageSet) -> ImageSet:
    """Digits (N, 1, 28, 28), moved by whole pixels until their centre of mass is in the middle, as MNIST has its own
    (LeCun et al. 1998)."""
    ink, at = image_set.images[:, 0].float(), torch.arange(28.0)
    down, right = ((ink.sum(axis) * at).sum(1) / ink.sum((1, 2)) for axis in (2, 1))
    shifts = zip((14 - down).round().int().tolist(), (14 - right).round().int().tolist(), strict=True)
    moved = [image.roll(shift, (1, 2)) for image, shift in zip(image_set.images, shifts, strict=True)]
    return dataclasses.replace(image_set, name="centred", images=torch.stack(moved))


def _enlarged(small: torch.Tensor) -> torch.Tensor:
    """(N, 1, 8, 8) in 0-255 as (N, 1, 28, 28) uint8."""
    large = F.interpolate(small, (20, 20), mode="bilinear", antialias=True, align_corners=False)
    return F.pad(large, (4, 4, 4, 4)).clamp(0, 255).round().byte()


def five_runs(runs: dict[str, History], *, title: str = "") -> Figure:
    """Loss and accuracy of each run, of the training and the validation images, in a column a run."""
    figure, axes = plt.subplots(2, len(runs), figsize=(12, 4.6), sharey="row", sharex=True, layout="constrained")
    for column, (name, history) in zip(axes.T, runs.items(), strict=True):
        for part, colour, line in (("train", "blue", "-"), ("validation", "vermilion", "--")):
            for axis, kind in zip(column, ("loss", "accuracy"), strict=True):
                curve = history[f"{part}_{kind}"]
                axis.plot(range(1, len(curve) + 1), curve, line, color=plots.COLOURS[colour], label=part)
        column[0].set(title=name)
        column[0].set_ylim(bottom=0)
        column[1].set(xlabel="epoch", ylim=(0, 1.02))
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return plots.closed(figure, title)


def valleys(paths: dict[str, tuple], *, title: str = "") -> Figure:
    """The way of gradient descent over the contours of the mean of (w·x + b - y)², side by side.

    ``paths``: name -> (x, y, points, best), the last two as ``descend_line`` returns them.
    """
    figure, axes = plt.subplots(1, len(paths), figsize=(9.5, 4), layout="constrained")
    for axis, (name, (x, y, points, best)) in zip(axes, paths.items(), strict=True):
        reach = 1.4 * points.sub(best).abs().max().item()
        w, b = torch.meshgrid(*(torch.linspace(c - reach, c + reach, 400) for c in best.tolist()), indexing="ij")
        xx, xy, yy = ((p.double() * q.double()).mean() for p, q in ((x, x), (x, y), (y, y)))
        heights = w**2 * xx + b**2 + yy + 2 * (w * b * x.mean() - w * xy - b * y.mean())  # the square, multiplied out
        levels = heights.min() + (heights.max() - heights.min()) * torch.linspace(0, 1, 18) ** 3
        axis.contour(w.numpy(), b.numpy(), heights.numpy(), levels=levels.numpy(), colors="gray", linewidths=0.6)
        steps = f"descent, {len(points) - 1} steps"
        axis.plot(*points.T.numpy(), "o-", color=plots.COLOURS["vermilion"], markersize=3, linewidth=1, label=steps)
        axis.plot(*best.tolist(), "*", color=plots.COLOURS["blue"], markersize=13, linestyle="none", label="minimum")
        axis.set(title=name, xlabel="weight w", ylabel="bias b", aspect="equal")
        axis.legend(loc="upper right", fontsize=9)
    return plots.closed(figure, title)
