"""CUDA graphs: the GPU's work of a training step is recorded once, and from then on started by a single call.

A step of a small network is a thousand kernels of a few microseconds each. Python starts them one by one, more slowly
than a large GPU computes them; recorded, they follow each other without it. On an H200, a step of Lite0 with 64 images
of 224 pixels then takes half the time (``benchmarks/training.py``); with large layers only, as long as ever.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn

_FIRST = 3  # calls that are computed as ever: libraries choose their kernels in them


class Replay:
    """``work(*inputs)``, which leaves gradients in ``model`` and returns tensors on the GPU.

    What is recorded are kernels and addresses. So ``work`` must do the same at each call with inputs of one shape.
    Other shapes (an epoch's last batch) are computed as ever. So is everything where the model has hooks, which would
    not be called again, or waits for the GPU to look at a value. What ``work`` returns is overwritten at the next call.
    """

    def __init__(self, work: Callable[..., tuple[torch.Tensor, ...]], model: nn.Module) -> None:
        self.work, self.model, self.possible = work, model, True
        self.forget()

    def forget(self) -> None:
        """Record anew: somebody may have changed the model."""
        self.graph, self.shapes, self.calls = None, None, 0
        self.inputs, self.outputs, self.gradients = (), (), ()

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shapes = [value.shape for value in inputs]
        self.shapes = self.shapes or shapes
        if not self.possible or shapes != self.shapes:
            return self.work(*inputs)
        self.calls += 1
        if self.calls < _FIRST:
            return self.work(*inputs)
        if self.calls == _FIRST:
            return self._look(inputs)
        if self.graph is None and not self._record(inputs):
            return self.work(*inputs)
        for own, value in zip(self.inputs, inputs, strict=True):
            own.copy_(value)
        self.graph.replay()
        for parameter, gradient in self.gradients:  # a batch of another shape has left its own there
            parameter.grad = gradient
        return self.outputs

    def _look(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """A call as ever. Does it wait for the GPU? Recording would break off, and leave PyTorch in a bad state."""
        mode = torch.cuda.get_sync_debug_mode()
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                outputs = self.work(*inputs)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        waits = any("called a synchronizing" in str(one.message) for one in heard)
        hooks = any(m._forward_hooks or m._forward_pre_hooks for m in self.model.modules())
        self.possible = not waits and not hooks
        return outputs

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> bool:
        """Recording computes nothing, so it may fail: there may be no memory for it."""
        self.inputs = [value.clone() for value in inputs]
        graph = torch.cuda.CUDAGraph()
        self.model.zero_grad(set_to_none=True)
        try:
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
                self.outputs = self.work(*self.inputs)
            self.gradients = [(p, p.grad) for p in self.model.parameters() if p.grad is not None]
            self.graph = graph
        except RuntimeError:
            self.possible = False
            self.model.zero_grad(set_to_none=True)
        return self.possible
