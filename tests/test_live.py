"""The picture of a network that learns: what it keeps, and that one picture is redrawn."""

from __future__ import annotations

import pytest
import torch
from made import SmallNet, stripes

from helpers import live, training


class Handle:
    updates = 0

    def update(self, figure):
        self.updates += 1


@pytest.fixture
def shown(monkeypatch):
    """The handles of the pictures that were displayed."""
    handles = []

    def display(figure, display_id):
        assert display_id
        handles.append(Handle())
        return handles[-1]

    monkeypatch.setattr(live, "display", display)
    return handles


def test_one_picture_is_redrawn_after_each_epoch(shown):
    torch.manual_seed(0)
    model, watch = SmallNet(), live.Watch(stripes(5, seed=1))
    watch(model, training.History())
    start = next(model.parameters()).detach().clone()
    training.fit(model, stripes(64), stripes(16), epochs=3, rate=1e-2, progress=False, on_epoch=watch)
    assert len(shown) == 1 and shown[0].updates == 3
    assert len(watch.filters) == len(watch.probabilities) == 4
    assert torch.equal(watch.filters[0], start), "a copy: training doesn't change what was kept"
    assert not torch.equal(watch.filters[0], watch.filters[-1])
    assert watch.probabilities[-1].shape == (5, 2)


def test_the_picture_says_what_it_shows(shown):
    model, watch = SmallNet(), live.Watch(stripes(5))
    watch(model, training.History())
    history = training.fit(model, stripes(32), stripes(16), epochs=2, progress=False, keep_best=False, on_epoch=watch)
    figure = watch.draw(history)
    loss = figure.axes[0]
    assert (loss.get_xlabel(), loss.get_ylabel(), loss.get_title()) == ("epoch", "loss", "epoch 2")
    assert [len(line.get_xdata()) for line in loss.lines] == [2, 2]
    named = [axis.get_title() for axis in figure.axes if "%" in axis.get_title()]
    assert len(named) == 5 and all(
        text.split("\n")[0].removesuffix(" ✗") in ("horizontal", "vertical") for text in named
    )
    right = watch.probabilities[-1].argmax(1) == watch.pictures.labels
    assert ["✗" not in text for text in named] == right.tolist(), "wrong ones are marked, not by colour alone"
    assert sum(bool(axis.images) for axis in figure.axes) == 8 + 8 + 5, "filters then, filters now, pictures"
