"""Several processes that train as one: ``torchrun --nproc-per-node=2 -m helpers.transfer ...``.

Each process computes its share of every batch, of the test images and of the codes. Gradients, BatchNorm's statistics
and metrics are those of the whole, so the result is that of one process, to rounding. Without torchrun there is one
process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from helpers import machine


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that torchrun started: NCCL between GPUs, else Gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = machine.device().type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Hours: the first process may be downloading a set while the others wait for it.
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=2))
    try:
        yield
        dist.barrier()  # with PyTorch 2.4 one that leaves early keeps the others waiting
    finally:
        dist.destroy_process_group()


def count() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that prints and writes."""
    return count() == 1 or dist.get_rank() == 0


def share(n: int) -> slice:
    """Which of n rows are this process's: the shares follow each other and differ by one at most."""
    if count() == 1:
        return slice(0, n)
    return slice(n * dist.get_rank() // count(), n * (dist.get_rank() + 1) // count())


def gather(rows: torch.Tensor, n: int) -> torch.Tensor:
    """All n rows, of the shares (k, ...) of all processes, in order and on the device of ``rows``."""
    if count() == 1:
        return rows
    with torch.inference_mode(False):  # PyTorch 2.4 can't write messages into tensors of that mode
        padded = torch.zeros(-(-n // count()), *rows.shape[1:], dtype=rows.dtype, device=machine.device())
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(count())]
        dist.all_gather(parts, padded)
    sizes = [n * (i + 1) // count() - n * i // count() for i in range(count())]
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).to(rows.device)


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes."""
    if count() > 1:
        dist.all_reduce(value)
    return value


def from_first(find: Callable[[], Any]) -> Any:
    """What the first process finds, in all of them: a file that only one of them sees can't part their ways."""
    if count() == 1:
        return find()
    box = [find() if first() else None]
    dist.broadcast_object_list(box, src=0, device=machine.device())
    return box[0]


def add_gradients(model: nn.Module) -> None:
    """Each gradient becomes the sum over the processes, in one message. Loss and gradient are sums, too."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if count() == 1 or not gradients:
        return
    whole = total(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, whole.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def whole_batch() -> TorchFunctionMode | nullcontext:
    """In it, BatchNorm's mean and variance are those of the whole batch, on any device.

    PyTorch's SyncBatchNorm computes the same, but runs on a GPU only and needs another model.
    """
    return nullcontext() if count() == 1 else _WholeBatch()


class _WholeBatch(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = _batch_norm if function is F.batch_norm else function
        return result(*args, **(kwargs or {}))


def _batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if not training:
        return torch.batch_norm(x, weight, bias, running_mean, running_var, False, momentum, eps, False)
    if weight is None:
        weight, bias = x.new_ones(x.shape[1], dtype=torch.float32), x.new_zeros(x.shape[1], dtype=torch.float32)
    result, mean, unbiased = _Normalised.apply(x, weight, bias, eps)
    if running_mean is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return result


class _Normalised(torch.autograd.Function):
    """A batch that lies in several processes, normalised: one message forwards, one backwards."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        variance, mean = torch.var_mean(x.float(), [0, *range(2, x.dim())], correction=0)
        size = mean.new_tensor([x.numel() // x.shape[1]])
        rows = mean.new_zeros(count(), 2 * len(mean) + 1)
        rows[dist.get_rank()] = torch.cat([mean, variance, size]).nan_to_num()  # a share may hold no image
        means, variances, sizes = total(rows).split([len(mean), len(mean), 1], dim=1)
        # The variances around the parts' own means, and the means' variance: E[x²] - E[x]² would lose digits.
        n, shares = sizes.sum(), sizes / sizes.sum()
        mean = (shares * means).sum(0)
        variance = (shares * (variances + (means - mean).square())).sum(0)
        ctx.save_for_backward(x, weight, mean, variance, n)
        ctx.eps = eps
        # PyTorch's own kernels divide by the number of images here
        result = torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False) if len(x) else x.clone()
        return result, mean, variance * n / (n - 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        x, weight, mean, variance, n = ctx.saved_tensors
        # With mean and variance as they are; their own share in the gradient needs the sums over the whole batch.
        fixed = (gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True])
        empty = gradient, torch.zeros_like(weight), torch.zeros_like(weight)
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(*fixed) if len(x) else empty
        all_weight, all_bias = total(torch.stack([by_weight, by_bias]).float()) / n
        scale = (variance + ctx.eps).rsqrt()
        slope = -weight * scale * scale * all_weight
        wide = (1, -1, *[1] * (x.dim() - 2))
        by_x = torch.addcmul(by_x.float(), x.float(), slope.view(wide))
        by_x += (-weight * scale * all_bias - slope * mean).view(wide)
        return by_x.to(x.dtype), by_weight, by_bias, None
