"""Neighbours against a slow count, the grid against all permutations, codes of many stages against one by one."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from helpers import backbones, embedding


def made(n: int = 30, d: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def slow_neighbours(points: torch.Tensor, k: int) -> list[list[int]]:
    found = []
    for i in range(len(points)):
        others = [j for j in range(len(points)) if j != i]
        found.append(sorted(others, key=lambda j: float(((points[i] - points[j]) ** 2).sum()))[:k])
    return found


@pytest.mark.parametrize("k", [1, 5, 29])
def test_neighbours_are_the_nearest_others_in_order(k):
    points = made() + 1000  # far from 0: the distances must not drown in rounding
    assert embedding.neighbours(points, k).tolist() == slow_neighbours(points, k)


@pytest.mark.parametrize("k", [0, 30])
def test_k_must_leave_others(k):
    with pytest.raises(ValueError, match=f"k is {k}"):
        embedding.neighbours(made(), k)


@pytest.mark.parametrize("k", [1, 4, 10])
def test_preservation_is_the_slow_count(k):
    high, low = made(), made()[:, :2]
    pairs = zip(slow_neighbours(high, k), slow_neighbours(low, k), strict=True)
    expected = sum(len(set(a) & set(b)) for a, b in pairs) / (k * len(high))
    assert 0 < expected < 1
    assert embedding.preservation(high, low, k) == pytest.approx(expected)


def test_preservation_ignores_scale_and_place_and_is_low_by_chance():
    high = made(300)
    assert embedding.preservation(high, 3 * high - 7) == 1
    assert embedding.preservation(high, made(300, 2, seed=1)) == pytest.approx(10 / 299, abs=0.02)
    with pytest.raises(ValueError, match="same points"):
        embedding.preservation(high, high[:10])


def test_knn_accuracy_is_a_vote_of_others():
    points, labels = made(40), torch.arange(40) % 3
    votes = [[int(labels[j]) for j in near] for near in slow_neighbours(points, 5)]
    right = [max(range(3), key=vote.count) == int(label) for vote, label in zip(votes, labels, strict=True)]
    assert embedding.knn_accuracy(points, labels, 5) == pytest.approx(sum(right) / 40)
    apart = torch.cat([made(20), made(20, seed=1) + 50])
    assert embedding.knn_accuracy(apart, torch.arange(40) // 20) == 1


def test_pca_keeps_distances_when_it_keeps_all_axes():
    points = made(20, 6) + 3
    assert torch.allclose(torch.pdist(embedding.pca(points)), torch.pdist(points), atol=1e-4)
    assert embedding.pca(made(20, 100)).shape == (20, 20) and embedding.pca(made(80, 60)).shape == (80, 50)


def test_tsne_separates_two_clouds_and_repeats_itself():
    points, cloud = torch.cat([made(40), made(40, seed=1) + 20]), torch.arange(80) // 40
    plane = embedding.tsne(points, perplexity=10, steps=300)
    assert plane.shape == (80, 2) and embedding.knn_accuracy(plane, cloud, 5) == 1
    assert torch.equal(plane, embedding.tsne(points, perplexity=10, steps=300))
    with pytest.raises(ValueError, match="perplexity is 80"):
        embedding.tsne(points, perplexity=80)


def test_grid_gives_each_picture_a_cell_of_its_own_at_the_least_cost():
    points = made(6, 2, seed=3)
    cells = embedding.grid(points, 2, 3)
    assert sorted(cells.tolist()) == list(range(6))
    scaled = (points - points.amin(0)) / (points.amax(0) - points.amin(0))
    centres = torch.tensor([[x, 1 - y] for y in (0.0, 1.0) for x in (0.0, 0.5, 1.0)])  # row 0 is the top

    def cost(order) -> float:
        return float((scaled - centres[list(order)]).square().sum())

    assert cost(cells.tolist()) == pytest.approx(min(cost(order) for order in permutations(range(6))), abs=1e-5)


def test_grid_lays_a_grid_where_it_was():
    row, column = torch.arange(12) // 4, torch.arange(12) % 4
    points = torch.stack([column * 10.0, -row * 3.0], dim=1)  # the map's second axis points up
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert embedding.grid(points[shuffled], 3, 4).tolist() == shuffled.tolist()
    assert len(set(embedding.grid(points[:5], 3, 4).tolist())) == 5, "cells may stay empty"
    with pytest.raises(ValueError, match="12 pictures"):
        embedding.grid(points, 2, 5)


def test_mosaic_puts_each_picture_into_its_cell():
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 8, 8) * 50
    sheet = embedding.mosaic(images, torch.tensor([3, 0, 1]), 2, 2, size=4)
    assert sheet.shape == (1, 8, 8)
    corners = sheet[0, ::4, ::4].tolist()
    assert corners == [[50, 100], [255, 0]], "row by row; the empty cell is white"


def test_watch_gives_what_codes_gives_and_what_a_relu_is_given():
    torch.manual_seed(0)
    net = backbones.load(pretrained=False)
    images = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    net.train()
    seen = embedding.watch(net, images, ["block2", "penultimate", "bn2.drop"], size=64)
    assert net.training, "the mode is put back"
    net.eval()
    with torch.inference_mode():
        for stage in ("block2", "penultimate"):
            assert torch.allclose(seen[stage], net.codes(images, stage), atol=1e-4)
    assert not net.net.bn2.drop._forward_hooks, "no hook stays behind"
    assert list(seen) == ["block2", "penultimate", "bn2.drop"], "in the order asked for"
    assert seen["bn2.drop"].min() < 0 <= seen["penultimate"].min()


@pytest.mark.parametrize(
    ("name", "before", "after"), [("alexnet", "classifier.4", "fc7"), ("resnet18", "layer4.1.bn2", "layer4")]
)
def test_look_is_not_fooled_by_activations_in_place(name, before, after):
    torch.manual_seed(0)
    net = backbones.load(name, pretrained=False).eval()
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        both = net.look(images, [before, after])
        assert torch.equal(both[before], net.look(images, [before])[before]) and both[before].min() < 0
    assert both[after].min() >= 0
    if name == "alexnet":
        assert torch.equal(both[after], both[before].relu())


def test_from_pca_the_seed_changes_nothing():
    codes = torch.randn(120, 60, generator=torch.Generator().manual_seed(0))
    maps = [embedding.tsne(codes, perplexity=5, seed=seed) for seed in range(3)]
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2])
