"""Watch a network learn: one picture of it that is redrawn after each epoch."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from IPython.display import display
from matplotlib.figure import Figure
from torch import nn

from helpers import training
from helpers.datasets import ImageSet
from helpers.plots import COLOURS


class Watch:
    """Give it to ``training.fit`` as ``on_epoch``: loss, first-layer filters and predictions, redrawn in place.

    A saved notebook keeps the last picture. Call it once before training to see the untrained network.
    """

    def __init__(self, pictures: ImageSet) -> None:
        """``pictures``: a few images (about ten), whose predictions are shown."""
        self.pictures = pictures
        self.filters: list[torch.Tensor] = []  # of each call, (K, C, F, F) on the CPU
        self.probabilities: list[torch.Tensor] = []  # of each call, (N, classes)
        self._handle = None

    def __call__(self, model: nn.Module, history: training.History) -> None:
        first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
        self.filters.append(first.weight.detach().cpu().clone())
        self.probabilities.append(training.evaluate(model, self.pictures).probabilities)
        figure = self.draw(history)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)

    def draw(self, history: training.History) -> Figure:
        """The picture as it is now (a closed figure)."""
        shown, epoch = len(self.pictures), len(history.epochs)
        figure = plt.figure(figsize=(11, 4.4), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(2, 5))
        axis = left.subplots()
        for part, colour, line in (("train", "blue", "o-"), ("validation", "vermilion", "s--")):
            losses = history[f"{part}_loss"]
            axis.plot(range(1, len(losses) + 1), losses, line, color=COLOURS[colour], label=part)
        axis.set(title=f"epoch {epoch}", xlabel="epoch", ylabel="loss", ylim=(0, None))
        axis.legend(loc="upper right")
        columns = max(shown, min(len(self.filters[0]), 12))
        axes = right.subplots(3, columns, gridspec_kw={"height_ratios": (1, 1, 1.4)})
        for place in axes.flat:
            place.axis("off")
        for row, filters in zip(axes, (self.filters[0], self.filters[-1]), strict=False):
            for place, one in zip(row, filters, strict=False):
                place.imshow(one[0].numpy(), cmap="gray", vmin=-one.abs().max(), vmax=one.abs().max())
        for row, text in zip(axes, ("first-layer filters at the start", "the same filters now"), strict=False):
            place = row[0].transAxes  # no title: it would widen the first column
            row[0].text(0, 1.08, text, transform=place, fontsize=9).set_in_layout(False)
        for place, image, label, chances in zip(
            axes[2], self.pictures.images, self.pictures.labels, self.probabilities[-1], strict=False
        ):
            place.imshow(image[0].numpy(), cmap="gray")
            right_answer = int(chances.argmax()) == int(label)
            text = f"{self.pictures.classes[int(chances.argmax())]}{'' if right_answer else ' ✗'}\n{chances.max():.0%}"
            place.set_title(text, fontsize=10, color=COLOURS["green" if right_answer else "vermilion"])
        plt.close(figure)
        return figure
