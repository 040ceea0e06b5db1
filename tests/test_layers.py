"""The first-n-layers experiment: what is copied, what is frozen, what is kept on disk."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from made import stripes

from helpers import layers, machine, transfer


@pytest.fixture
def source():
    network = layers.SmallNet(3)
    network(torch.rand(8, 1, 28, 28) * 255)  # moves the BatchNorm statistics
    return network


def states(network: layers.SmallNet, i: int) -> list[torch.Tensor]:
    return [value.clone() for value in network.layers[i].state_dict().values()]


@pytest.mark.parametrize("n", [0, 2, 5])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_first_n_layers_are_copies_and_only_a_frozen_copy_stays(source, n, frozen):
    before = [states(source, i) for i in range(5)]
    network = layers.transplant(source, 2, n, frozen=frozen)
    start = [states(network, i) for i in range(5)]
    for i in range(5):
        same = all(torch.equal(a, b) for a, b in zip(start[i], before[i], strict=True))
        assert same == (i < n), f"layer {i + 1} with n = {n}"
    layers.learn(network, stripes(20), epochs=1)
    for i in range(5):
        moved = not all(torch.equal(a, b) for a, b in zip(states(network, i), start[i], strict=True))
        assert moved == (i >= n or not frozen), f"layer {i + 1}: weights and BatchNorm statistics"
    assert all(torch.equal(a, b) for i in range(5) for a, b in zip(states(source, i), before[i], strict=True))
    assert network.head.out_features == 2


def test_n_outside_the_network_is_refused(source):
    with pytest.raises(ValueError, match="n is 6"):
        layers.transplant(source, 2, 6, frozen=True)


def test_only_keeps_the_classes_in_the_order_given():
    whole = dataclasses.replace(stripes(12), labels=torch.arange(12) % 4, classes=("a", "b", "c", "d"))
    part = layers.only(whole, [3, 1])
    assert part.classes == ("d", "b") and part.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert part.files == tuple(f"{i}.png" for i in (3, 7, 11, 1, 5, 9))


def test_accuracy_learns_repeats_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    target, test, source = stripes(40, seed=1), stripes(40, seed=2), stripes(60, seed=3)
    options = {"source": source, "n": 3, "epochs": 6, "source_epochs": 3}
    found = layers.accuracy(target, test, **options)
    assert found > 0.9
    kept = list(tmp_path.rglob("layers-*.json"))
    transfer.write(kept[0], "0.125")
    assert len(kept) == 1 and layers.accuracy(target, test, **options) == 0.125, "read from the disk"
    kept[0].unlink()
    assert layers.accuracy(target, test, **options) == found, "the same seed gives the same result"
    for changed in ({"n": 2}, {"frozen": True}, {"seed": 1}, {"epochs": 5}, {"source_epochs": 2}, {"source": None}):
        layers.accuracy(target, test, **{**options, **changed})
    assert len(list(tmp_path.rglob("layers-*.json"))) == 7, "each setting is a result of its own"


def test_the_simplest_method_that_is_not_clearly_worse():
    results = {"linear": [0.80, 0.82], "tune": [0.83, 0.87], "scratch": [0.4, 0.5]}
    assert layers.simplest(results) == "tune"
    assert layers.simplest({**results, "linear": [0.82, 0.83]}) == "linear", "0.825 is above 0.85 - 0.028"
    assert layers.simplest({"scratch": [0.4, 0.5], "linear": [0.8, 0.8]}) == "linear"


def test_accuracies_draw_other_images_for_each_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    asked = []

    def source(seed):
        asked.append(seed)
        return stripes(40, seed=seed)

    pool, test = stripes(60, seed=5), stripes(40, seed=6)
    options = {"per_class": 8, "n": 2, "epochs": 2, "source_epochs": 1}
    found = layers.accuracies(pool, test, range(3), source, **options)
    each = [
        layers.accuracy(layers.few(pool, 8, seed), test, source=source(seed), seed=seed, n=2, epochs=2, source_epochs=1)
        for seed in range(3)
    ]
    assert found.tolist() == pytest.approx(each) and asked[:3] == [0, 1, 2]
    assert not torch.equal(layers.few(pool, 8, 0).images, layers.few(pool, 8, 1).images)
