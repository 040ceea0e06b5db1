"""Pretrained networks: right weights, named stages, freezing, groups."""

from __future__ import annotations

import hashlib
import socket

import pytest
import torch
from torch import nn

from helpers import backbones, datasets, weights

PIXELS = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def lite0() -> backbones.Backbone:
    return backbones.load("efficientnet_lite0")


@pytest.mark.parametrize(
    "picture, names",
    [("cat", {"tabby", "tiger cat", "Egyptian cat"}), ("coffee", {"espresso"}), ("rocket", {"missile"})],
)
def test_the_network_names_real_photographs(lite0, picture, names):
    top = backbones.predict(lite0, datasets.photograph(picture))
    assert top[0][0] in names
    assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)


def test_three_sizes_of_lite_know_the_cat():
    for name in ("efficientnet_lite1", "efficientnet_lite2"):
        if name not in backbones.available():
            pytest.skip(f"the package with the weights of {name} isn't installed")
        top = backbones.predict(backbones.load(name), datasets.photograph("cat"))[0][0]
        assert top in {"tabby", "tiger cat", "Egyptian cat"}


def test_normalisation_is_the_published_one(lite0):
    values = lite0.normalise(torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3))
    assert torch.allclose(values[0, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]))


def test_gray_images_are_repeated(lite0):
    gray = PIXELS[:, :1]
    with torch.inference_mode():
        assert torch.allclose(lite0(gray), lite0(gray.expand(-1, 3, -1, -1)), atol=1e-5)


def test_wrong_shapes_are_explained(lite0):
    with pytest.raises(ValueError, match=r"\(N, 1 or 3, H, W\).*\(3, 8, 8\)"):
        lite0(torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    "name, stage, width", [("alexnet", "fc7", 4096), ("vgg16", "fc7", 4096), ("vgg16", "fc6", 4096)]
)
def test_fc7_is_after_the_relu(name, stage, width):
    network = backbones.load(name, pretrained=False)
    with torch.inference_mode():
        codes = network.codes(PIXELS, stage)
    assert codes.shape == (2, width)
    assert codes.min() >= 0 and codes.max() > 0
    with torch.inference_mode():
        assert (stage == "fc7") == torch.equal(codes, network.codes(PIXELS, "penultimate"))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "alexnet", "resnet18", "densenet121", "mobilenetv3_small_050"])
def test_every_stage_gives_a_code_and_the_last_one_is_the_forward_pass(name):
    network = backbones.load(name, pretrained=False)
    with torch.inference_mode():
        for stage in network.stages:
            codes = network.codes(PIXELS, stage)
            assert codes.ndim == 2 and len(codes) == 2, stage
        assert torch.equal(codes, network(PIXELS))


def test_an_unknown_stage_names_those_that_exist(lite0):
    with pytest.raises(ValueError, match=r"no layer 'fc7'.*penultimate"):
        lite0.codes(PIXELS, "fc7")


def test_an_unknown_network_names_near_ones():
    with pytest.raises(ValueError, match="resnet18"):
        backbones.load("resnet19")


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg16", "resnet18", "densenet121", "efficientnet_lite0", "mobilenetv3_small_050"]
)
def test_freezing_goes_up_to_the_stage_and_no_further(name):
    network = backbones.load(name, pretrained=False, classes=5)
    total = sum(p.numel() for p in network.parameters())
    assert backbones.freeze(network) == sum(p.numel() for p in network.head.parameters())
    assert backbones.unfreeze(network) == total
    for stage in network.stages[1:-2]:
        backbones.freeze(network, stage)
        free = {s for s, p in network.stage_of_parameters() if p.requires_grad}
        after = network.stages[network.stages.index(stage) :]
        assert free <= set(after) and "logits" in free
        frozen = {s for s, p in network.stage_of_parameters() if not p.requires_grad}
        assert not frozen & set(after)
    with pytest.raises(ValueError, match="can't be frozen below 'penultimate'"):
        backbones.freeze(network, "penultimate")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "vgg11", "mobilenetv3_small_050", "repvgg_a0"])
def test_what_is_frozen_is_what_the_stages_before_are_computed_with(name):
    """By the gradient: a weight is frozen exactly if the value of the stage before hangs on it."""
    network = backbones.load(name, pretrained=False)
    network.train()  # BatchNorm lets gradients through
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    for before, stage in zip(network.stages[:-3], network.stages[1:-2], strict=True):
        backbones.unfreeze(network)
        network.zero_grad()
        network.maps(pixels, before).square().sum().backward()
        used = {id(p) for p in network.parameters() if p.grad is not None}
        backbones.freeze(network, stage)
        assert used == {id(p) for p in network.parameters() if not p.requires_grad}, stage


def test_frozen_norms_keep_their_statistics_in_training_mode():
    network = backbones.load("efficientnet_lite0", classes=3)
    backbones.freeze(network, "block7")
    before = {k: v.clone() for k, v in network.net.state_dict().items() if "running_mean" in k}
    network.train()
    network(PIXELS)
    moved = {k for k, v in network.net.state_dict().items() if k in before and not torch.equal(v, before[k])}
    assert moved and all(k.startswith(("blocks.6", "bn2")) for k in moved)
    network.keep_norms_still = False  # the trap
    network.train()
    network(PIXELS)
    assert not torch.equal(network.net.state_dict()["bn1.running_mean"], before["bn1.running_mean"])


def test_evaluation_mode_ends_with_each_part_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)))
    model.train()
    model[0].eval()  # by hand
    with backbones.evaluating(model):
        assert not any(module.training for module in model.modules())
    assert model.training and not model[0].training and model[1][1].training


def test_a_norm_without_weights_is_no_obstacle():
    network = backbones.load("resnet18", pretrained=False, classes=3)
    network.net.bn1 = nn.BatchNorm2d(64, affine=False)
    network.train()
    assert network.net.bn1.training


def test_parameter_groups_cover_each_weight_once_with_the_right_rates():
    network = backbones.load("resnet18", pretrained=False, classes=3)
    groups = backbones.parameter_groups(network, head_rate=1.0, body_rate=0.1, decay=0.5, weight_decay=0.01)
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    assert all(g["weight_decay"] == (0.01 if p.ndim > 1 else 0.0) for g in groups for p in g["params"])
    rates = {g["name"]: g["lr"] for g in groups}
    assert rates == {"logits": 1.0, "layer4": 0.1, "layer3": 0.05, "layer2": 0.025, "layer1": 0.0125, "stem": 0.00625}
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to learn"):
        backbones.parameter_groups(network, head_rate=1.0, body_rate=0.1)


def test_the_fingerprint_changes_with_a_weight_and_only_then(lite0):
    before = lite0.fingerprint()
    assert before == backbones.load("efficientnet_lite0").fingerprint()
    other = backbones.load("efficientnet_lite0")
    with torch.no_grad():
        next(m for m in other.modules() if isinstance(m, nn.BatchNorm2d)).running_mean[0] += 1e-3
    assert other.fingerprint() != before


def test_a_downloaded_file_in_the_data_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    torch.manual_seed(1)
    saved = backbones.load("resnet18", pretrained=False)
    file = tmp_path / "resnet18.pth"
    torch.save(saved.net.state_dict(), file)
    named = f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setattr(weights, "_url", lambda name: f"https://nowhere.invalid/{named}")
    file.rename(tmp_path / named)
    assert "resnet18" in backbones.available()
    assert backbones.load("resnet18").fingerprint() == saved.fingerprint()


@pytest.mark.fault("Downloads", "other weights under a network's name", outcome="one line: delete it")
@pytest.mark.parametrize("content", [b"", b"<html>log in first</html>"])
def test_weights_that_were_put_there_are_checked(content, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(content)
    with pytest.raises(backbones.NoWeights, match=r"resnet18-f37072fd.pth is damaged or another file.*delete it"):
        backbones.load("resnet18")


def test_networks_of_another_build_are_refused(monkeypatch):
    """One with two heads; one whose maps have the channels last."""
    import timm

    make = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: make(name, pretrained=False))
    with pytest.raises(ValueError, match="levit_128s doesn't end in one fully connected layer"):
        backbones.load("levit_128s", pretrained=False)
    swin = backbones.load("swin_tiny_patch4_window7_224", pretrained=False)
    images = torch.zeros(1, 3, 224, 224)
    with pytest.raises(ValueError, match="no set of maps"):
        swin.codes(images, swin.stages[0])
    assert swin.codes(images).shape == (1, 768)


def test_without_network_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(
        backbones.NoWeights, match=r"weights of alexnet can't be had.*by hand.*efficientnet_lite0"
    ) as told:
        backbones.load("alexnet")
    assert "\n" not in str(told.value)


@pytest.mark.fault("Downloads", "a host of weights that never answers", outcome="one line; given up after 10 s")
def test_a_host_that_says_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(weights, "_SILENCE", 0.2)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the call, and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/alexnet-owt-7be5be79.pth"
        monkeypatch.setattr(weights, "_url", lambda name: address)
        with pytest.raises(backbones.NoWeights, match="timed out"):
            backbones.load("alexnet")
    assert socket.getdefaulttimeout() == before
