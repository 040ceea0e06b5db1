"""helpers.arithmetic against torch itself, published counts, and gradients."""

from __future__ import annotations

import math

import pytest
import timm
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from helpers import arithmetic
from helpers.arithmetic import Field

SMALL = settings(max_examples=150, deadline=None)
sizes = {
    "size": st.integers(1, 24),
    "kernel": st.integers(1, 6),
    "stride": st.integers(1, 5),
    "padding": st.integers(0, 4),
    "dilation": st.integers(1, 4),
}


@SMALL
@given(**sizes)
def test_output_size_is_that_of_conv1d_or_neither_runs(size, kernel, stride, padding, dilation):
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    try:
        expected = F.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), **options).shape[-1]
    except RuntimeError:
        with pytest.raises(ValueError, match="doesn't fit"):
            arithmetic.output_size(size, kernel, **options)
    else:
        assert arithmetic.output_size(size, kernel, **options) == expected


@SMALL
@given(**sizes)
def test_output_size_is_that_of_max_pool_in_ceil_mode(size, kernel, stride, padding, dilation):
    assume(padding <= kernel // 2 and size + 2 * padding > dilation * (kernel - 1))
    pool = nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=True)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    assert arithmetic.output_size(size, kernel, ceil_mode=True, **options) == pool(torch.zeros(1, 1, size)).shape[-1]


@pytest.mark.parametrize("wrong", [{"size": 0}, {"kernel": 0}, {"stride": 0}, {"dilation": 0}, {"padding": -1}])
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        arithmetic.output_size(**{"size": 7, "kernel": 3} | wrong)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 2),
    groups=st.integers(1, 3),
    depth=st.integers(1, 2),
    filters=st.integers(1, 2),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    kh=st.integers(1, 3),
    kw=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    with_bias=st.booleans(),
)
def test_the_naive_convolution_is_the_librarys(
    seed, n, groups, depth, filters, height, width, kh, kw, stride, padding, dilation, with_bias
):
    assume(height + 2 * padding > dilation * (kh - 1) and width + 2 * padding > dilation * (kw - 1))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, groups * depth, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(groups * filters, depth, kh, kw, generator=generator, dtype=torch.float64)
    bias = torch.randn(groups * filters, generator=generator, dtype=torch.float64) if with_bias else None
    before = x.clone()
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    out = arithmetic.conv2d_naive(x, weight, bias, **options)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, **options))
    assert torch.equal(x, before)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(4, 4, 3), (4, 3, 2), (6, 4, 2)])
def test_the_naive_convolution_refuses_groups_that_do_not_divide(channels, filters, groups):
    with pytest.raises(ValueError, match="groups"):
        arithmetic.conv2d_naive(torch.zeros(1, channels, 5, 5), torch.zeros(filters, 2, 3, 3), groups=groups)


@pytest.mark.parametrize(
    ("make", "count", "giga"),
    [
        (torchvision.models.alexnet, 61_100_840, 0.71),
        (torchvision.models.vgg16, 138_357_544, 15.47),
        (torchvision.models.resnet18, 11_689_512, 1.81),
        (torchvision.models.resnet101, 44_549_160, 7.80),
        (torchvision.models.densenet121, 7_978_856, 2.83),
        (lambda: timm.create_model("tf_efficientnet_lite0"), 4_652_008, 0.39),
    ],
)
def test_published_counts_and_torchs_own_counter(make, count, giga):
    with torch.device("meta"):
        model = make().eval()
        images = torch.zeros(1, 3, 224, 224)
    table = arithmetic.layer_table(model, (1, 3, 224, 224))
    assert table.parameters == sum(row.parameters for row in table.rows) == count
    assert table.multiply_adds / 1e9 == pytest.approx(giga, abs=0.01)
    with FlopCounterMode(display=False) as counter:
        model(images)
    assert counter.get_total_flops() == 2 * table.multiply_adds
    assert table.multiply_adds == sum(row.multiply_adds for row in table.rows)


def test_vgg16_layer_by_layer():
    with torch.device("meta"):
        table = arithmetic.layer_table(torchvision.models.vgg16(), (1, 3, 224, 224), skip=(nn.ReLU, nn.Dropout))
    convolutions = [row.output for row in table.rows if row.kind == "Conv2d"]
    assert [shape[0] for shape in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [row.output[1] for row in table.rows if row.kind == "MaxPool2d"] == [112, 56, 28, 14, 7]
    assert table["classifier.0"].parameters == 25088 * 4096 + 4096
    assert table["features.30"].field == (Field(212, 32, -90),) * 2
    assert math.isinf(table["classifier.0"].field[0].size)
    assert "138,357,544" in str(table) and "138,357,544" in table._repr_html_()
    with pytest.raises(KeyError, match=r"classifier\.6"):
        table["fc8"]


def test_the_network_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)).train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    arithmetic.layer_table(model, (4, 1, 8, 8))
    assert model.training and not model[0]._forward_hooks and model[0].weight.device.type == "cpu"
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_transposed_convolutions_and_groups_are_counted_as_torch_counts_them():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2)).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 4, 9, 9))
    assert counter.get_total_flops() == 2 * arithmetic.layer_table(model, (2, 4, 9, 9)).multiply_adds


def measured_field(model: nn.Module, shape: tuple[int, ...], unit: tuple[int, int]) -> list[tuple[int, int]]:
    """First and one-past-last input row and column that move this unit, from the gradient of positive weights."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    model.double().eval()(x)[0, :, unit[0], unit[1]].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    return [(int(line.nonzero().min()), int(line.nonzero().max()) + 1) for line in (seen.any(1), seen.any(0))]


class Residual(nn.Module):
    """A strided shortcut beside two convolutions: the order of the hooks alone would count its stride twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.ReLU(), nn.Conv2d(1, 1, 3, 1, 1))
        self.short = nn.Conv2d(1, 1, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x) + self.short(x)
        return F.avg_pool2d(F.pad(x, (2, 0, 1, 0)), 3, stride=2)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3)),
        nn.Sequential(nn.Conv2d(1, 2, (5, 3), (2, 1), (2, 0)), nn.AvgPool2d(2), nn.Conv2d(2, 1, 3, dilation=(1, 2))),
        nn.Sequential(nn.Conv2d(1, 2, 4, padding="same", dilation=2), nn.AvgPool2d(3, 2, 1), nn.Conv2d(2, 1, 2, 3)),
        nn.Sequential(Residual(), nn.Conv2d(1, 1, 3)),
    ],
)
def test_fields_are_what_gradients_reach(model):
    shape = (1, 1, 41, 47)
    fields = arithmetic.layer_table(model, shape).fields[""]
    out = model(torch.zeros(shape)).shape[2:]
    for unit in [(0, 0), (out[0] // 2, out[1] // 2), (out[0] - 1, out[1] - 1)]:
        for field, place, seen, size in zip(fields, unit, measured_field(model, shape, unit), shape[2:], strict=True):
            first, end = field.span(place)
            assert seen == (max(first, 0), min(end, size))
            model.float()


def test_the_field_of_a_pretrained_kind_of_network_is_what_its_gradient_reaches():
    """tf_efficientnet_lite0 pads on one side only ("same" as in TensorFlow)."""
    model = timm.create_model("tf_efficientnet_lite0").eval()
    images = torch.randn(1, 3, 160, 160, requires_grad=True)
    fields = arithmetic.layer_table(model, images.shape).fields["blocks.2"]
    model.blocks[:3](model.bn1(model.conv_stem(images)))[0, :, 9, 9].sum().backward()
    seen = images.grad[0].abs().sum(0) > 0
    assert (int(seen.any(1).nonzero().min()), int(seen.any(1).nonzero().max()) + 1) == fields[0].span(9)


def test_known_fields():
    assert arithmetic.receptive_field([(3,)] * 4).size == 1 + 4 * (3 - 1)
    assert arithmetic.receptive_field([(7, 2, 3), (3, 2, 1)]) == Field(11, 4, -5)
    assert arithmetic.receptive_field([(3, 1, 0, 1), (3, 1, 0, 2), (3, 1, 0, 4)]).size == 15
    table = arithmetic.layer_table(torchvision.models.resnet18(), (1, 3, 224, 224))
    assert [table.fields[f"layer{i}"][0].size for i in (1, 2, 3, 4)] == [43, 99, 211, 435]  # Araujo 2019: 435


def test_what_cannot_be_followed_is_said_to_be_unknown():
    class Shuffled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.Identity()(x.permute(0, 2, 3, 1))

    assert arithmetic.layer_table(nn.Sequential(nn.Conv2d(3, 8, 3), Shuffled()), (1, 3, 9, 9)).fields["1"] is None


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_a_convolution(bias):
    linear = nn.Linear(3 * 4 * 5, 7, bias=bias)
    layer = arithmetic.as_convolution(linear, 3, 4, 5)
    x = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(layer(x)[:, :, 2, 0], linear(x[:, :, 2:6].flatten(1)))
    assert layer(x).shape == (2, 7, 3, 1)
    with pytest.raises(ValueError, match="48 values, but the layer takes 60"):
        arithmetic.as_convolution(linear, 3, 4, 4)
