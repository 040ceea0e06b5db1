"""Pretrained networks by name, with named stages, their own preprocessing, and what fine-tuning needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from helpers import pictures, weights
from helpers.weights import NoWeights as NoWeights


@dataclass(frozen=True)
class Preprocess:
    """What a network was trained on: images of ``size`` x ``size`` pixels, values 0-255, minus mean, over std."""

    size: int
    crop: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """A PIL image as uint8 (1, 3, size, size): short side to ``size / crop`` (bicubic), then the centre."""
        image = image.convert("RGB")
        scale = self.size / self.crop / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        left, top = ((side - self.size) // 2 for side in image.size)
        image = image.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


# Stage -> "first module:last module". The stage's values are what its last module returns, after the ReLU where it
# ends with one (an EfficientNet block does not, nor does DenseNet's).
# "penultimate" (what the last layer is given) and "logits" are added to every network.
_SPANS: dict[str, dict[str, str]] = {
    "alexnet": {
        "conv1": "features.0:features.1",
        "conv2": "features.2:features.4",
        "conv3": "features.5:features.7",
        "conv4": "features.8:features.9",
        "conv5": "features.10:features.11",
        "fc6": "features.12:classifier.2",
        "fc7": "classifier.3:classifier.5",
    },
    "vgg16": {
        "block1": "features.0:features.4",
        "block2": "features.5:features.9",
        "block3": "features.10:features.16",
        "block4": "features.17:features.23",
        "block5": "features.24:features.30",
        "fc6": "avgpool:classifier.1",
        "fc7": "classifier.2:classifier.4",
    },
    "resnet": {"stem": "conv1:maxpool"} | {f"layer{i}": f"layer{i}:layer{i}" for i in (1, 2, 3, 4)},
    "densenet121": {"stem": "features.conv0:features.pool0", "block1": "features.denseblock1:features.denseblock1"}
    | {f"block{i}": f"features.transition{i - 1}:features.denseblock{i}" for i in (2, 3, 4)},
    "efficientnet": {"stem": "conv_stem:bn1"}
    | {f"block{i}": f"blocks.{i - 1}:blocks.{i - 1}" for i in range(1, 8)}
    | {"head": "conv_head:bn2"},
}
_LITE_SIZE = dict(zip(weights.LITE, (224, 240, 260), strict=True))
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)


class Backbone(nn.Module):
    """A network that takes pixels: normalisation is its first layer, so any image set can be given to it.

    Args:
        images: uint8, or float in 0-255, (N, 1 or 3, H, W); gray images are repeated to three channels.

    Returns:
        logits (N, classes).
    """

    def __init__(self, name: str, net: nn.Module, preprocess: Preprocess, spans: dict[str, str]):
        super().__init__()
        self.name, self.net, self.preprocess = name, net, preprocess
        self.keep_norms_still = True
        self._spans = spans
        self._head_name = next(n for n, m in reversed(list(net.named_modules())) if isinstance(m, nn.Linear))
        self.register_buffer("_mean", torch.tensor(preprocess.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(preprocess.std).view(1, 3, 1, 1), persistent=False)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names for ``codes``, ``maps``, ``freeze``: from the image to the class scores."""
        return (*self._spans, "penultimate", "logits")

    @property
    def head(self) -> nn.Linear:
        """The last, fully connected layer."""
        return self.net.get_submodule(self._head_name)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 1 or 3, H, W) in 0-255 -> what the network was trained on, (N, 3, H, W)."""
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images must be (N, 1 or 3, H, W), but their shape is {tuple(images.shape)}.")
        images = images.to(self._mean.device)
        pixels = images if images.is_floating_point() else images.float()
        return (pixels - self._mean) / self._std  # a gray channel is repeated by broadcasting

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(self.normalise(images))

    def module(self, stage: str) -> str:
        """The name, inside ``net``, of the module that returns a stage; other names are taken for a module's own."""
        return (self._spans | {"logits": f":{self._head_name}"}).get(stage, f":{stage}").split(":")[1]

    def maps(self, images: torch.Tensor, stage: str) -> torch.Tensor:
        """What a stage returns: (N, C, H', W'), or (N, D) from the fully connected part on."""
        return self.look(images, [stage])[stage]

    def look(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """What several stages, or modules of ``net``, return, in one pass that stops at the last of them.

        Returns {layer: (N, C, H', W')}, (N, D) from the fully connected part on. Raises ValueError for a layer that the
        network hasn't.
        """
        modules = dict(self.net.named_modules()) | {"penultimate": self.head}
        if unknown := [name for name in layers if self.module(name) not in modules]:
            raise ValueError(
                f"{self.name} has no layer {unknown[0]!r}: choose a stage ({', '.join(self.stages)}), "
                "or a module of backbone.net."
            )
        seen: dict[str, torch.Tensor] = {}

        def keep(name: str, value: torch.Tensor) -> None:
            seen[name] = value.clone()  # what follows may work in place
            if len(seen) == len(set(layers)):
                raise _Enough  # the rest of the network isn't needed

        with ExitStack() as hooks:
            for name in layers:
                module = modules[self.module(name)]
                if name == "penultimate":
                    hook = module.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0]))
                else:
                    hook = module.register_forward_hook(lambda _, args, out, name=name: keep(name, out))
                hooks.callback(hook.remove)
            with suppress(_Enough):
                self(images)
        return {name: seen[name] for name in layers}

    def codes(self, images: torch.Tensor, stage: str = "penultimate") -> torch.Tensor:
        """One vector an image, (N, D): the maps of a stage, averaged."""
        values = self.maps(images, stage)
        if values.ndim == 3 or (values.ndim == 4 and getattr(self.net, "output_fmt", "NCHW") != "NCHW"):
            raise ValueError(f"{self.name}'s {stage!r} is no set of maps {tuple(values.shape)}: take 'penultimate'.")
        return values.mean((2, 3)) if values.ndim == 4 else values

    def train(self, mode: bool = True) -> Backbone:
        """As in PyTorch, but a frozen BatchNorm stays in evaluation mode: its statistics are weights too."""
        super().train(mode)
        if self.keep_norms_still:
            for module in self.modules():
                learns = all(weight.requires_grad for weight in module.parameters())
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and not learns:
                    module.eval()
        return self

    def stage_of_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(stage, parameter) for each weight, from the image on; the last layer's stage is "logits"."""
        starts = {span.split(":")[0]: stage for stage, span in self._spans.items()} | {self._head_name: "logits"}
        stage = next(iter(self._spans))
        for module_name, module in self.net.named_modules():
            stage = starts.get(module_name, stage)
            for parameter in module.parameters(recurse=False):
                yield stage, parameter

    def fingerprint(self) -> str:
        """A hash of name, preprocessing and every weight: it changes when the codes would."""
        digest = hashlib.sha256(f"{self.name} {self.preprocess}".encode())
        for name, value in self.net.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())  # of any type
        return digest.hexdigest()


class _Enough(Exception):
    """Raised inside a forward pass when the wanted stage has been computed."""


def load(name: str = "efficientnet_lite0", *, pretrained: bool = True, classes: int | None = None) -> Backbone:
    """A network by name, on the CPU, in evaluation mode.

    Args:
        name: ``efficientnet_lite0`` (also 1, 2), ``alexnet``, ``vgg16``, ``resnet18``, ``resnet101``,
            ``densenet121``, or any name that timm knows.
        pretrained: ImageNet weights; otherwise random ones (seed first).
        classes: give it a new last layer for so many classes.

    Raises:
        NoWeights: the weights are neither here nor can they be downloaded.
    """
    if name in weights.LITE:
        net, spans = weights.from_package(name, pretrained), _SPANS["efficientnet"]
        preprocess = Preprocess(_LITE_SIZE[name], 0.875, (127.0,) * 3, (128.0,) * 3)
    elif name in weights.TORCHVISION:
        net, spans = weights.from_torchvision(name, pretrained), _SPANS["resnet" if "resnet" in name else name]
        preprocess = Preprocess(224, 0.875, _IMAGENET_MEAN, _IMAGENET_STD)
    else:
        net = weights.from_timm(name, pretrained)
        spans = _timm_spans(net)
        config = net.default_cfg
        scaled = (tuple(255 * value for value in config[key]) for key in ("mean", "std"))
        preprocess = Preprocess(config["input_size"][-1], config["crop_pct"], *scaled)
    backbone = Backbone(name, net, preprocess, spans)
    if classes is not None:
        replace_head(backbone, classes)
    return backbone.eval()


def _timm_spans(net: nn.Module) -> dict[str, str]:
    """Stages as timm lists them, by the module that ends each; what lies before it belongs to it."""
    ends = [stage["module"] for stage in net.feature_info]
    modules = [name for name, _ in net.named_modules() if name]
    names = [end.rpartition(".")[2] for end in ends]
    spans, start = {}, modules[0]
    for name, end in zip(names, ends, strict=True):
        spans[name if names.count(name) == 1 else end] = f"{start}:{end}"
        behind = modules[modules.index(end) + 1 :]
        start = next((other for other in behind if not other.startswith(f"{end}.")), end)
    return spans


def available() -> tuple[str, ...]:
    """The networks of the course whose weights are on this machine already."""
    return tuple(name for name in (*weights.LITE, *weights.TORCHVISION) if weights.file(name))


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 class names, in the order of the logits."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(1000))


@torch.inference_mode()
def predict(backbone: Backbone, image: Image.Image | str | Path, top: int = 5) -> list[tuple[str, float]]:
    """The ``top`` ImageNet classes of a picture (or of an image file) with their probabilities, the likeliest first."""
    if backbone.head.out_features != 1000:
        raise ValueError(f"{backbone.name} has {backbone.head.out_features} classes here, not ImageNet's 1,000.")
    if not isinstance(image, Image.Image):
        image = pictures.upright(Path(image).read_bytes())
    pixels = backbone.preprocess(image).to(backbone._mean.device)
    with evaluating(backbone):
        probabilities = backbone(pixels).softmax(1)[0]
    values, indices = probabilities.topk(top)
    names = imagenet_classes()
    return [(names[i], float(p)) for i, p in zip(indices.tolist(), values, strict=True)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, then each part's mode as it was."""
    was = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in was.items():
            module.training = mode


def replace_head(backbone: Backbone, classes: int) -> nn.Linear:
    """A new last layer for so many classes, with random weights; returns it."""
    old = backbone.head
    new = nn.Linear(old.in_features, classes).to(old.weight.device)
    parent, _, child = backbone._head_name.rpartition(".")
    setattr(backbone.net.get_submodule(parent), child, new)
    return new


def freeze(backbone: Backbone, below: str = "logits") -> int:
    """Freeze every weight before the stage ``below`` and free the others; returns the number that can learn.

    ``freeze(net)`` leaves the last layer alone to learn; ``freeze(net, "block6")`` also block6 and what follows;
    ``freeze(net, backbone.stages[0])`` frees everything. Frozen BatchNorm layers keep their statistics.
    """
    order = [stage for stage in backbone.stages if stage != "penultimate"]
    if below not in order:
        raise ValueError(f"{backbone.name} can't be frozen below {below!r}: choose one of {', '.join(order)}.")
    free = set(order[order.index(below) :])
    for stage, parameter in backbone.stage_of_parameters():
        parameter.requires_grad_(stage in free)
    backbone.train(backbone.training)
    return sum(p.numel() for p in backbone.parameters() if p.requires_grad)


def unfreeze(backbone: Backbone) -> int:
    """Let every weight learn; returns their number."""
    return freeze(backbone, backbone.stages[0])


def freeze_norms(backbone: Backbone) -> None:
    """Keep every BatchNorm as it was trained, statistics and weights, while the rest learns: for small batches."""
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)
    backbone.train(backbone.training)


def parameter_groups(
    backbone: Backbone, *, head_rate: float, body_rate: float, decay: float = 1.0, weight_decay: float = 1e-4
) -> list[dict]:
    """Groups for an optimiser, with discriminative rates (Howard & Ruder 2018, ULMFiT, section 3.2).

    The last layer learns at ``head_rate``, the stage before it at ``body_rate``, and each earlier one at ``decay``
    times the rate of the next. Norms and biases get no weight decay. Frozen weights are left out.
    """
    order = [stage for stage in backbone.stages if stage not in ("penultimate", "logits")]
    rates = {stage: body_rate * decay**i for i, stage in enumerate(reversed(order))} | {"logits": head_rate}
    groups: dict[tuple[str, bool], dict] = {}
    for stage, parameter in backbone.stage_of_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim <= 1  # a norm's weight or a bias
            new = {"params": [], "lr": rates[stage], "weight_decay": 0.0 if plain else weight_decay, "name": stage}
            groups.setdefault((stage, plain), new)["params"].append(parameter)
    if not groups:
        raise ValueError("Every weight is frozen: there is nothing to learn. Call unfreeze(backbone) first.")
    return list(groups.values())
