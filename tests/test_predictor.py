"""The prediction explorer without a browser: what its widgets do to the answer, and the numbers it shows."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import backbones, codes, datasets, linear, predictor
from tests.made import stripes


@pytest.fixture(scope="module")
def network() -> backbones.Backbone:
    return backbones.load("efficientnet_lite0")


@pytest.fixture
def looking(network) -> predictor.Predictor:
    return predictor.Predictor(network)


def words(looking: predictor.Predictor) -> str:
    """What is shown, without the pictures."""
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", looking._view.value))


def upload(looking: predictor.Predictor, name: str, data: bytes) -> None:
    """What the front end sends when a file was chosen, in ipywidgets 7 and 8."""
    if isinstance(looking.upload.value, dict):
        count = looking.upload._counter + 1
        looking.upload.set_state({"metadata": [{"name": name}], "data": [memoryview(data)], "_counter": count})
    else:
        file = {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": 0}
        looking.upload.set_state({"value": [file]})


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def test_probabilities_are_those_of_the_network(network, looking):
    for name in ("cat", "astronaut"):
        looking.photograph.value = name
        right = backbones.predict(network, datasets.photograph(name))
        assert looking.answer.names == [one for one, _ in right]
        assert looking.answer.probabilities == pytest.approx([p for _, p in right], rel=1e-3)
        assert list(looking.choice.options) == [f"{one} · {p:.1%}" for one, p in right]


def test_map_and_bias_make_the_score_and_the_map_is_that_of_the_layers(network, looking):
    looking.photograph.value = "coffee"
    pixels = network.preprocess(datasets.photograph("coffee"))
    with torch.inference_mode():
        logits = network(pixels)[0]
        maps = network.net.forward_features(network.normalise(pixels))[0]  # timm's own
    known = backbones.imagenet_classes()
    for i, name in enumerate(looking.answer.names):
        number, a = known.index(name), looking.answer
        right = (maps * network.head.weight[number].detach()[:, None, None]).sum(0)
        assert torch.allclose(a.maps[i], right, atol=1e-3)
        assert a.maps[i].mean().item() + a.biases[i] == pytest.approx(logits[number].item(), abs=1e-3)
        looking.choice.index = i
        assert f"“{name}”: the mean of the map is {right.mean():z.2f}" in words(looking)
        assert f"the score is {logits[number]:.2f}" in words(looking) and f"{logits.softmax(0)[number]:.1%}" in words(
            looking
        )


def test_another_class_shows_another_map_of_the_same_picture(looking):
    before = looking._view.value
    looking.choice.index = 3
    pictures = [re.findall('src="([^"]+)"', text) for text in (before, looking._view.value)]
    assert pictures[0][0] == pictures[1][0] and pictures[0][1] != pictures[1][1]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "I;16", "CMYK"])
def test_an_upload_of_any_mode_is_answered(looking, mode):
    picture = datasets.photograph("coffee")
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    picture = deep if mode == "I;16" else picture.convert(mode)
    upload(looking, "mine.tif", encoded(picture, "TIFF"))
    assert looking.message.value == "" and "mine.tif, as the network" in words(looking)
    assert looking.photograph.value == "" and not looking.upload.value
    assert mode in ("1", "L", "I;16") or looking.answer.names[0] == "espresso"


def test_the_same_upload_and_photograph_can_be_chosen_again(looking):
    data = encoded(datasets.photograph("coffee"))
    for name in ("cat", "china"):
        looking.photograph.value = name
        assert f"{name}, as the network" in words(looking)
        upload(looking, "mine.png", data)
        assert looking.answer.names[0] == "espresso"


def test_a_path_is_opened(looking, tmp_path):
    datasets.photograph("coffee").save(tmp_path / "my cup.jpg")
    looking.path.value = f" {tmp_path / 'my cup.jpg'} "
    assert "my cup.jpg, as the network" in words(looking) and looking.path.value == ""


@pytest.mark.parametrize("bad", [b"", b"no picture", encoded(Image.new("RGB", (40, 40)))[:60]])
def test_what_is_no_image_gives_one_line_and_the_answer_stays(looking, bad, tmp_path):
    before = words(looking)
    upload(looking, "<b>notes.txt", bad)
    line = re.sub("<[^>]*>", "", looking.message.value)
    assert line.startswith("“&lt;b&gt;notes.txt” can&#x27;t be read as an image (") and "\n" not in line
    assert words(looking) == before and looking.photograph.value == "cat"
    looking.path.value = str(tmp_path / "nowhere.jpg")
    assert "nowhere.jpg” can&#x27;t be opened (No such file or directory)" in looking.message.value
    looking.path.value = str(tmp_path)
    assert "can&#x27;t be opened" in looking.message.value
    looking.photograph.value = "china"
    assert looking.message.value == "", "the next picture takes the line away"


def test_a_head_of_ones_own(network):
    image_set = stripes(24, size=224)
    values = codes.extract(network, image_set, engine="torch", cache=False, progress=False)
    head = linear.fit(values, image_set.labels, kind="logistic", C=3.0)
    picture = Image.fromarray(image_set.images[5, 0].numpy())
    looking = predictor.Predictor(network, head, image_set.classes, choices={"a stripe": picture})
    right = head.scores(values[5:6])[0]
    assert looking.answer.probabilities == pytest.approx(
        right.softmax(0).sort(descending=True).values.tolist(), rel=0.01
    )
    assert looking.answer.names[0] == image_set.classes[image_set.labels[5]] and len(looking.answer.names) == 2
    for map_, bias, score in zip(looking.answer.maps, looking.answer.biases, looking.answer.scores, strict=True):
        assert map_.mean().item() + bias == pytest.approx(score, abs=1e-4)


def test_what_does_not_fit_is_said(network):
    svm = linear.fit(torch.rand(8, 1280), torch.arange(8) % 2, C=1.0)
    with pytest.raises(ValueError, match="has no probabilities"):
        predictor.Predictor(network, svm, ("a", "b"))
    with pytest.raises(ValueError, match="2 classes, but 3 names"):
        predictor.Predictor(
            network, linear.fit(torch.rand(8, 1280), torch.arange(8) % 2, kind="logistic", C=1.0), "abc"
        )
    for name in ("alexnet", "densenet121"):  # densenet has a norm and a ReLU after its last block
        with pytest.raises(ValueError, match=f"{name} does not end with the means of its last maps"):
            predictor.Predictor(backbones.load(name, pretrained=False))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite1"])
def test_other_networks_that_end_with_a_mean(name):
    other = backbones.load(name, pretrained=False)
    a = predictor.answer(other, datasets.photograph("cat"), None, backbones.imagenet_classes())
    with torch.inference_mode():
        right = other(a.pixels[None])[0].topk(5)
    assert a.scores == pytest.approx(right.values.tolist(), rel=1e-3, abs=1e-4)


def test_a_saved_page_has_the_starting_picture(looking, monkeypatch):
    shown = []
    monkeypatch.setattr(predictor, "display", lambda data, **options: shown.append(getattr(data, "data", data)))
    looking._ipython_display_()
    still, view = shown
    assert still.count('<img src="data:image/jpeg') == 2 and "Egyptian cat" in still and "35.6%" in still
    assert view["application/vnd.jupyter.widget-view+json"]["model_id"] == looking.box.model_id
