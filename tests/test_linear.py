"""The linear head solves scikit-learn's problem, and chooses C on its own codes only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import LinearSVC

from helpers import linear


def made(n: int = 120, d: int = 20, classes: int = 3, seed: int = 0, apart: float = 1.5):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    values = torch.randn(n, d, generator=generator) + apart * torch.nn.functional.one_hot(labels, d)
    return values, labels


def svm_objective(weight, bias, unit, labels, C):
    """|W|^2 / 2 + C x the squared hinge of each class against the rest (Fan et al. 2008, LIBLINEAR, section 2)."""
    signs = 2 * np.eye(len(weight))[labels] - 1
    errors = np.clip(1 - signs * (unit @ weight.T + bias), 0, None) ** 2
    return (weight**2).sum() / 2 + C * errors.sum()


@pytest.mark.parametrize("d", [20, 300])  # more codes than numbers, and fewer
@pytest.mark.parametrize("C", [0.1, 3.0])
def test_svm_minimises_what_linear_svc_minimises(d, C):
    values, labels = made(d=d)
    unit = torch.nn.functional.normalize(values).double().numpy()
    theirs = LinearSVC(C=C, max_iter=100_000).fit(unit, labels.numpy())
    ours = linear.fit(values, labels, C=C)
    reached = svm_objective(ours.weight.double().numpy(), ours.bias.double().numpy(), unit, labels.numpy(), C)
    # theirs also penalises the bias, so on the problem without that penalty ours must be as low or lower
    assert reached <= 1.001 * svm_objective(theirs.coef_, theirs.intercept_, unit, labels.numpy(), C)
    assert (ours.predict(values).numpy() == theirs.predict(unit)).mean() > 0.95


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_softmax_regression(classes):
    values, labels = made(classes=classes)
    unit = torch.nn.functional.normalize(values).numpy()
    # two classes: scikit-learn has one weight vector, a softmax two that are opposite; half the penalty each
    theirs = LogisticRegression(C=10.0 * (2 if classes == 2 else 1), tol=1e-8, max_iter=5000).fit(unit, labels.numpy())
    ours = linear.fit(values, labels, kind="logistic", C=10.0)
    assert np.allclose(ours.scores(values).softmax(1).numpy(), theirs.predict_proba(unit), atol=5e-3)


def test_c_is_the_one_that_scikit_learn_chooses_on_the_same_folds():
    """A code on the border may fall either way, so one of 300 may differ."""
    chosen = []
    for seed, (d, apart) in enumerate(((20, 3.0), (60, 1.0), (300, 1.0), (60, 0.6))):
        values, labels = made(n=300, d=d, apart=apart, seed=seed)
        unit = torch.nn.functional.normalize(values).double().numpy()
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        theirs = GridSearchCV(LogisticRegression(tol=1e-8, max_iter=5000), {"C": list(linear.CHOICES)}, cv=folds)
        theirs.fit(unit, labels.numpy())
        chosen.append(linear.fit(values, labels, kind="logistic").C)
        scores = dict(zip(linear.CHOICES, theirs.cv_results_["mean_test_score"], strict=True))
        assert scores[chosen[-1]] >= max(scores.values()) - 1 / len(labels)
    assert len(set(chosen)) > 1


def test_the_choice_of_c_counts_what_converged_heads_would():
    values, labels = made(n=300, d=40, apart=0.8)
    x, spread, _ = linear._rotate(torch.nn.functional.normalize(values))
    inside = torch.ones(300, 2)
    inside[::2, 0] = inside[1::2, 1] = 0
    for kind in ("svm", "logistic"):
        start = None
        for C in linear.CHOICES:
            problem = (x, spread, labels, 3, kind, C)
            start = linear._minimise(*problem, inside=inside, steps=6, start=start)
            whole = linear._minimise(*problem, inside=inside, steps=500)
            fast, slow = (linear._scores(x, *solution).argmax(2) for solution in (start, whole))
            assert ((fast == slow) | (inside == 1))[inside == 0].float().mean() > 0.97
            for fold in (0, 1):  # and a fold learns from its own codes only
                alone = inside[:, fold] == 1
                head = linear.fit(values[alone], labels[alone], kind=kind, C=C)
                assert (head.predict(values) == slow[:, fold]).float().mean() > 0.97


def test_labels_that_mean_nothing_are_not_learned():
    generator = torch.Generator().manual_seed(0)
    values, labels = torch.randn(300, 30, generator=generator), torch.randint(0, 2, (300,), generator=generator)
    assert abs(linear.fit(values[:150], labels[:150]).accuracy(values[150:], labels[150:]) - 0.5) < 0.15


def test_one_image_a_class_and_a_class_that_is_missing():
    values, labels = made(n=3)
    head = linear.fit(values, labels, classes=5)
    assert head.accuracy(values, labels) == 1.0 and head.scores(values).shape == (3, 5)


def test_the_same_seed_gives_the_same_head():
    values, labels = made()
    assert torch.equal(linear.fit(values, labels, seed=1).weight, linear.fit(values, labels, seed=1).weight)


def test_wrong_arguments_are_explained():
    values, labels = made()
    with pytest.raises(ValueError, match="kind is 'forest'"):
        linear.fit(values, labels, kind="forest")
    with pytest.raises(ValueError, match="120 codes, but 10 labels"):
        linear.fit(values, labels[:10])
    with pytest.raises(ValueError, match="1 of 120 codes hold NaN or infinity"):
        linear.fit(values.index_fill(0, torch.tensor([7]), float("nan")), labels)
    with pytest.raises(ValueError, match=r"must be \(N, 20\)"):
        linear.fit(values, labels).scores(values[:, :5])


@pytest.mark.parametrize("labels", [torch.tensor([]), torch.tensor([0.0, 1.0])])
def test_labels_that_are_none_are_explained(labels):
    with pytest.raises(ValueError, match="whole numbers"):
        linear.fit(torch.rand(len(labels), 4), labels)


def test_labels_of_any_whole_type_serve():
    values, labels = made()
    assert torch.equal(linear.fit(values, labels.int(), C=1.0).weight, linear.fit(values, labels, C=1.0).weight)
