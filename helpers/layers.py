"""The first n layers of one network at work in another: the experiment of Yosinski et al. 2014, small.

``accuracy`` is one run: learn a source task, carry n layers over, learn the target task, measure.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from helpers import datasets, machine, training, transfer
from helpers.datasets import ImageSet

_learned: dict[tuple, SmallNet] = {}  # networks that have learned a source task: once for every n


class SmallNet(nn.Module):
    """Five 3x3 convolutions, each with BatchNorm and ReLU; the mean over the last map; a linear layer.

    forward: gray images (N, 1, H, W) in 0-255, H and W at least 27 -> logits (N, classes).
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        widths, strides = (1, 16, 24, 32, 48, 48), (2, 1, 2, 1, 2)
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            convolution = nn.Conv2d(before, after, 3, stride, bias=False)
            self.layers.append(nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU()))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (images.float() - 127) / 64
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((2, 3)))

    def train(self, mode: bool = True) -> SmallNet:
        """As in PyTorch, but a frozen layer keeps its BatchNorm statistics: they are weights too."""
        super().train(mode)
        for layer in self.layers:
            if not next(layer.parameters()).requires_grad:
                layer.eval()
        return self


def only(image_set: ImageSet, classes: Sequence[int]) -> ImageSet:
    """The images of these classes, labelled 0, 1 ... in the order given."""
    rows = torch.cat([torch.nonzero(image_set.labels == label).flatten() for label in classes])
    labels = torch.tensor([list(classes).index(label) for label in image_set.labels[rows].tolist()])
    names = tuple(image_set.classes[label] for label in classes)
    return dataclasses.replace(image_set.subset(rows), labels=labels, classes=names, soft=None, strata=None)


def few(image_set: ImageSet, per_class: int, seed: int = 0) -> ImageSet:
    """So many images of each class, drawn with this seed."""
    return image_set.subset(datasets.few_shot(image_set.labels, per_class, seed))


def transplant(source: SmallNet, classes: int, n: int, *, frozen: bool, seed: int = 0) -> SmallNet:
    """A new network: its first ``n`` layers are copies of the source's, all the others are random.

    Args:
        n: from 0 (nothing is kept) to 5 (all but the head).
        frozen: the copies don't learn; otherwise they are fine-tuned with the rest.
    """
    if not 0 <= n <= len(source.layers):
        raise ValueError(f"n is {n}: the network has {len(source.layers)} layers, so n must be 0 to that.")
    machine.seed_everything(seed)
    network = SmallNet(classes)
    for i in range(n):
        network.layers[i] = copy.deepcopy(source.layers[i]).requires_grad_(not frozen)
    return network


def learn(network: SmallNet, images: ImageSet, *, epochs: int, seed: int = 0) -> SmallNet:
    """Train in place, in batches of 64, or of a fifth of fewer images; returns the network."""
    batch = min(64, max(2, len(images) // 5))
    training.fit(network, images, epochs=epochs, rate=1e-2, batch=batch, seed=seed, precision="float32", progress=False)
    return network


def accuracy(
    target: ImageSet,
    test: ImageSet,
    *,
    source: ImageSet | None = None,
    n: int = 0,
    frozen: bool = False,
    seed: int = 0,
    epochs: int = 12,
    source_epochs: int = 5,
) -> float:
    """Learn ``source``, keep its first ``n`` layers, learn ``target``; the accuracy on ``test``. Kept on disk.

    Without a source the first layers are random; with ``frozen`` they stay so.
    """
    if n == 0:
        source, frozen = None, False  # nothing is kept
    if source is None:
        source_epochs = 0
    task = (source and source.fingerprint, seed, source_epochs)
    file = transfer.result_file(("layers", target.fingerprint, test.fingerprint, *task, n, frozen, epochs))
    if (text := transfer.read(file)) is not None:
        return json.loads(text)
    if task not in _learned:
        machine.seed_everything(seed)
        network = SmallNet(2 if source is None else len(source.classes))
        _learned[task] = network if source is None else learn(network, source, epochs=source_epochs, seed=seed)
    network = transplant(_learned[task].cpu(), len(target.classes), n, frozen=frozen, seed=seed + 1000)
    found = training.evaluate(learn(network, target, epochs=epochs, seed=seed), test).accuracy
    transfer.write(file, json.dumps(found))
    return found


def accuracies(
    pool: ImageSet,
    test: ImageSet,
    seeds: Iterable[int],
    source: ImageSet | Callable[[int], ImageSet] | None = None,
    *,
    per_class: int = 20,
    **options,
) -> torch.Tensor:
    """``accuracy`` for several seeds, (seeds,). Each seed draws its own few images of ``pool`` as the target.

    Args:
        source: an image set, or a function that makes one from a seed.
        per_class: target images of each class.
        options: of ``accuracy``.
    """
    found = []
    for seed in seeds:
        images = source(seed) if callable(source) else source
        found.append(accuracy(few(pool, per_class, seed), test, source=images, seed=seed, **options))
    return torch.tensor(found)


def simplest(results: Mapping[str, Sequence[float]]) -> str:
    """The first method, in the order given, whose mean is at most one spread of the best below the best's mean."""
    best = max(results, key=lambda method: statistics.mean(results[method]))
    enough = statistics.mean(results[best]) - statistics.stdev(results[best])
    return next(method for method, found in results.items() if statistics.mean(found) >= enough)
