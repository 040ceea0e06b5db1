"""What a network says of one's own picture, and where it finds it: widgets that need a running Python.

They keep to what ipywidgets 7.7 (Colab) and 8 both have.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import matplotlib
import numpy as np
import torch
from IPython.display import HTML, display
from PIL import Image
from torch import nn
from torch.nn import functional as F

from helpers import backbones, datasets, explorers, pictures
from helpers.backbones import Backbone
from helpers.linear import LinearHead


@dataclass(frozen=True)
class Answer:
    """A picture as the network was given it, uint8 (3, H, W), and its likeliest classes, the likeliest first.

    ``maps`` (K, h, w): what each place adds to the score of a class. Its mean, plus the class's bias, is the score.
    """

    pixels: torch.Tensor
    names: list[str]
    probabilities: list[float]
    scores: list[float]
    biases: list[float]
    maps: torch.Tensor


@torch.inference_mode()
def answer(
    network: Backbone, picture: Image.Image, head: LinearHead | None, classes: Sequence[str], top: int = 5
) -> Answer:
    """The ``top`` classes of a picture with their exact class activation maps (Zhou et al. 2016).

    A picture of the network's own size is taken as it is, others are resized and cut to their middle.

    Raises:
        ValueError: the network's last layer isn't a linear one on the means of its last maps.
    """
    size = network.preprocess.size
    if picture.size == (size, size):
        pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None]
    else:
        pixels = network.preprocess(picture)
    with backbones.evaluating(network):  # one pass for both: the last maps, and the network's own scores
        both = network.look(pixels.to(network._mean.device), [network.stages[-3], "logits"])
    maps, scores = (values[0].float().cpu() for values in both.values())
    weight, bias = _layer(network.head)
    fits = maps.ndim == 3 and len(maps) == weight.shape[1]
    if not fits or (weight @ maps.mean((1, 2)) + bias - scores).norm() > 1e-2 * scores.norm():
        raise ValueError(
            f"{network.name} does not end with the means of its last maps and one linear layer, so it has no exact "
            "class activation map: take efficientnet_lite0 or a ResNet."
        )
    if head is not None:  # it takes codes of length 1
        maps = maps / maps.mean((1, 2)).norm().clamp_min(1e-12)
        weight, bias = _layer(head)
        scores = weight @ maps.mean((1, 2)) + bias
    values, best = scores.softmax(0).topk(min(top, len(scores)))
    names = [classes[i] for i in best.tolist()]
    evidence = torch.einsum("kc,chw->khw", weight[best], maps)
    return Answer(pixels[0], names, values.tolist(), scores[best].tolist(), bias[best].tolist(), evidence)


def _layer(head: nn.Linear | LinearHead) -> tuple[torch.Tensor, torch.Tensor]:
    return head.weight.detach().cpu(), head.bias.detach().cpu()


class Predictor:
    """Choose a photograph, upload one, or name a file: its likeliest classes, and the evidence for the one you click.

    The last value of a cell shows itself. Where no Python runs, there is a still of the first picture.

    Args:
        network: an EfficientNet-Lite or a ResNet (see ``answer``).
        head: a classifier of one's own on the network's codes: ``linear.fit(codes, labels, kind="logistic")``.
        classes: its names. Without a head they are ImageNet's.
        choices: name -> picture to choose from; the course's photographs by default.

    Raises:
        ValueError: the network has no exact map, the head no probabilities, or a class no name.
    """

    def __init__(
        self,
        network: Backbone,
        head: LinearHead | None = None,
        classes: Sequence[str] | None = None,
        *,
        choices: Mapping[str, Image.Image] | None = None,
    ) -> None:
        self.network, self.head, self.classes = network, head, classes or backbones.imagenet_classes()
        if head is not None and head.kind != "logistic":
            raise ValueError(f'A head of kind "{head.kind}" has no probabilities: fit one with kind="logistic".')
        if (count := len((head or network.head).weight)) != len(self.classes):
            raise ValueError(f"There are {count} classes, but {len(self.classes)} names: give them with classes=[...].")
        self._choices = dict(choices or dict.fromkeys(datasets.PHOTOGRAPHS))
        self._build(first="cat" if choices is None else next(iter(self._choices)))
        self._still = self._answer_html() + _bars_html(self.answer)

    def _build(self, first: str) -> None:
        wide = {"description_width": "initial"}
        options = [("your own", ""), *((name, name) for name in self._choices)]
        self.photograph = widgets.Dropdown(options=options, description="Photograph", style=wide)
        self.upload = widgets.FileUpload(accept="image/*", description="Upload your own", layout={"width": "auto"})
        self.path = widgets.Text(placeholder="file.jpg, Enter", description="or its path", style=wide)
        self.path.continuous_update = False
        self.message, self._view, self._style = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.choice = widgets.RadioButtons(layout={"width": "auto"})  # the class whose evidence is shown
        wrap = {"flex_flow": "row wrap"}
        row = widgets.Box([self.photograph, self.upload, self.path], layout=wrap)
        classes = widgets.VBox([widgets.HTML("<b>Evidence for</b>"), self.choice, self._style])
        self.box = widgets.VBox([row, self.message, widgets.Box([self._view, classes], layout=wrap)])
        self._name = f"course-{self.box.model_id}"
        self.box.add_class("course-live")
        self.box.add_class(self._name)
        self._view.add_class("course-answer")
        self.choice.observe(lambda change: self._draw(), "index")
        self.photograph.observe(lambda change: change.new and self._choose(change.new), "value")
        self.upload.observe(lambda change: self._take(change.new), "value")
        self.path.observe(lambda change: change.new.strip() and self._open(change.new.strip()), "value")
        self.photograph.value = first

    # ---- what the student gives

    def _choose(self, name: str) -> None:
        self._look(self._choices[name] or datasets.photograph(name), name)

    def _take(self, files: dict | Sequence[dict]) -> None:
        """What an upload brings: {name: {"content": bytes}} in ipywidgets 7, ({"name": ..., "content": ...},) in 8."""
        if not files:
            return
        old = isinstance(files, dict)
        name, file = next(iter(files.items())) if old else (files[0]["name"], files[0])
        self._read(bytes(file["content"]), name)
        self.upload.set_trait("value", {} if old else ())  # as is the same file

    def _open(self, path: str) -> None:
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            self._complain(f"“{path}” can't be opened ({error.strerror}): check the path.")
        else:
            self._read(data, Path(path).name)

    def _read(self, data: bytes, name: str) -> None:
        try:  # a camera's JPEG is decoded at a fraction: faster, and within a point of the probability
            picture = pictures.upright(data, smallest=3 * self.network.preprocess.size)
        except Exception as error:  # PIL's plugins raise anything for a broken file
            self._complain(f"“{name}” can't be read as an image ({pictures.reason(error)}): choose a JPEG or PNG.")
        else:
            self.photograph.value = self.path.value = ""  # what is chosen again is news again
            self._look(picture, name)

    def _complain(self, text: str) -> None:
        style = "border-left:8px solid #D55E00;padding:2px 8px;font-weight:600"
        self.message.value = f'<p role="alert" style="{style}">{html.escape(text)}</p>'

    # ---- what the student sees

    def _look(self, picture: Image.Image, name: str) -> None:
        self.message.value = ""
        self.shown, self.answer = name, answer(self.network, picture, self.head, self.classes)
        rows = zip(self.answer.names, self.answer.probabilities, strict=True)
        # The bars lie in the labels, so that a click on a bar chooses its class.
        label = f".{self._name} .widget-radio-box label"
        bars = [
            f"{label}:nth-of-type({i}) {{ background-size: {100 * p:.1f}% 8px, 100% 8px }}"
            for i, p in enumerate(self.answer.probabilities, 1)
        ]
        self._style.value = f"<style>{label} {{ {_LABEL} }} {''.join(bars)}</style>"
        self.choice.options = [f"{name} · {p:.1%}" for name, p in rows]
        self.choice.index = 0  # ipywidgets 7 chooses the first by itself
        self._draw()

    def _draw(self) -> None:
        if self.choice.index is not None:
            self._view.value = self._answer_html()

    def _answer_html(self) -> str:
        """The picture, the map of the chosen class, and how the map makes the score."""
        a, i = self.answer, self.choice.index or 0
        highest = max(a.maps.max().item(), 1e-6)
        width = a.maps.shape[2]
        row, column = divmod(int(a.maps[i].argmax()), width)
        class_name, name = html.escape(a.names[i]), html.escape(self.shown)
        where = f"the strongest of {a.maps.shape[1]}×{width} places is in row {row}, column {column}"
        given = f"{name}, as the network is given it"
        before = _figure(a.pixels, given, given)
        evidence = _overlay(a.pixels, a.maps[i], highest)
        after = _figure(evidence, f"evidence for “{class_name}”: {where}", _SCALE % highest)
        return (
            f'<div style="display:flex;flex-wrap:wrap;gap:8px">{before}{after}</div>'
            f'<p style="max-width:584px;margin:4px 0;line-height:1.4">“{class_name}”: the mean of the map is '
            f"{a.maps[i].mean():z.2f}; with the bias of {a.biases[i]:z.2f} the score is {a.scores[i]:z.2f}, and the "
            f"probability {a.probabilities[i]:.1%}; {where}.</p>"
        )

    def _ipython_display_(self) -> None:
        hide = f"<style>:root:has(.{self._name}) .{self._name}-still {{ display: none }}</style>{_KEYS}"
        display(HTML(f'{hide}<div class="{self._name}-still">{self._still}</div>'))
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        text = "To choose a picture, run this cell."
        display({"application/vnd.jupyter.widget-view+json": view, "text/plain": text}, raw=True)


_LABEL = (
    "height: auto; width: 17rem; max-width: 100%; line-height: 1.5; padding: 2px 0 12px; margin: 0 0 4px; "
    "background: linear-gradient(#3390CC, #3390CC) left bottom no-repeat, "
    "linear-gradient(#8886, #8886) left bottom no-repeat"
)
# JupyterLab takes arrow keys and Enter from what has the focus, unless it is marked; ARIA can't be set from Python.
_KEYS = """<script>document.addEventListener("focusin", event => {
  const live = event.target.closest(".course-live");
  if (!live) return;
  event.target.setAttribute("data-lm-suppress-shortcuts", "true");
  live.querySelector(".course-answer .widget-html-content").setAttribute("aria-live", "polite");
});</script>"""
_MAGMA = matplotlib.colormaps["magma"]
_STOPS = ",".join(matplotlib.colors.to_hex(_MAGMA(i / 8)) for i in range(9))
_RAMP = f"display:inline-block;width:5rem;height:10px;background:linear-gradient(to right,{_STOPS})"
_SCALE = f'a place adds 0 or less <span style="{_RAMP}"></span> %.1f'


def _figure(pixels: torch.Tensor, alt: str, caption: str) -> str:
    """A picture, uint8 (3, H, W), as HTML; ``alt`` and ``caption`` are HTML already."""
    return (
        f'<figure style="margin:0;max-width:288px"><img src="{explorers.address(pixels, quality=88)}" alt="{alt}" '
        f'style="width:288px;max-width:100%"><figcaption style="line-height:1.4">{caption}</figcaption></figure>'
    )


def _overlay(pixels: torch.Tensor, evidence: torch.Tensor, highest: float) -> torch.Tensor:
    """A map (h, w) in colours, over its picture in gray: uint8 (3, H, W)."""
    size = tuple(pixels.shape[1:])
    smooth = F.interpolate(evidence[None, None], size, mode="bilinear")[0, 0].clamp_min(0) / highest
    colours = torch.from_numpy(_MAGMA(smooth.numpy())[:, :, :3]).permute(2, 0, 1) * 255
    return (0.4 * pixels.float().mean(0) + 0.6 * colours).byte()


def _bars_html(a: Answer) -> str:
    """The classes and their probabilities as a table with bars, for where the buttons can't be."""
    rows = "".join(
        f'<tr><td style="text-align:left">{html.escape(name)}</td><td style="text-align:left;width:12rem">'
        f'<div style="background:#3390CC;height:10px;width:{100 * p:.1f}%"></div></td><td>{p:.1%}</td></tr>'
        for name, p in zip(a.names, a.probabilities, strict=True)
    )
    return f"<table><caption>the likeliest classes</caption>{rows}</table>"
