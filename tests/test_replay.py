"""Recorded steps leave the weights of computed ones. Without a GPU, a stand-in takes the place of CUDA's graphs."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from made import SmallNet, stripes
from torch import nn

from helpers import machine, replay, training
from helpers.replay import Replay

DEVICE = machine.device()
TRAIN = stripes(8 * 16 + 5)


class StandIn:
    """As a CUDA graph: it writes to the addresses that were there when it was recorded."""

    replay_of: Replay
    work: Callable
    refuses = False

    def replay(self) -> None:
        own = StandIn.replay_of
        own.model.zero_grad(set_to_none=True)
        outputs = StandIn.work(*own.inputs)  # leaves new gradients
        for place, value in zip(own.outputs, outputs, strict=True):
            place.copy_(value)
        for parameter, place in own.gradients:
            place.copy_(parameter.grad)


@contextmanager
def recording(graph: StandIn) -> Iterator[None]:
    """Nothing is computed while CUDA records: what changed meanwhile is put back."""
    model = StandIn.replay_of.model
    state, random_state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    yield
    model.load_state_dict(state)
    torch.set_rng_state(random_state)
    if StandIn.refuses:
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture(autouse=True)
def graphs(monkeypatch) -> None:
    if DEVICE.type != "cuda":
        monkeypatch.setattr(torch.cuda, "CUDAGraph", StandIn)
        monkeypatch.setattr(torch.cuda, "graph", recording)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
        # Dropout draws on the CPU here.
        states = replay._random_states
        monkeypatch.setattr(replay, "_random_states", lambda: states()[:-1])


def trained(
    model: nn.Module, replayed: bool, between: bool = False, learned: bool = False
) -> tuple[torch.Tensor, bool]:
    """Losses and weights of two epochs of eight whole batches and one of five images; was the last epoch recorded?"""
    model.to(DEVICE).train()
    stepper = training._Stepper(model, None, "adamw", 0.01, 0.0, "onecycle", 18, "float32", 0.1, DEVICE)
    if replayed:
        stepper.replay = StandIn.replay_of = Replay(model)
        StandIn.work = stepper._gradients
    stepper.replay.possible = replayed
    torch.manual_seed(3)
    losses, recorded = [], False
    for _ in range(2):
        for images, labels in zip(TRAIN.images.split(16), TRAIN.labels.split(16), strict=True):
            pixels = images.float().to(DEVICE).requires_grad_(learned)
            losses.append(stepper.step(pixels, labels.to(DEVICE))[0].clone())
            recorded = stepper.replay.graph is not None
        if between:
            stepper.replay.forget()
    return torch.cat([torch.stack(losses), *(p.detach().flatten() for p in model.parameters())]), recorded


def fresh(kind: type[nn.Module] = SmallNet) -> nn.Module:
    torch.manual_seed(0)
    return kind()


@pytest.mark.parametrize("between", [False, True])
def test_replayed_steps_leave_the_weights_of_computed_ones(between):
    """With BatchNorm and dropout; the small last batch has gradients of its own, and so has what follows it. Between
    epochs the model may have been changed: it is recorded anew."""
    expected, _ = trained(fresh(), replayed=False)
    found, recorded = trained(fresh(), replayed=True, between=between)
    assert recorded and torch.allclose(found, expected, atol=1e-5)


def waits(images: torch.Tensor) -> None:
    if DEVICE.type != "cuda":
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)  # as PyTorch does
    images.mean().item()


@pytest.mark.filterwarnings("ignore:called a synchronizing")
@pytest.mark.parametrize("does", [waits, lambda _: random.random(), lambda _: np.random.rand()])
def test_a_network_whose_steps_differ_is_computed_as_ever(does):
    class Other(SmallNet):
        def forward(self, images):
            does(images)
            return super().forward(images)

    expected, _ = trained(fresh(Other), replayed=False)
    found, recorded = trained(fresh(Other), replayed=True)
    assert not recorded and torch.allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the stand-in refuses on demand")
def test_a_step_that_cannot_be_recorded_is_computed_as_ever(monkeypatch):
    monkeypatch.setattr(StandIn, "refuses", True)
    expected, _ = trained(fresh(), replayed=False)
    found, recorded = trained(fresh(), replayed=True)
    assert not recorded and torch.allclose(found, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize(
    "watch",
    [
        lambda model, note: model.layers[0].register_forward_hook(note),
        lambda model, note: model.layers[0].register_forward_pre_hook(note),
        lambda model, note: model.layers[0].register_full_backward_hook(note),
        lambda model, note: model.layers[0].weight.register_hook(note),
        lambda model, note: model.layers[0].weight.register_post_accumulate_grad_hook(note),
    ],
)
def test_a_hook_is_called_at_each_step(watch):
    calls = []
    model = fresh()
    watch(model, lambda *_: calls.append(1))
    _, recorded = trained(model, replayed=True)
    assert len(calls) == 18 and not recorded


def test_images_from_an_augmentation_that_learns_are_not_recorded():
    _, recorded = trained(fresh(), replayed=True, learned=True)
    assert not recorded


def test_without_memory_for_a_whole_batch_nothing_recorded_is_kept(capsys):
    """First the recording goes, and then the batch is cut."""

    class Small(SmallNet):
        full = False

        def forward(self, images):
            if self.full and len(images) > 8:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(images)

    model = fresh(Small).to(DEVICE).train()
    stepper = training._Stepper(model, None, "sgd", 0.01, 0.0, "constant", 18, "float32", 0.0, DEVICE)
    stepper.replay = StandIn.replay_of = Replay(model)
    StandIn.work = stepper._gradients
    pixels, labels = TRAIN.images[:16].float().to(DEVICE), TRAIN.labels[:16].to(DEVICE)
    for _ in range(6):
        stepper.step(pixels, labels)
    assert stepper.replay.graph is not None
    model.full = True
    stepper.step(pixels[:12], labels[:12])  # another shape: computed, and there is no memory for it
    assert not stepper.replay.possible and stepper.replay.graph is None and stepper.pieces == 2
    assert capsys.readouterr().out.count("it is computed in 2 pieces") == 1
