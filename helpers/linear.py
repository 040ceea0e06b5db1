"""A linear classifier on codes, with its C chosen by cross-validation, in about a second.

scikit-learn's ``LinearSVC`` and ``LogisticRegression`` solve the same problems. This one is faster on codes
(``benchmarks/heads.py``) because all classes and all folds share one matrix product a step, each C starts from the
solution of the one before it, and steps are taken in units in which the problem is nearly round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

CHOICES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class LinearHead:
    """Scores are ``unit(codes) @ weight.T + bias``: codes are scaled to length 1 first."""

    weight: torch.Tensor  # (K, D)
    bias: torch.Tensor  # (K,)
    C: float
    kind: str

    def scores(self, values: torch.Tensor) -> torch.Tensor:
        """Codes (N, D) -> scores (N, K); for "logistic", their softmax are probabilities."""
        if values.ndim != 2 or values.shape[1] != self.weight.shape[1]:
            raise ValueError(f"codes must be (N, {self.weight.shape[1]}), but their shape is {tuple(values.shape)}.")
        return F.normalize(values.float()) @ self.weight.T + self.bias

    def predict(self, values: torch.Tensor) -> torch.Tensor:
        """Codes (N, D) -> class numbers (N,)."""
        return self.scores(values).argmax(1)

    def accuracy(self, values: torch.Tensor, labels: torch.Tensor) -> float:
        return float((self.predict(values) == labels).float().mean())


def fit(
    values: torch.Tensor,
    labels: torch.Tensor,
    *,
    kind: str = "svm",
    C: float | None = None,
    folds: int = 5,
    seed: int = 0,
    classes: int | None = None,
) -> LinearHead:
    """Fit a linear head on codes (N, D) and labels (N,), whole numbers from 0.

    Raises ValueError where they don't fit each other, or aren't numbers.

    Args:
        kind: "svm" (squared hinge, one class against the rest: what ``LinearSVC`` minimises, but
            for the bias, which is free here) or "logistic" (softmax).
        C: the weight of the errors against ``|W|^2 / 2``. ``None``: the one of ``CHOICES`` with the best accuracy in
            cross-validation on these codes; the smaller one if several are equal.
        classes: the number of classes, when ``labels`` may lack the last of them.
    """
    if kind not in ("svm", "logistic"):
        raise ValueError(f"kind is {kind!r}: it must be 'svm' or 'logistic'.")
    if len(values) != len(labels):
        raise ValueError(f"{len(values)} codes, but {len(labels)} labels.")
    if len(labels) == 0 or labels.is_floating_point():
        raise ValueError(f"labels must be whole numbers, one at least: they are {len(labels)} of {labels.dtype}.")
    labels = labels.long()
    if broken := int((~values.isfinite().flatten(1).all(1)).sum()):
        raise ValueError(f"{broken} of {len(values)} codes hold NaN or infinity: look at the images they come from.")
    classes = classes or int(labels.max()) + 1
    unit = F.normalize(values.float())
    mean = unit.mean(0)  # the bias takes it up: the same problem, but rounder
    x, spread, basis = _rotate(unit - mean)
    smallest = int(labels.bincount()[labels.unique()].min())
    folds = min(folds, smallest)
    start = None
    if C is None and folds >= 2:  # with one image of a class there is nothing to choose with
        C, start = _choose(x, spread, labels, classes, kind, folds, seed)
    C = 1.0 if C is None else C
    everything = torch.ones(len(x), 1)
    weight, bias = _minimise(x, spread, labels, classes, kind, C, inside=everything, steps=200, start=start)
    weight = basis @ weight[:, 0]
    return LinearHead(weight.T.contiguous(), bias[0] - mean @ weight, C, kind)


def _choose(
    x: torch.Tensor, spread: torch.Tensor, labels: torch.Tensor, classes: int, kind: str, folds: int, seed: int
) -> tuple[float, tuple[torch.Tensor, torch.Tensor]]:
    """The best C, and the mean of its folds' solutions, from which the final one is near."""
    from sklearn.model_selection import StratifiedKFold  # here: it takes seconds to import

    inside = torch.ones(len(x), folds)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels.numpy())
    for fold, (_, outside) in enumerate(split):
        inside[outside, fold] = 0
    best, chosen, solution, middle = -1.0, CHOICES[0], None, None
    for C in CHOICES:  # six steps are enough to compare: tests/test_linear.py looks at it
        solution = _minimise(x, spread, labels, classes, kind, C, inside=inside, steps=6, start=solution)
        predicted = _scores(x, *solution).argmax(2)
        right = float(((predicted == labels[:, None]) * (1 - inside)).sum())
        if right > best:
            best, chosen = right, C
            middle = solution[0].mean(1, keepdim=True), solution[1].mean(0, keepdim=True)
    return chosen, middle


def _rotate(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes (N, D) in the axes of their principal directions, (N, R) with R = min(N, D) at most, without loss; the sum
    of squares along each; and the basis (D, R) that leads back."""
    if len(x) >= x.shape[1]:
        spread, basis = torch.linalg.eigh(x.T @ x)
    else:  # fewer codes than numbers: the solution is a combination of the codes
        spread, vectors = torch.linalg.eigh(x @ x.T)
        kept = spread >= 1e-6 * spread[-1]  # what is below is rounding
        spread = spread[kept]
        basis = x.T @ (vectors[:, kept] / spread.clamp_min(1e-12).sqrt())
    return x @ basis, spread.clamp_min(0), basis


def _scores(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(N, R) codes, (R, P, K) weights and (P, K) biases of P problems -> (N, P, K), in one matrix product."""
    return (x @ weight.flatten(1)).unflatten(1, bias.shape) + bias


def _minimise(
    x: torch.Tensor,
    spread: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    kind: str,
    C: float,
    *,
    inside: torch.Tensor,
    steps: int,
    start: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """L-BFGS on P primal problems at once; ``inside`` (N, P) is 1 where a code belongs to a problem.

    The bias isn't penalised. It ends when ten steps bring less than a thousandth of the objective. Returns weights
    (R, P, K) and biases (P, K).
    """
    signs = 2.0 * F.one_hot(labels, classes)[:, None] - 1  # (N, 1, K)
    weight, bias = start or (torch.zeros(x.shape[1], inside.shape[1], classes), torch.zeros(inside.shape[1], classes))

    def loss(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        scores = _scores(x, weight, bias)
        if kind == "svm":
            errors = (1 - signs * scores).clamp_min(0).square().sum(2)
        else:
            errors = -(scores.log_softmax(2) * (signs > 0)).sum(2)
        return C * (errors * inside).sum() + weight.square().sum() / 2

    # In these units the curvature at the start is about 1 in all directions.
    scores = _scores(x, weight, bias)
    bent = 2.0 * (signs * scores < 1) if kind == "svm" else (chances := scores.softmax(2)) * (1 - chances)
    share = C * (bent * inside[:, :, None]).mean(0)  # (P, K): the second derivative of the errors, of the mean code
    unit, unit_bias = (1 + share * spread[:, None, None]).rsqrt(), (1 + share * len(x)).rsqrt()
    weight, bias = (weight / unit).requires_grad_(), (bias / unit_bias).requires_grad_()
    slopes = torch.autograd.grad(loss(weight * unit, bias * unit_bias), (weight, bias))
    # torch's first step is at most 1 long (sum of absolute values): in small enough units that is Newton's.
    small = 1 / max(1e-12, float(sum(slope.abs().sum() for slope in slopes)))
    weight, bias = (weight.detach() * small).requires_grad_(), (bias.detach() * small).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=min(steps, 10),
        history_size=20,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(weight * (unit / small), bias * (unit_bias / small)) * small**2
        value.backward()
        return value

    before = float("inf")
    for _ in range(0, steps, 10):
        now = float(optimiser.step(closure).detach())  # the value before these ten steps
        if now > before * (1 - 1e-3):
            break
        before = now
    return weight.detach() * (unit / small), bias.detach() * (unit_bias / small)
