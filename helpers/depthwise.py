"""Depthwise convolutions whose weight gradient is quick on a CPU, also on the last small maps of a network.

In a depthwise convolution each channel has a filter of its own. PyTorch's CPU library has a fast kernel for the
gradient of these filters, but not for maps of four pixels or fewer a side, which small images end in. With this module
a step of Lite0 at 64 pixels takes 0.75 of the time on a processor with AVX2; with AVX-512 there is little to gain
(``benchmarks/step.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

SMALL = 4  # pixels a side: from five on, the library's own kernel is as fast


@contextmanager
def quick_depthwise(model: nn.Module) -> Iterator[None]:
    """Within it, the depthwise convolutions of ``model`` learn quickly on small maps. The numbers stay the same."""
    convolutions = [module for module in model.modules() if type(module) is nn.Conv2d and _is_depthwise(module)]
    try:
        for module in convolutions:
            module.__class__ = _Depthwise
        yield
    finally:
        for module in convolutions:
            module.__class__ = nn.Conv2d


def _is_depthwise(conv: nn.Conv2d) -> bool:
    """One filter a channel, and maps that keep their size."""
    keeps = all(k % 2 == 1 and p == k // 2 for k, p in zip(conv.kernel_size, conv.padding, strict=False))
    one_each = conv.groups == conv.in_channels == conv.out_channels > 1
    plain = conv.stride == conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    return keeps and one_each and plain


class _Depthwise(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = x.dim() == 4 and max(x.shape[2:]) <= SMALL
        if small and x.device.type == "cpu" and self.weight.requires_grad and not torch.is_autocast_enabled("cpu"):
            return _Convolve.apply(x, self.weight, self.bias, self.padding)
        return super().forward(x)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, padding):
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, bias, padding=padding, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        fixed = [(1, 1), ctx.padding, (1, 1), False, (0, 0), len(weight)]  # stride, padding, dilation, ..., groups
        wanted = (ctx.needs_input_grad[0], False, False)  # asked for the bias, the library would find the weight's too
        of_x = torch.ops.aten.convolution_backward(gradient, x, weight, None, *fixed, wanted)[0]
        of_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return of_x, _of_weight(x, gradient, weight, ctx.padding), of_bias, None


def _of_weight(x: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, padding: tuple) -> torch.Tensor:
    """Each weight w[i, j] met x[y + i - padding, ...] wherever the map has such a pixel, and sent it to output y."""
    found = torch.zeros_like(weight)  # weights that lie outside of the map at every place met nothing
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            (to_y, from_y), (to_x, from_x) = (
                _overlap(tap - pad, side) for tap, pad, side in zip((i, j), padding, x.shape[2:], strict=True)
            )
            found[:, 0, i, j] = (x[:, :, from_y, from_x] * gradient[:, :, to_y, to_x]).sum((0, 2, 3))
    return found


def _overlap(shift: int, side: int) -> tuple[slice, slice]:
    """The outputs y with a pixel at y + shift, and these pixels."""
    first, last = min(side, max(0, -shift)), max(0, side - max(0, shift))
    return slice(first, last), slice(first + shift, last + shift)
