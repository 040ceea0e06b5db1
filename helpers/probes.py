"""What lesson 3 measures and compares with: the library's own steps, a descent, the landscape of a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F


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


def batch_norm_step(channels: int, momentum: float, eps: float, training: bool, seed: int = 7) -> tuple[tuple, tuple]:
    """What nn.BatchNorm2d does with random values: (x, gamma, beta, mean, var) and (out, new mean, new var)."""
    generator = torch.Generator().manual_seed(seed)
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
    model's weights are as before when it returns.
    """
    weights = list(model.parameters())
    loss = F.cross_entropy(model(images), labels)
    slopes = torch.autograd.grad(loss, weights)
    promise, kept = sum((slope**2).sum() for slope in slopes), []
    start = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for rate in rates:
            for weight, old, slope in zip(weights, start, slopes, strict=True):
                weight.copy_(old - rate * slope)
            kept.append((loss - F.cross_entropy(model(images), labels)) / (rate * promise))
        for weight, old in zip(weights, start, strict=True):
            weight.copy_(old)
    return torch.stack(kept).cpu()
