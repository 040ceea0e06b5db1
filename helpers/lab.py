"""The lab's leaderboard: test images without their labels, and a score that tells little.

It keeps an honest student from choosing by the test part without noticing. It keeps no secret: the labels are files
on this machine. A mark stands on the same notebook, run again on a split that was never seen (``COURSE_LAB_SEED``);
there the board also prints each submission's own score, and returns what it always does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from helpers import datasets
from helpers.datasets import ImageSet


class Ladder:
    """Scores predictions, and shows a new score only if it beats the best one shown by more than ``step``.

    What is shown is rounded to ``step``; otherwise the best one so far is shown again (Blum & Hardt 2015, "The Ladder:
    a reliable leaderboard for machine learning competitions", section 3).

    Args:
        labels: the truth, int64 (N,).
        step: how much better is worth a line; about one standard error of the score or more.
    """

    def __init__(self, labels: torch.Tensor, step: float = 0.01) -> None:
        self._labels, self.step = labels, step
        self.best, self.last, self.submissions = 0.0, 0.0, 0

    def show(self, predicted: torch.Tensor) -> float:
        """The line of the board after these predictions (N,)."""
        self.submissions += 1
        self.last = score = float((predicted == self._labels).float().mean())
        if score > self.best + self.step:
            self.best = round(round(score / self.step) * self.step, 6)
        return self.best


class Leaderboard:
    """``labelled``: images to learn from and to choose with. ``test``: images whose labels are all 0, in random order.

    Args:
        image_set: all images, divided by the set's own protocol.
        seed: which split; ``None`` takes ``COURSE_LAB_SEED``, or 0.
    """

    def __init__(self, image_set: ImageSet, *, seed: int | None = None, step: float = 0.01) -> None:
        self._marked = seed is None and "COURSE_LAB_SEED" in os.environ
        self.seed = int(os.environ.get("COURSE_LAB_SEED", 0)) if seed is None else seed
        parts = datasets.split(image_set, self.seed)
        order = parts.test[torch.randperm(len(parts.test), generator=torch.Generator().manual_seed(self.seed))]
        test = image_set.subset(order)
        self.labelled = image_set.subset(parts.train)
        self.test = replace(
            test,
            labels=torch.zeros_like(test.labels),
            files=tuple(f"test-{i:04d}" for i in range(len(test))),
            soft=None,
            strata=None,
            part=None,
            part_of=None,  # it leads to the labels
        )
        self._ladder = Ladder(test.labels, step)

    def submit(self, predict: Callable[[ImageSet], torch.Tensor] | None) -> float | None:
        """Run a classifier on the test images, print the board's line, return what it shows (``None``: no classifier).

        predict: an image set (N images) -> class numbers, int64 (N,).

        Raises:
            ValueError: the predictions aren't one class number an image; the message says how.
        """
        if predict is None or predict is ...:
            print("○ no classifier yet: nothing was submitted.")
            return None
        predicted = predict(self.test)
        try:
            predicted = torch.as_tensor(predicted).cpu()
        except (TypeError, ValueError, RuntimeError):
            kind = type(predicted).__name__
            raise ValueError(f"predict must return a tensor of class numbers, but it returned {kind}.") from None
        if predicted.shape != (len(self.test),) or predicted.is_floating_point() or predicted.dtype == torch.bool:
            raise ValueError(
                f"predict must return {len(self.test)} whole numbers, a class for each image, but it returned "
                f"{predicted.dtype} of shape {tuple(predicted.shape)}. Scores (N, classes)? Take .argmax(1)."
            )
        if predicted.min() < 0 or predicted.max() >= len(self.test.classes):
            raise ValueError(
                f"Class numbers go from 0 to {len(self.test.classes) - 1}, but predict returned numbers from "
                f"{predicted.min()} to {predicted.max()}."
            )
        before, shown = self._ladder.best, self._ladder.show(predicted)
        news = "a new best" if shown > before else f"not better by more than {self._ladder.step:.0%}: the board stays"
        mark = f"; division {self.seed}, its own score: {self._ladder.last:.1%}" if self._marked else ""
        print(f"submission {self._ladder.submissions}: the board shows {shown:.0%} ({news}){mark}")
        return shown
