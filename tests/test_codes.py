"""Codes: right, cached under the right key, resumed, rebuilt when damaged."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from made import stripes

from helpers import backbones, codes, machine


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def network():
    return backbones.load("efficientnet_lite0")


IMAGES = stripes(70, size=48)
CPU = torch.device("cpu")


def test_codes_are_what_the_network_gives(cache, network):
    with torch.inference_mode():
        expected = network.codes(IMAGES.images, "penultimate")
    found = codes.extract(network, IMAGES, engine="torch", device=CPU)
    assert found.dtype == torch.float32 and found.shape == (70, 1280)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO isn't installed")
@pytest.mark.parametrize("stage, size", [("penultimate", 48), ("block3", 64), ("logits", 48)])
def test_openvino_gives_the_same_float32_codes(cache, network, stage, size):
    slow = codes.extract(network, IMAGES, stage, size=size, engine="torch", device=CPU)
    fast = codes.extract(network, IMAGES, stage, size=size, engine="openvino", device=CPU)
    assert (slow - fast).abs().max() <= 1e-3 * slow.abs().max()


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO isn't installed")
def test_a_network_that_was_moved_in_inference_mode_is_converted_too(cache):
    network = backbones.load("efficientnet_lite0")
    with torch.inference_mode():
        network.to(memory_format=torch.channels_last)
    assert codes.extract(network, IMAGES, engine="openvino", device=CPU).shape == (70, 1280)


def test_a_subset_takes_its_codes_from_the_set_it_was_taken_from(cache, network, monkeypatch):
    whole = codes.extract(network, IMAGES, engine="torch")
    some = IMAGES.subset([5, 3, 60, 8]).subset([2, 0])  # images 60 and 5
    with monkeypatch.context() as patch:
        patch.setattr(codes, "_runner", lambda *a: pytest.fail("computed again"))
        assert torch.equal(codes.extract(network, some, engine="torch"), whole[[60, 5]])
    mirrored = dataclasses.replace(some, images=some.images.flip(-1))
    expected = codes.extract(network, IMAGES, engine="torch", flip=True)[[60, 5]]
    assert torch.allclose(codes.extract(network, mirrored, engine="torch"), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(expected, whole[[60, 5]], atol=1e-2)
    longer = dataclasses.replace(some, images=IMAGES.images[:3], labels=IMAGES.labels[:3], files=IMAGES.files[:3])
    assert torch.allclose(codes.extract(network, longer, engine="torch"), whole[:3], rtol=1e-3, atol=1e-4)
    others = dataclasses.replace(IMAGES, images=IMAGES.images.flip(-1))
    assert torch.allclose(codes.extract(network, others, engine="torch")[[60, 5]], expected, rtol=1e-3, atol=1e-4)
    changed = dataclasses.replace(some, images=some.images.float())
    assert torch.allclose(codes.extract(network, changed, engine="torch"), whole[[60, 5]], rtol=1e-3, atol=1e-4)


def test_codes_that_are_there_need_no_lock(cache, network, monkeypatch):
    """In a folder for a whole class, the lock file is another user's."""
    whole = codes.extract(network, IMAGES, engine="torch")
    monkeypatch.setattr(codes, "FileLock", lambda *a, **k: pytest.fail("locked"))
    assert torch.equal(codes.extract(network, IMAGES, engine="torch"), whole)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO isn't installed")
def test_a_single_image_is_converted_too(cache, network, monkeypatch):
    monkeypatch.setattr(codes, "_converted", {})
    one = IMAGES.subset([7])
    slow = codes.extract(network, one, engine="torch", device=CPU)
    assert torch.allclose(codes.extract(network, one, engine="openvino", device=CPU), slow, rtol=1e-2, atol=1e-3)
    fast = codes.extract(network, IMAGES, engine="openvino", device=CPU)  # by the program that was made for one
    assert torch.allclose(fast[7:8], slow, rtol=1e-2, atol=1e-3) and fast.shape == (70, 1280)


def test_openvino_gives_its_buffers_back_and_goes_on(cache, network, monkeypatch):
    openvino, given_back = pytest.importorskip("openvino"), []
    release = openvino.CompiledModel.release_memory
    monkeypatch.setattr(openvino.CompiledModel, "release_memory", lambda own: given_back.append(release(own)))
    first, again = (codes.extract(network, IMAGES, engine="openvino", device=CPU, cache=False) for _ in range(2))
    assert len(given_back) == 2 and torch.equal(first, again)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bf16_codes_point_the_same_way_and_have_a_file_of_their_own(cache, network, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    exact = codes.extract(network, IMAGES, engine=engine, device=CPU)
    rough = codes.extract(network, IMAGES, engine=engine, device=CPU, precision="bf16")
    assert torch.cosine_similarity(exact, rough).min() > 0.995
    assert len(list((cache / "codes").glob("*.npz"))) == 2
    with pytest.raises(ValueError, match="precision is 'half'"):
        codes.extract(network, IMAGES, precision="half")


def test_the_second_call_reads_the_file(cache, network, monkeypatch):
    first = codes.extract(network, IMAGES, engine="torch")
    monkeypatch.setattr(codes, "_runner", lambda *a: pytest.fail("computed again"))
    assert torch.equal(first, codes.extract(network, IMAGES, engine="torch"))


@pytest.mark.fault(
    "Caches",
    "codes of other weights, images, stage, size, flip or crop (a stale key)",
    outcome="a file of their own",
)
def test_the_key_holds_all_that_matters(cache, network):
    other = backbones.load("efficientnet_lite0")
    with torch.no_grad():
        other.head.weight[0, 0] += 1
    calls = [
        (network, IMAGES, {}),
        (other, IMAGES, {}),
        (network, stripes(70, size=48, seed=1), {}),
        (network, IMAGES, {"stage": "block2"}),
        (network, IMAGES, {"size": 32}),
        (network, IMAGES, {"flip": True}),
        (network, IMAGES, {"crop": 0.875}),
    ]
    for net, images, options in calls:
        codes.extract(net, images, engine="torch", **options)
    assert len(list((cache / "codes").glob("*.npz"))) == len(calls)


def test_flip_mirrors_the_images(cache, network):
    with torch.inference_mode():
        expected = network.codes(IMAGES.images.flip(-1))
    assert torch.allclose(codes.extract(network, IMAGES, flip=True, engine="torch"), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.fault(
    "Caches", "Ctrl-C while codes are computed", outcome="the next call goes on where it stopped; the same bits"
)
def test_an_interrupted_extraction_goes_on(cache, network, monkeypatch):
    whole = codes.extract(network, IMAGES, engine="torch", cache=False)
    real, calls = codes._batch, []

    def interrupted(image_set, start, *how, **more):
        calls.append(start)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(image_set, start, *how, **more)

    monkeypatch.setattr(codes, "_PART", 1)
    monkeypatch.setattr(codes, "_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        codes.extract(network, IMAGES, engine="torch")
    starts = []
    monkeypatch.setattr(codes, "_batch", lambda s, start, *how, **more: starts.append(start) or real(s, start, *how))
    assert torch.equal(codes.extract(network, IMAGES, engine="torch"), whole)
    assert starts == [0, 64]  # the example batch, and the rest; not the first 64 again


@pytest.mark.fault("Caches", "a flipped byte in cached codes", outcome="said; computed again; the same codes")
@pytest.mark.parametrize("where", [0.3, 0.99])
def test_a_flipped_byte_is_noticed_and_mended(cache, network, where, capsys):
    good = codes.extract(network, IMAGES, engine="torch")
    file = next((cache / "codes").glob("*.npz"))
    raw = bytearray(file.read_bytes())
    raw[int(len(raw) * where)] ^= 1
    file.write_bytes(raw)
    assert torch.equal(codes.extract(network, IMAGES, engine="torch"), good)
    assert "damaged" in capsys.readouterr().out


@pytest.mark.fault("Caches", "half codes of an interrupted run, changed", outcome="not used")
def test_a_damaged_part_is_computed_again_and_the_others_are_not(cache, network, monkeypatch):
    monkeypatch.setattr(codes, "_PART", 1)
    good = codes.extract(network, IMAGES, engine="torch")
    one, other = sorted((cache / "codes").glob("*.npz"))
    np.savez(one, codes=good[:64].numpy() + 1)
    one.write_bytes(one.read_bytes()[:-9])
    before, real, starts = other.stat().st_mtime_ns, codes._batch, []
    monkeypatch.setattr(codes, "_batch", lambda s, start, *how, **more: starts.append(start) or real(s, start, *how))
    assert torch.equal(codes.extract(network, IMAGES, engine="torch"), good)
    assert starts == [0, 0] and other.stat().st_mtime_ns == before  # the example, and the damaged part


def test_a_full_disk_costs_the_cache_only(cache, network, monkeypatch, capsys):
    good = codes.extract(network, IMAGES, engine="torch", cache=False)

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(codes.Path, "write_bytes", full)
    assert torch.equal(codes.extract(network, IMAGES, engine="torch"), good)
    assert "No space left" in capsys.readouterr().out


@pytest.mark.fault("Caches", "OpenVINO can't convert the network", outcome="one line; PyTorch computes the codes")
def test_where_openvino_fails_pytorch_serves(cache, network, monkeypatch, capsys):
    def broken(*args):
        raise RuntimeError("this layer can't be converted")

    monkeypatch.setattr(codes, "_openvino", broken)
    monkeypatch.setattr(codes, "_converted", {})
    monkeypatch.setattr(codes, "_WORTH_CONVERTING", 0)  # else PyTorch serves these few images at once
    found = codes.extract(network, IMAGES, device=CPU)
    assert found.shape == (70, 1280)
    assert "PyTorch, not OpenVINO (this layer can't be converted)" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="engine='torch'"):
        codes.extract(network, IMAGES, "block1", engine="openvino", device=CPU)
