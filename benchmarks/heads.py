"""Linear heads with the choice of C, and t-SNE, on real codes: ``python benchmarks/heads.py``. In seconds.

The codes are Lite0's of 15-Scene (of the solar cells without it). scikit-learn gets five folds, too, and the same
values of C. The accuracies on the test part stand beside the seconds in the result: a fast head that is worse would be
no use.

Maps: ours is scikit-learn's t-SNE with the course's 500 steps, openTSNE gets as many; scikit-learn's own number is
1,000. How far the other two came (the Kullback-Leibler divergence that they report) stands beside the seconds.
Maps of many points take a quarter of an hour: ``--maps-only --points 20000 60000 --rounds 1``.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from functools import partial

import numpy as np
import torch
from common import keep, take_turns
from sklearn.linear_model import LogisticRegressionCV
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from helpers import backbones, codes, datasets, embedding, linear

STEPS = 500  # of gradient descent, as in the lessons
accuracies: dict[str, float] = {}
divergences: dict[str, float] = {}


def clocked(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def heads(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, truth: torch.Tensor) -> dict:
    """With an empty ``test``, accuracies aren't measured."""
    x, y, x_test, y_test = normalize(train.numpy()), labels.numpy(), test.numpy(), truth.numpy()

    def keep_accuracy(arm: str, model) -> None:
        if len(test):
            score = model.accuracy(test, truth) if arm.startswith("ours") else model.score(normalize(x_test), y_test)
            accuracies[arm] = float(score)

    def ours(kind: str) -> None:
        keep_accuracy(f"ours, {kind}", linear.fit(train, labels, kind=kind))

    def svm() -> None:
        grid = GridSearchCV(LinearSVC(), {"C": list(linear.CHOICES)}, cv=5, n_jobs=-1).fit(x, y)
        keep_accuracy("scikit-learn, svm", grid)

    def logistic() -> None:
        model = LogisticRegressionCV(Cs=list(linear.CHOICES), cv=5, max_iter=300, n_jobs=-1).fit(x, y)
        keep_accuracy("scikit-learn, logistic", model)

    return {
        "ours, svm": lambda: clocked(lambda: ours("svm")),
        "scikit-learn, svm": lambda: clocked(svm),
        "ours, logistic": lambda: clocked(lambda: ours("logistic")),
        "scikit-learn, logistic": lambda: clocked(logistic),
    }


def maps(values: torch.Tensor, n: int) -> dict:
    """t-SNE of n codes after PCA to 50: copies with a little noise where there are fewer."""
    times = -(-n // len(values))
    points = embedding.pca(values.repeat(times, 1)[:n])
    points = (
        points + 0.01 * points.std() * torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    ).numpy()

    def ours() -> None:
        embedding.tsne(torch.from_numpy(points), steps=STEPS)

    def scikit_learn() -> None:
        model = TSNE(random_state=0, init="pca", n_jobs=-1)
        model.fit_transform(points)
        divergences[f"{n} points, scikit-learn, 1,000 steps"] = float(model.kl_divergence_)

    def open_tsne() -> None:
        from openTSNE import TSNE as Open

        found = Open(random_state=0, n_jobs=-1, n_iter=STEPS - 250).fit(points.astype(np.float64))  # after 250 others
        divergences[f"{n} points, openTSNE, {STEPS} steps"] = float(found.kl_divergence)

    arms = {"ours": ours, "scikit-learn, 1,000 steps": scikit_learn}
    arms |= {f"openTSNE, {STEPS} steps": open_tsne} if importlib.util.find_spec("openTSNE") else {}
    return {arm: partial(clocked, work) for arm, work in arms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", nargs="*", type=int, default=[1000, 5000])
    parser.add_argument("--size", type=int, help="pixels of a side (the images' own)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--maps-only", action="store_true", help="t-SNE without the heads, to a result of its own")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # those of solvers that stop before they converge
    try:
        image_set = datasets.load("15-scene", size=options.size)
    except datasets.NotHere:
        image_set = datasets.load("solar-cells", size=options.size)
    values = codes.extract(backbones.load(), image_set)
    train, test = datasets.split(image_set, 0)
    labels = image_set.labels
    figures = {}
    name = "maps" if options.maps_only else "heads"
    known = {"accuracies": accuracies, "divergences": divergences, "data": image_set.name, "settings": vars(options)}
    for learn, measure in () if options.maps_only else ((train, test), (torch.arange(len(labels)), test[:0])):
        case = f"linear head, {len(learn)} x {values.shape[1]}"
        arms = heads(values[learn], labels[learn], values[measure], labels[measure])
        figures[case] = take_turns(arms, options.rounds)
        keep(name, figures, "seconds", **known)
    for n in options.points:
        figures[f"t-SNE, {n} points"] = take_turns(maps(values, n), options.rounds)
        keep(name, figures, "seconds", **known)


if __name__ == "__main__":
    main()
