"""Within ``quick_depthwise`` a network learns the same, whatever its depthwise convolutions look like."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import backbones, depthwise, machine, training
from helpers.depthwise import quick_depthwise
from tests.made import stripes


def gradients(conv: nn.Module, x: torch.Tensor, quick: bool) -> list[torch.Tensor]:
    """Of input, weight and bias. The loss is not linear, so that each output has another gradient."""
    conv.zero_grad()
    x = x.clone().requires_grad_()
    if quick:
        with quick_depthwise(conv):
            y = conv(x)
    else:
        y = conv(x)
    (y.sin() * torch.linspace(1, 2, y.numel()).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in conv.parameters())]


def used(monkeypatch: pytest.MonkeyPatch) -> list:
    """Filled with a shape at each call of the quick way."""
    calls, quick = [], depthwise._of_weight
    monkeypatch.setattr(depthwise, "_of_weight", lambda x, *rest: calls.append(tuple(x.shape)) or quick(x, *rest))
    return calls


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (3, 5)])
@pytest.mark.parametrize("side", [(1, 1), (2, 2), (3, 4), (4, 1), (4, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype, bias, near", [(torch.double, True, 1e-10), (torch.float, False, 1e-4)])
def test_gradients_of_small_maps_are_the_library_s(kernel, side, layout, dtype, bias, near, monkeypatch) -> None:
    calls = used(monkeypatch)
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel) if isinstance(kernel, tuple) else kernel // 2
    conv = nn.Conv2d(6, 6, kernel, padding=padding, groups=6, bias=bias, dtype=dtype)
    x = torch.randn(3, 6, *side, dtype=dtype).contiguous(memory_format=layout)
    for ours, expected in zip(gradients(conv, x, True), gradients(conv, x, False), strict=True):
        torch.testing.assert_close(ours, expected, rtol=near, atol=near / 10)
    assert calls == [(3, 6, *side)]


@pytest.mark.parametrize(
    "conv, shape",
    [
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (2, 6, 5, 5)),  # large maps: the library is as fast
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (6, 4, 4)),  # one image without its axis
        (nn.Conv2d(6, 6, 3, padding=1, groups=3), (2, 6, 4, 4)),
        (nn.Conv2d(6, 12, 3, padding=1, groups=6), (2, 6, 4, 4)),
        (nn.Conv2d(6, 6, 3, padding=1), (2, 6, 4, 4)),
        (nn.Conv2d(6, 6, 3, groups=6), (2, 6, 4, 4)),
        (nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6), (2, 6, 4, 4)),
        (nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6), (2, 6, 4, 4)),
        (nn.Conv2d(6, 6, 3, padding="same", groups=6), (2, 6, 4, 4)),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6, padding_mode="circular"), (2, 6, 4, 4)),
    ],
)
def test_others_are_left_to_the_library(conv: nn.Conv2d, shape: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = used(monkeypatch)
    torch.manual_seed(0)
    x = torch.randn(shape)
    for ours, expected in zip(gradients(conv, x, True), gradients(conv, x, False), strict=True):
        torch.testing.assert_close(ours, expected)
    assert not calls


def test_frozen_weights_and_half_precision_are_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = used(monkeypatch)
    conv, x = nn.Conv2d(6, 6, 3, padding=1, groups=6), torch.randn(2, 6, 4, 4, requires_grad=True)
    with quick_depthwise(conv), torch.autocast("cpu", torch.bfloat16):
        conv(x).sum().backward()
    conv.requires_grad_(False)
    with quick_depthwise(conv):
        conv(x).sum().backward()
    assert not calls


def test_a_network_is_what_it_was_afterwards() -> None:
    conv = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6))
    with pytest.raises(RuntimeError, match="stop"), quick_depthwise(conv):
        twin = copy.deepcopy(conv)
        raise RuntimeError("stop")
    assert type(conv[0]) is nn.Conv2d
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(twin(x), conv(x))


def test_lite0_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = used(monkeypatch)
    torch.manual_seed(0)
    model = backbones.load(pretrained=False, classes=3).train().double()
    pixels, labels = torch.rand(4, 3, 64, 64, dtype=torch.double) * 255, torch.tensor([0, 1, 2, 0])
    found = []
    for quick in (False, True):
        torch.manual_seed(1)
        twin = copy.deepcopy(model)
        if quick:
            with quick_depthwise(twin):
                scores = twin(pixels)
        else:
            scores = twin(pixels)
        F.cross_entropy(scores, labels).backward()
        found.append({name: value.grad for name, value in twin.named_parameters()})
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-6, atol=1e-9)
    assert len(calls) == 9, "the depthwise convolutions of maps of 4 and 2 pixels"


def test_fit_learns_this_way_and_gives_the_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, given = used(monkeypatch), []
    monkeypatch.setattr(machine, "give_memory_back", lambda: given.append(True))
    layers = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten(), nn.Linear(8 * 16, 2)
    training.fit(nn.Sequential(*layers), stripes(8, size=4), epochs=1, batch=4, progress=False)
    assert calls == [(4, 8, 4, 4)] * 2
    assert given == [True]
