"""Recorded steps leave the weights of computed ones. Without a GPU, a stand-in takes the place of CUDA's graphs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from made import SmallNet, stripes
from torch import nn

from helpers import machine, training
from helpers.replay import Replay

DEVICE = machine.device()
TRAIN = stripes(8 * 16 + 5)


class StandIn:
    """As a CUDA graph: it writes to the addresses that were there when it was recorded."""

    owner: Replay
    replays = 0
    refuses = False

    def replay(self) -> None:
        StandIn.replays += 1
        StandIn.owner.model.zero_grad(set_to_none=True)
        outputs = StandIn.owner.work(*StandIn.owner.inputs)  # leaves new gradients
        for own, value in zip(StandIn.owner.outputs, outputs, strict=True):
            own.copy_(value)
        for parameter, own in StandIn.owner.gradients:
            own.copy_(parameter.grad)


@contextmanager
def recording(graph: StandIn) -> Iterator[None]:
    """Nothing is computed while CUDA records: what changed meanwhile is put back."""
    model = StandIn.owner.model
    state, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    yield
    model.load_state_dict(state)
    torch.set_rng_state(random)
    if StandIn.refuses:
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture(autouse=True)
def graphs(monkeypatch) -> None:
    monkeypatch.setattr(StandIn, "replays", 0)
    if DEVICE.type != "cuda":
        monkeypatch.setattr(torch.cuda, "CUDAGraph", StandIn)
        monkeypatch.setattr(torch.cuda, "graph", recording)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)


def trained(model: nn.Module, replayed: bool, between: bool = False) -> torch.Tensor:
    """The weights after two epochs of eight whole batches and one of five images; the losses are there too."""
    model.to(DEVICE).train()
    stepper = training._Stepper(model, None, "adamw", 0.01, 0.0, "onecycle", 18, "float32", 0.1, DEVICE)
    stepper.gradients = Replay(stepper._gradients, model) if replayed else stepper._gradients
    StandIn.owner = stepper.gradients if replayed else None
    torch.manual_seed(3)
    losses = []
    for _ in range(2):
        for images, labels in zip(TRAIN.images.split(16), TRAIN.labels.split(16), strict=True):
            losses.append(stepper.step(images.float().to(DEVICE), labels.to(DEVICE))[0].clone())
        if between:
            stepper.forget()
    return torch.cat([torch.stack(losses), *(p.detach().flatten() for p in model.parameters())])


def fresh(kind: type[nn.Module] = SmallNet) -> nn.Module:
    torch.manual_seed(0)
    return kind()


def test_replayed_steps_leave_the_weights_of_computed_ones():
    """With BatchNorm and dropout; the small last batch has gradients of its own, and so has what follows it."""
    expected, found = trained(fresh(), replayed=False), trained(fresh(), replayed=True)
    assert torch.allclose(found, expected, atol=1e-5)
    if DEVICE.type != "cuda":
        assert StandIn.replays == 2 * 8 - 3


def test_a_model_that_somebody_may_have_changed_is_recorded_anew():
    expected, found = trained(fresh(), replayed=False), trained(fresh(), replayed=True, between=True)
    assert torch.allclose(found, expected, atol=1e-5)
    if DEVICE.type != "cuda":
        assert StandIn.replays == 2 * (8 - 3)


def test_a_network_that_waits_for_the_gpu_is_computed_as_ever():
    class Waits(SmallNet):
        def forward(self, images):
            if DEVICE.type != "cuda":
                warnings.warn("called a synchronizing CUDA operation", stacklevel=1)  # as PyTorch does
            return super().forward(images) * (2.0 if images.mean().item() < 0 else 1.0)

    expected, found = trained(fresh(Waits), replayed=False), trained(fresh(Waits), replayed=True)
    assert torch.allclose(found, expected, atol=1e-5)
    assert StandIn.replays == 0


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the stand-in refuses on demand")
def test_a_step_that_cannot_be_recorded_is_computed_as_ever(monkeypatch):
    monkeypatch.setattr(StandIn, "refuses", True)
    expected, found = trained(fresh(), replayed=False), trained(fresh(), replayed=True)
    assert torch.allclose(found, expected, atol=1e-5)
    assert StandIn.replays == 0


def test_a_hook_is_called_at_each_step():
    calls = []
    model = fresh()
    model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    trained(model, replayed=True)
    assert len(calls) == 18 and StandIn.replays == 0
