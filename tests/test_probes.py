"""What lesson 3 measures and draws: the numbers against formulas and cases that are known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from made import SmallNet, stripes
from torch import nn
from torch.nn import functional as F

from helpers import probes, training


def test_adams_steps_are_the_formulas():
    w, m, s = probes.adam_steps(seed=3, steps=3)[0][0][0], torch.zeros(3, 2), torch.zeros(3, 2)
    for t, ((given_w, g, given_m, given_s), (new_w, new_m, new_s)) in enumerate(probes.adam_steps(seed=3, steps=3), 1):
        assert torch.allclose(given_w, w) and torch.allclose(given_m, m) and torch.allclose(given_s, s)
        m, s = 0.8 * m + 0.2 * g, 0.95 * s + 0.05 * g**2
        w = w - 0.05 * (m / (1 - 0.8**t)) / ((s / (1 - 0.95**t)).sqrt() + 0.01)
        assert torch.allclose(new_w, w, atol=1e-6) and torch.allclose(new_m, m) and torch.allclose(new_s, s)


@pytest.mark.parametrize("mode", [True, False])
def test_a_step_of_batch_normalisation(mode):
    (x, gamma, beta, mean, var), (out, new_mean, new_var) = probes.batch_norm_step(2, 0.3, 0.1, mode)
    copies = mean.clone(), var.clone()
    assert torch.allclose(F.batch_norm(x, *copies, gamma, beta, mode, 0.3, 0.1), out, atol=1e-6)
    assert torch.allclose(copies[0], new_mean) and torch.allclose(copies[1], new_var)
    assert torch.equal(mean, new_mean) != mode, "the given statistics are those from before"


def test_the_descent_ends_at_the_minimum_and_never_rises():
    x = torch.linspace(-1, 2, 20)
    points, best = probes.descend_line(x, 3 * x - 1, rate=0.1)
    assert torch.allclose(best, torch.tensor([3.0, -1], dtype=torch.float64), atol=1e-5)
    losses = ((points[:, :1] * x + points[:, 1:] - (3 * x - 1)) ** 2).mean(1)
    assert (losses.diff() < 0).all() and losses[-1] <= 0.01 * losses[0] < losses[-2]


def test_movement_counts_in_standard_deviations():
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    maps = torch.randn(50, 4, 6, 6)
    maps = (maps - maps.mean((0, 2, 3), keepdim=True)) / maps.std((0, 2, 3), keepdim=True)

    def run():
        for shift in (0.0, 2, 4, 2):
            model(3 * maps + 3 * shift)

    assert probes.movement(model, run, number=0) == pytest.approx(2, abs=1e-4)
    assert not model[1]._forward_pre_hooks, "nothing is left behind"


def test_a_small_step_keeps_the_promise_and_the_weights_come_back():
    torch.manual_seed(0)
    model, images, labels = nn.Linear(4, 3), torch.randn(30, 4), torch.arange(30) % 3
    before = model.weight.detach().clone()
    kept = probes.kept_promise(model, images, labels, (1e-2, 100.0))
    assert kept[0] == pytest.approx(1, abs=0.05) and kept[1] < 0.5
    assert torch.equal(model.weight, before)


def test_the_second_digits_look_like_the_first():
    like = stripes(4)
    others = probes.other_writers(like)
    assert others.images.shape == (1797, 1, 28, 28) and others.images.dtype == torch.uint8
    assert others.classes == like.classes and others.labels.bincount().min() > 150 and len(others.files) == 1797
    assert others.images[..., :4, :].max() == 0 < others.images[..., 14, 14].max(), "an empty border, as in MNIST"
    assert others.fingerprint != like.fingerprint


def test_centred_digits_have_their_centre_of_mass_in_the_middle():
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    images[0, 0, 5:8, 10:13] = 200  # mass at 6, 11
    images[1, 0, 14, 14] = 9
    moved = probes.centred(dataclasses.replace(stripes(2, size=28), images=images)).images
    assert [int(line[0]) for line in moved[0, 0].nonzero().min(0).values.split(1)] == [13, 13]
    assert moved[0].sum() == images[0].sum() and torch.equal(moved[1], images[1])


def test_the_control_loses_detail_only():
    digits = dataclasses.replace(stripes(6, size=28), images=torch.zeros(6, 1, 28, 28, dtype=torch.uint8))
    digits.images[:, :, 8:20, 8:20] = 255
    blurred = probes.through_8x8(digits)
    assert blurred.images.shape == digits.images.shape and torch.equal(blurred.labels, digits.labels)
    assert blurred.images[0, 0, 13, 13] == 255 and blurred.images[0, 0, 5, 5] == 0
    assert abs(blurred.images.float().mean() / digits.images.float().mean() - 1) < 0.1, "as much ink as before"
    assert not torch.equal(blurred.images, digits.images)


def test_the_figures_name_their_axes():
    history = training.fit(SmallNet(), stripes(32), stripes(16), epochs=2, progress=False)
    figure = probes.five_runs({"A": history, "B": history}, title="two")
    assert figure.axes[0].get_ylabel() == "loss" and figure.axes[2].get_xlabel() == "epoch"
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [2, 2]
    x = torch.linspace(-1, 2, 20)
    path = probes.descend_line(x, x, 0.1)
    figure = probes.valleys({"a": (x, x, *path), "b": (x, x, *path)})
    assert {axis.get_xlabel() for axis in figure.axes} == {"weight w"} and figure.axes[0].get_title() == "a"


def test_the_control_cuts_no_digit_that_lies_outside_the_middle():
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    images[0, 0, 1:9, 18:27] = 255  # up to the top and the right
    images[1, 0, 10:18, 9:18] = 255
    blurred = probes.through_8x8(dataclasses.replace(stripes(2, size=28), images=images)).images.float()
    ink = blurred.sum((1, 2, 3)) / images.float().sum((1, 2, 3))
    assert (ink - 1).abs().max() < 0.15, "all ink is still there"
    rows = torch.arange(28.0)
    down = [(image[0].sum(1) * rows).sum() / image.sum() for image in blurred]
    assert abs(down[0] - 4.5) < 1 and abs(down[1] - 13.5) < 1, "and where it was"
