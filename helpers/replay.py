"""CUDA graphs: the GPU's work of a training step is recorded once, and from then on started by a single call.

A step of a small network is a thousand kernels of a few microseconds each. Python starts them one by one, more slowly
than a large GPU computes them; recorded, they follow each other without it. On an H200, a step of Lite0 with 64 images
of 224 pixels then takes half the time (``benchmarks/training.py``).
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

_FIRST = 3  # calls that are computed as ever: libraries choose their kernels in them


class Replay:
    """``replay(work, *inputs)`` is ``work(*inputs)``, which leaves gradients in ``model`` and returns tensors.

    What is recorded are kernels and addresses, so ``work`` must do the same at each call with inputs of one shape.
    Other shapes (an epoch's last batch) are computed as ever. So is everything where the model has hooks, draws random
    numbers outside the GPU, or waits for the GPU to look at a value: that would happen once and never again. What
    ``work`` returns is overwritten at the next call.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.possible = model, True
        self.forget()

    def forget(self) -> None:
        """Record anew: somebody may have changed the model."""
        self.graph, self.shapes, self.calls = None, None, 0
        self.inputs, self.outputs, self.gradients = (), (), ()
        self.model.zero_grad(set_to_none=True)  # these would keep the recording's memory

    def __call__(
        self, work: Callable[..., tuple[torch.Tensor, ...]], *inputs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        shapes = [value.shape for value in inputs]
        self.shapes = self.shapes or shapes
        if not self.possible or shapes != self.shapes:
            return work(*inputs)
        self.calls += 1
        if self.calls < _FIRST:
            return work(*inputs)
        if self.calls == _FIRST:
            return self._listen(work, inputs)
        if self.graph is None and not self._record(work, inputs):
            return work(*inputs)
        for own, value in zip(self.inputs, inputs, strict=True):
            own.copy_(value)
        self.graph.replay()
        for parameter, gradient in self.gradients:  # a batch of another shape has left its own there
            parameter.grad = gradient
        return self.outputs

    def _listen(self, work: Callable, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """A call as ever, to hear whether it may be recorded: one that breaks off leaves PyTorch in a bad state."""
        mode, before = torch.cuda.get_sync_debug_mode(), _random_states()
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                outputs = work(*inputs)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        waits = False
        for one in heard:
            if "called a synchronizing" in str(one.message):
                waits = True
            elif "Synchronization debug mode" not in str(one.message):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        draws = _random_states() != before
        learned = any(value.requires_grad for value in inputs)  # an augmentation that learns
        self.possible = not (waits or draws or learned or _has_hooks(self.model))
        return outputs

    def _record(self, work: Callable, inputs: tuple[torch.Tensor, ...]) -> bool:
        """Recording computes nothing, so it may fail: there may be no memory for it."""
        self.model.zero_grad(set_to_none=True)
        try:
            self.inputs = [value.clone() for value in inputs]
            graph = torch.cuda.CUDAGraph()
            # One that breaks off doesn't give the stream back: the outer "with" does.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
                self.outputs = work(*self.inputs)
        except RuntimeError:
            self.forget()
            self.possible = False
            return False
        self.gradients = [(p, p.grad) for p in self.model.parameters() if p.grad is not None]
        self.graph = graph
        return True


def _random_states() -> list[object]:
    """Of the generators outside the GPU; what is drawn there is not recorded."""
    _, words, *place = np.random.get_state()
    return [random.getstate(), words.tolist(), place, torch.get_rng_state().tolist()]


def _has_hooks(model: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    of_modules = any(getattr(module, kind, None) for module in model.modules() for kind in kinds)
    kinds = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return of_modules or any(getattr(weight, kind, None) for weight in model.parameters() for kind in kinds)
