"""Explorers and notebooks in a real browser: they react, they agree with the library, they ask nothing of the network.

Skipped where there is no Chromium (``COURSE_CHROMIUM`` names one). ``COURSE_BROWSER=all`` opens every lesson in
JupyterLab, not only the first: minutes. ``COURSE_SLOW=20`` slows the pages down by that factor: what passes then
doesn't hang on the machine's speed.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from playwright.sync_api import expect
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from grading import tasks
from grading.collect import Submission
from grading.gradebook import Marks
from grading.tasks import Lesson
from helpers import arithmetic, backbones, datasets, embedding, explorers, predictor, strengths, visualise
from tools import answers, lesson, site, stills

CHROMIUM = stills.chromium()
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: install one, or name it in COURSE_CHROMIUM")

FULL = re.compile(r"→ (\S+) of \1 points")  # what a check ends with when all is right
LESSONS = [path for path in lesson.sources() if os.environ.get("COURSE_BROWSER") == "all" or path.stem[:2] == "01"]
KINDS = ("convolution", "transposed", "max", "average")
# lesson -> explorer -> what takes an arrow key, and what then says something else
MOVED = {
    "01": {"convolution": ("#input", "#sum"), "field": ("#stack", "#words"), "kernels": ("#before", "#words")},
    "02": {"filters": ("#map", "#words")},
    "04": {"augmentations": ("input[name=strength]", "#words")},
    "07": {"map": ("#map", "#words")},
}
KERNELS = {
    "shift": [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
    "blur": [[1 / 9] * 3] * 3,
    "edges": stills.SOBEL["vertical edges"],
}


@pytest.fixture(scope="module")
def chromium():
    with stills.browser(CHROMIUM) as browser:
        yield browser


@pytest.fixture
def page(chromium):
    """A page of which any script error, and any request to another machine, fails the test that uses it."""
    page, problems = chromium.new_page(viewport={"width": 1200, "height": 900}), []
    slow = float(os.environ.get("COURSE_SLOW", 1))
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slow})
    page.set_default_timeout(30_000 * slow)
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))

    def asked(request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname != "127.0.0.1":
            problems.append(f"outside request: {request.url[:100]}")

    page.on("request", asked)
    yield page
    page.close()
    assert problems == []


def shown(page, explorer):
    """The explorer's frame, shown as a notebook shows it."""
    page.set_content(explorer._repr_html_())
    frame = page.frame_locator("iframe").owner.element_handle().content_frame()
    frame.wait_for_load_state()
    return frame


def drag(frame, name: str, value: int) -> None:
    """Set a slider, as a pointer would."""
    frame.locator(f"input[name={name}]").fill(str(value))


# ---------------------------------------------------------------- the rules of the pages are those of the library


def settings(**ranges) -> list[dict[str, int]]:
    return [dict(zip(ranges, values, strict=True)) for values in itertools.product(*ranges.values())]


def outcome(function, *args, **kwargs):
    """What a call gives, or the text of its ValueError."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        return str(error)


def test_sizes_and_their_errors_are_those_of_the_library(page):
    page.set_content(explorers.convolution().page)
    cases = settings(
        size=(1, 2, 3, 5, 8, 11), kernel=range(1, 6), stride=range(1, 5), padding=range(4), dilation=range(1, 4)
    )
    script = """([cases, ceil]) => cases.map(a => {
        try { return rules.outputSize(a, ceil); } catch (error) { return error.message; } })"""
    for ceil in (False, True):
        wanted = [outcome(arithmetic.output_size, **case, ceil_mode=ceil) for case in cases]
        assert page.evaluate(script, [cases, ceil]) == wanted
    cases = [{**case, "outputPadding": n % 3} for n, case in enumerate(cases)]
    script = "cases => cases.map(a => rules.transposedSize(a))"
    wanted = [
        (a["size"] - 1) * a["stride"] - 2 * a["padding"] + a["dilation"] * (a["kernel"] - 1) + a["outputPadding"] + 1
        for a in cases
    ]
    assert page.evaluate(script, cases) == wanted


def torch_output(kind: str, x: torch.Tensor, w: torch.Tensor, v: dict, h: dict, ceil: bool):
    """The same layer by torch, as rows of numbers; None where the setting is wrong.

    With ``ceil_mode`` torch takes a window that is larger than the padded input, ``helpers.arithmetic`` doesn't.
    """
    if ceil and any(a["dilation"] * (a["kernel"] - 1) + 1 > a["size"] + 2 * a["padding"] for a in (v, h)):
        return None
    pairs = {name: (v[name], h[name]) for name in v}
    stride, padding, dilation = pairs["stride"], pairs["padding"], pairs["dilation"]
    x = x[None, None].double()
    try:
        if kind == "convolution":
            out = F.conv2d(x, w[None, None].double(), None, stride, padding, dilation)
        elif kind == "transposed":
            out = F.conv_transpose2d(
                x, w[None, None].double(), None, stride, padding, pairs["outputPadding"], 1, dilation
            )
        elif kind == "max":
            out = F.max_pool2d(x, pairs["kernel"], stride, padding, dilation, ceil_mode=ceil)
        else:
            out = F.avg_pool2d(x, pairs["kernel"], stride, padding, ceil_mode=ceil)
    except RuntimeError:
        return None
    return out[0, 0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_a_layer_are_those_of_torch(page, kind):
    page.set_content(explorers.convolution().page)
    draw = random.Random(kind)
    torch.manual_seed(0)
    cases, wanted = [], []
    for _ in range(150):
        pools = kind in ("max", "average")
        v, h = (
            {
                "size": draw.randint(1, 9),
                "kernel": draw.randint(1, 4),
                "stride": draw.randint(1, 3),
                "padding": draw.randint(0, 2),
                "dilation": 1 if kind == "average" else draw.randint(1, 3),
                "outputPadding": draw.randint(0, 2) if kind == "transposed" else 0,
            }
            for _ in range(2)
        )
        x = torch.randint(-9, 10, (v["size"], h["size"]))
        w = torch.randint(-3, 4, (v["kernel"], h["kernel"]))
        ceil = pools and draw.random() < 0.5
        cases.append([kind, x.tolist(), w.tolist(), [v, h], ceil])
        wanted.append(torch_output(kind, x, w, v, h, ceil))
    given = page.evaluate(
        "cases => cases.map(c => { try { return rules.output(...c); } catch (e) { return null; } })", cases
    )
    assert 15 < sum(one is None for one in wanted) < 135  # both kinds of settings were tried
    for case, mine, theirs in zip(cases, given, wanted, strict=True):
        assert (mine is None) == (theirs is None), case
        assert mine is None or torch.allclose(*(torch.tensor(out, dtype=torch.double) for out in (mine, theirs))), case


def test_fields_of_stacks_are_those_of_the_library_and_of_gradients(page):
    page.set_content(explorers.receptive_field().page)
    draw, torch_generator = random.Random(1), torch.Generator().manual_seed(0)
    stacks = [
        [(draw.randint(1, 4), draw.randint(1, 3), draw.randint(0, 2), draw.randint(1, 3)) for _ in range(n % 4 + 1)]
        for n in range(80)
    ]
    names = ("kernel", "stride", "padding", "dilation")
    given = page.evaluate(
        """stacks => stacks.map(layers => {
            try {
                const made = chain(30, layers), unit = Math.floor(made.sizes.at(-1) / 2);
                const pixels = [...dependsOn(made.sizes, layers, unit)[0]].sort((a, b) => a - b);
                return [made.sizes, made.fields.at(-1), unit, pixels];
            } catch (error) { return error.message; } })""",
        [[dict(zip(names, layer, strict=True)) for layer in stack] for stack in stacks],
    )
    fitted = 0
    for stack, found in zip(stacks, given, strict=True):
        x = torch.zeros(1, 1, 30, requires_grad=True)
        y, sizes = x, [30]
        try:
            for kernel, stride, padding, dilation in stack:
                weight = 0.5 + torch.rand(1, 1, kernel, generator=torch_generator)  # positive: nothing cancels
                y = F.conv1d(y, weight, None, stride, padding, dilation)
                sizes.append(y.shape[-1])
        except RuntimeError:
            assert found.startswith(f"Layer {len(sizes)}: A window of"), found
            continue
        field, (given_sizes, given_field, unit, pixels) = arithmetic.receptive_field(stack), found
        assert given_sizes == sizes and given_field == {"size": field.size, "jump": field.jump, "start": field.start}
        gradient = torch.autograd.grad(y[0, 0, unit], x)[0][0, 0]
        assert pixels == gradient.nonzero().flatten().tolist(), stack
        fitted += 1
    assert fitted > 40


def test_kernel_playground_filters_as_torch_does(page):
    frame = shown(page, explorers.kernels(datasets.photograph("cat"), KERNELS))
    frame.wait_for_function("state.gray !== null")
    for name, kernel in KERNELS.items():
        frame.select_option("#classic", name)
        gray, out, width = frame.evaluate("[Array.from(state.gray), Array.from(state.out), state.width]")
        picture = torch.tensor(gray, dtype=torch.float).reshape(1, 1, -1, width)
        right = F.conv2d(picture, torch.tensor(kernel, dtype=torch.float)[None, None])
        assert torch.allclose(torch.tensor(out, dtype=torch.float), right.flatten(), atol=1e-2), name
    assert gray != [gray[0]] * len(gray)


# ---------------------------------------------------------------- the explorers, moved


def test_convolution_window_moves_by_keys_buttons_and_pointer(page):
    frame = shown(page, explorers.convolution())
    words = frame.locator("#sum")
    assert words.inner_text().startswith("output[0,0] = ")
    frame.locator("#input").press("ArrowRight")
    frame.locator("#input").press("ArrowDown")
    assert words.inner_text().startswith("output[1,1] = ")
    frame.click("#step")
    assert words.inner_text().startswith("output[1,2] = ")
    frame.click("#back")
    frame.click("#back")
    assert words.inner_text().startswith("output[1,0] = ")
    frame.locator("#output").press("End")
    box = frame.locator("#input").bounding_box()  # the middle of the 7×7 input: the middle window
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    assert words.inner_text().startswith("output[2,2] = ")
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.up()
    assert words.inner_text().startswith("output[0,0] = ")
    terms = frame.locator("#terms").inner_text().replace("−", "-").replace("·", "*").replace("\n", "").replace("\t", "")
    assert terms.count("*") == 9 and f" = {eval(terms)}," in words.inner_text().replace("−", "-")


def test_convolution_plays_and_pauses(page):
    frame = shown(page, explorers.convolution())
    frame.click("#play")
    frame.wait_for_function("document.getElementById('sum').textContent.startsWith('output[0,2]')")
    frame.click("#play")
    assert frame.get_attribute("#play", "aria-pressed") == "false"


def test_convolution_settings_change_the_formula_and_explain_what_is_wrong(page):
    frame = shown(page, explorers.convolution())
    drag(frame, "stride0", 3)
    assert "= ⌊4/3⌋ + 1 = 2. 4/3 isn't whole (1.33): rounded down" in frame.inner_text("#formula")
    assert frame.inner_text("#outName") == "Output 2×2" and frame.locator("#input .cross").count() == 13
    frame.click("#square")
    drag(frame, "padding1", 1)
    assert frame.inner_text("#outName") == "Output 2×3"
    drag(frame, "size0", 2)
    said = frame.inner_text("#wrong")
    with pytest.raises(ValueError) as error:
        arithmetic.output_size(2, 3, stride=3)
    assert said == str(error.value) and not frame.is_visible("#works")
    frame.select_option("#kind", "transposed")
    drag(frame, "outputPadding1", 3)
    assert "must be smaller than the stride" in frame.inner_text("#wrong")
    drag(frame, "outputPadding1", 1)
    assert frame.inner_text("#outName") == "Output 6×20"  # (2-1)·3+2+1, (7-1)·3-2+2+1+1
    drag(frame, "size0", 7)
    frame.select_option("#kind", "max")
    drag(frame, "kernel1", 1)
    assert "more than half the window" in frame.inner_text("#wrong")


def test_every_example_of_the_convolution_explorer_works_or_says_why(page):
    frame = shown(page, explorers.convolution())
    names = frame.locator("#example option").all_inner_texts()[1:]
    assert len(names) == 10
    for name in names:
        frame.select_option("#example", label=name)
        wrong = "doesn't fit" in name and "floor" not in name
        assert frame.is_visible("#works") != wrong, name
        assert bool(frame.inner_text("#wrong")) == wrong, name


def test_receptive_field_follows_the_unit_and_the_layers(page):
    frame = shown(page, explorers.receptive_field([(3, 2), (3,)]))
    assert "sees 7 pixels, 6 to 12." in frame.inner_text("#words")
    assert frame.locator(".seen").count() == 3 + 7 and frame.locator(".chosen").count() == 1
    frame.locator("#stack").press("ArrowRight")
    assert "Unit 4 of layer 2 sees 7 pixels, 8 to 14." in frame.inner_text("#words")
    frame.click("#add")
    assert f"sees {arithmetic.receptive_field([(3, 2), (3,), (3,)]).size} pixels" in frame.inner_text("#words")
    drag(frame, "size", 6)
    assert frame.inner_text("#wrong").startswith("Layer 2: A window of 3 pixels doesn't fit into 2")


def test_kernel_playground_takes_weights_and_explains_what_is_no_number(page):
    frame = shown(page, explorers.kernels(datasets.photograph("cat"), KERNELS, start="blur"))
    frame.wait_for_function("state.gray !== null")
    assert "Sum of the weights: 1." in frame.inner_text("#total")
    middle = frame.get_by_label("weight, row 1, column 1")
    middle.fill("two")
    assert "“two” in row 1, column 1 is no number" in frame.inner_text("#wrong")
    assert middle.get_attribute("aria-invalid") == "true"
    before = frame.inner_text("#words")
    middle.fill("-8/9")
    assert frame.inner_text("#wrong") == "" and "Sum of the weights: 0." in frame.inner_text("#total")
    after = frame.inner_text("#words")
    assert after != before
    frame.locator("#before").press("ArrowRight")
    assert frame.inner_text("#words") != after


# ---------------------------------------------------------------- augmentations


def drawn(frame, selector: str) -> torch.Tensor:
    """The pixels of a canvas, (3, H, W), uint8."""
    png = frame.evaluate("selector => document.querySelector(selector).toDataURL()", selector).split(",")[1]
    return pil_to_tensor(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


def draws(frame, size: int) -> torch.Tensor:
    """The eight tiles that are shown, (8, 3, size, size), as float."""
    rows = drawn(frame, "#draws").float().unfold(1, size, size + 4).unfold(2, size, size + 4)
    return rows.permute(1, 2, 0, 3, 4).flatten(0, 1)


@pytest.fixture(scope="module")
def augmentations():
    return made("augmentations")


def test_draws_are_what_torch_makes_of_the_picture(page, augmentations):
    frame = shown(page, augmentations)
    frame.wait_for_function("state.pair.length === 2")
    cat = pil_to_tensor(datasets.photograph("cat").resize((144, 144)))[None].float()
    cat = F.interpolate(cat, (72, 72), mode="bilinear", antialias=True).round()
    expected = {"upside down": cat.flip(2), "mirror": cat.flip(3), "blur": v2.functional.gaussian_blur(cat, 31, 5.0)}
    noise = torch.randn((8, 3, 72, 72), generator=torch.Generator().manual_seed(strengths.SEED))
    expected["noise"] = (cat + 40 * noise).clamp(0, 255)
    for name, right in expected.items():
        frame.select_option("#change", label=name)
        drag(frame, "strength", 3 if name == "noise" else 5)
        off = (draws(frame, 72) - right).abs().mean((1, 2, 3))
        assert (off < 5).all(), (name, off)  # what JPEG costs
        assert (draws(frame, 72) - cat).abs().mean() > 2 * off.max(), name
    frame.select_option("#change", label="random erasing")
    drag(frame, "strength", 4)
    erased = (draws(frame, 72).amax(1) < 25).float().mean((1, 2))
    assert ((erased - 0.35).abs() < 0.06).all(), erased
    drag(frame, "strength", 0)
    assert ((draws(frame, 72) - cat).abs().mean((1, 2, 3)) < 5).all()


def test_every_augmentation_answers_its_slider_and_says_what_it_is(page, augmentations):
    frame = shown(page, augmentations)
    frame.wait_for_function("state.pair.length === 2")
    for one in augmentations.data["ladders"]:
        frame.select_option("#change", label=one["name"])
        last = int(frame.get_attribute("input[name=strength]", "max"))
        assert last == len(one["levels"])
        seen = []
        for level, (say, code) in enumerate([("off", "no change"), *one["levels"]]):
            drag(frame, "strength", level)
            assert say in frame.inner_text("#words") and frame.inner_text("#code") == code
            assert say in frame.get_attribute("#draws", "aria-label")
            seen.append(draws(frame, 72))
        assert all((a - b).abs().max() > 8 for a, b in itertools.pairwise(seen)), one["name"]
    frame.locator("input[name=strength]").press("ArrowLeft")
    assert frame.inner_text("#code") == "no change"
    frame.select_option("#picture", "digit 6")
    assert frame.inner_text("#words").startswith("digit 6,") and (draws(frame, 72) - seen[0]).abs().mean() > 20


def test_mixup_is_the_blend_that_its_label_says(page, augmentations):
    frame = shown(page, augmentations)
    frame.wait_for_function("state.pair.length === 2")
    cat, coffee = (drawn(frame, selector).double() for selector in ("#first", "#second"))
    for percent in (0, 30, 50, 100):
        drag(frame, "share", percent)
        right = (percent * cat + (100 - percent) * coffee) / 100
        assert (drawn(frame, "#mixed").double() - right).abs().max() <= 0.5 + 1e-9
        label = frame.inner_text("#label")
        assert f"Label: cat {percent / 100:.2f}, coffee {1 - percent / 100:.2f}." in label
    real = pil_to_tensor(datasets.photograph("coffee").resize((144, 144))).double()
    assert (coffee - real).abs().mean() < 4


def test_cutmix_pastes_as_torchvision_and_labels_by_area(page, augmentations):
    frame = shown(page, augmentations)
    frame.wait_for_function("state.pair.length === 2")
    frame.select_option("#how", "CutMix")
    pair = torch.stack([drawn(frame, "#first"), drawn(frame, "#second")])
    transform = v2.CutMix(num_classes=2)

    def compared(share: float, column: int, row: int) -> None:
        """With what torchvision gives when it draws this share and this centre."""
        transform._dist.sample = lambda shape: share
        draw = iter([torch.tensor([column]), torch.tensor([row])])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randint", lambda *args, **kwargs: next(draw))
            images, labels = transform(pair, torch.tensor([0, 1]))
        assert torch.equal(drawn(frame, "#mixed"), images[0])
        assert f"Label: cat {labels[0, 0]:.2f}, coffee {labels[0, 1]:.2f}." in frame.inner_text("#label")

    drag(frame, "share", 51)
    compared(0.51, 72, 72)
    for _ in range(6):
        frame.locator("#mixed").press("ArrowRight")
    frame.locator("#mixed").press("ArrowUp")
    compared(0.51, 72 + 54, 72 - 9)
    assert "the rest of it lies outside" in frame.inner_text("#label")
    box = frame.locator("#mixed").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "outside" not in frame.inner_text("#label")


# ---------------------------------------------------------------- the map of codes


@pytest.fixture(scope="module")
def few_digits():
    """120 digits of ten classes, stand-ins for codes, and three maps."""
    digits = datasets.load("digits")
    few = digits.subset(datasets.few_shot(digits.labels, 12, seed=0))
    codes = few.images[:, :, ::2, ::2].flatten(1).float()
    axes = torch.linalg.svd(codes - codes.mean(0), full_matrices=False).Vh
    maps = {"first": codes @ axes[:2].T, "middle": codes @ axes[1:3].T, "last": codes @ axes[2:4].T}
    return few, codes, maps


def near(points: torch.Tensor, k: int) -> torch.Tensor:
    """How far the k nearest others are, by scikit-learn: (N, k), nearest first."""
    distances, _ = NearestNeighbors(n_neighbors=k).fit(points.numpy()).kneighbors()
    return torch.from_numpy(distances)


def test_map_shows_the_neighbours_that_scikit_learn_finds(page, few_digits):
    few, codes, maps = few_digits
    frame = shown(page, explorers.code_map(few, codes, maps, k=5, size=28))
    script = """() => DATA.labels.map((_, i) => { choose(i);
        return ["codes", "here"].map(id => [...$(id).children].map(b => Number(b.dataset.point))); })"""
    for number, (name, places) in enumerate(maps.items()):
        drag(frame, "which", number)
        assert frame.inner_text("#name") == name
        found = torch.tensor(frame.evaluate(script))  # (N, 2, k)
        for row, points in enumerate((codes, places)):
            right = near(points, 5)
            shown_far = (points[found[:, row]] - points[:, None]).norm(dim=2)
            assert torch.allclose(shown_far.double(), right.double(), rtol=1e-3, atol=1e-2)  # ties may change places
        shared = sum(len(set(a) & set(b)) for a, b in found.tolist()) / (5 * len(few))
        assert abs(shared - embedding.preservation(codes, places, 5)) < 1e-6
        assert f"this map keeps {100 * shared:.1f} %" in frame.inner_text("#kept")
        assert f"In both rows: {len(set(found[-1, 0].tolist()) & set(found[-1, 1].tolist()))} of 5" in frame.inner_text(
            "#words"
        )


def test_map_moves_by_keys_pointer_slider_and_neighbours(page, few_digits):
    few, codes, maps = few_digits
    frame = shown(page, explorers.code_map(few, codes, maps, k=5, size=28))
    words, middle = frame.locator("#words"), maps["middle"]

    def chosen() -> int:
        said = int(words.inner_text().split(":")[0].removeprefix("Image "))
        assert f": {few.classes[few.labels[said]]}, " in words.inner_text() and few.files[said] in words.inner_text()
        return said

    start = chosen()
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, 1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, -1)):
        before = chosen()
        frame.locator("#map").press(key)
        assert before == chosen() or sign * (middle[chosen()] - middle[before])[axis] > 0
    drag(frame, "point", 77)
    assert chosen() == 77 != start
    button = frame.locator("#codes button").nth(2)
    wanted = int(button.get_attribute("data-point"))
    assert few.classes[few.labels[wanted]] in button.get_attribute("aria-label")
    button.press("Enter")
    assert chosen() == wanted
    places = torch.tensor(frame.evaluate("DATA.labels.map((_, i) => spot(i))"))
    alone = int((torch.cdist(places, places).fill_diagonal_(1e9)).amin(1).argmax())
    box = frame.locator("#map").bounding_box()
    spot = [box[corner] + float(v) * box["width"] / 1040 for corner, v in zip("xy", places[alone], strict=True)]
    page.mouse.move(*spot)
    assert frame.is_visible("#hover") and frame.inner_text("#hover").strip() == few.classes[few.labels[alone]]
    page.mouse.click(*spot)
    assert chosen() == alone
    page.mouse.move(0, 0)
    assert not frame.is_visible("#hover")
    drag(frame, "zoom", 3)
    closer = torch.tensor(frame.evaluate("DATA.labels.map((_, i) => spot(i))"))
    assert torch.allclose(torch.pdist(closer), 3 * torch.pdist(places), rtol=1e-3)
    assert closer[alone].min() >= 30 and closer[alone].max() <= 1010, "the chosen point stays in sight"
    picture = Image.open(io.BytesIO(frame.locator("#picture").screenshot())).convert("L").resize((28, 28))
    pair = torch.stack([pil_to_tensor(picture).flatten().float(), few.images[alone].flatten().float()])
    assert torch.corrcoef(pair)[0, 1] > 0.95, "the thumbnail is the image's"


def test_map_filter_colours_six_classes_and_hides_the_others(page, few_digits):
    few, codes, maps = few_digits
    frame = shown(page, explorers.code_map(few, codes, maps, k=5, size=28))
    boxes = frame.locator("#classes input")
    assert [boxes.nth(n).is_checked() for n in range(10)] == [n < 4 for n in range(10)]
    before = drawn(frame, "#map")
    boxes.nth(7).check()
    boxes.nth(8).check()
    assert not torch.equal(before, drawn(frame, "#map")) and "Six are the most" in frame.inner_text("#most")
    assert boxes.nth(9).is_disabled() and not boxes.nth(8).is_disabled()
    shapes = frame.evaluate(
        "[...document.querySelectorAll('#classes path')].map(p => p.getAttribute('d') + p.getAttribute('fill'))"
    )
    assert len(set(shapes)) == 7, "six marks and the gray one"
    for n in (0, 1, 2, 3, 8):
        boxes.nth(n).uncheck()
    assert frame.inner_text("#most") == ""
    frame.check("#hide")
    assert frame.evaluate("DATA.labels.filter((_, i) => seen(i)).length") == 13  # twelve sevens, and the chosen one
    frame.locator("#map").press("ArrowDown")
    frame.locator("#map").press("ArrowUp")
    assert frame.inner_text("#words").split(": ")[1].startswith("7,")


def test_explorers_say_what_is_wrong_with_their_arguments(few_digits):
    few, codes, maps = few_digits
    with pytest.raises(ValueError, match="last: 9 rows, but there are 120 images"):
        explorers.code_map(few, codes, maps | {"last": codes[:9, :2]})
    with pytest.raises(ValueError, match="1 pictures are given to be mixed: give two"):
        explorers.augmentations({}, {"cat": codes}, [])


# ---------------------------------------------------------------- the filter browser


@pytest.fixture
def browser_of_filters(page):
    frame = shown(page, made("filters"))
    frame.wait_for_function("state.map !== undefined")
    return frame


def chosen(frame, **options: str) -> None:
    """Choose network, stage or photograph by its name."""
    for name, option in options.items():
        frame.select_option(f"#{name}", option)


def test_filter_browser_shows_the_maps_of_the_network(browser_of_filters):
    photographs = datasets.load("photographs", channels=3)
    lite0 = backbones.load("efficientnet_lite0")
    table = arithmetic.layer_table(lite0, (1, 3, 224, 224))
    for photograph, (layer, stage) in itertools.product(("cat", "china"), stills.LAYERS.items()):
        chosen(browser_of_filters, stage=stage, photograph=photograph)
        pixels = photographs.images[photographs.files.index(photograph)][None]
        with torch.inference_mode():
            maps = lite0.look(pixels, [layer])[layer][0]
        fields = table.fields[f"net.{lite0.module(layer)}"]
        for k, channel in ((0, 134), (1, 54), (5, 3)) if len(maps) > 134 else ((0, 0), (7, 7), (15, 15)):
            browser_of_filters.evaluate(f"document.querySelectorAll('#channels input')[{k}].click()")
            row, column, top, shown_map, box = browser_of_filters.evaluate(
                f"""[...state.at, stage().largest[$("photograph").selectedIndex][{k}], Array.from(state.map),
                     [0, 1].map(axis => seen(stage().fields[axis], state.at[axis]))]"""
            )
            right, words = maps[channel], browser_of_filters.inner_text("#words")
            assert browser_of_filters.inner_text("#name").startswith(f"Channel {channel}: ")
            assert top == pytest.approx(right.max().item(), rel=1e-3)
            drawn = torch.tensor(shown_map).view(right.shape) / 63 * top
            assert (drawn - right).abs().max() <= top / 120, (stage, channel)
            assert (box[0][0], box[1][0], box[0][1], box[1][1]) == visualise.unit_box(fields, row, column)
            assert top == 0 or f"{int(100 * (right <= 0).double().mean())} % of the map is silent" in words


def test_filter_browser_shows_the_strongest_patches(browser_of_filters):
    photographs = datasets.load("photographs", channels=3)
    found = visualise.strongest(backbones.load("efficientnet_lite0"), photographs, ["blocks.2.1.bn2"])
    patches = found["blocks.2.1.bn2"].patches(54)
    browser_of_filters.get_by_label("channel 54").check(force=True)
    values = [float(text) for text in browser_of_filters.locator("#patches li").all_inner_texts()]
    assert values == [pytest.approx(patch.value, rel=0.06) for patch in patches]  # two digits are shown
    drawn = browser_of_filters.evaluate(
        "[...document.querySelectorAll('#patches canvas')].map(one => one.getContext('2d'))"
        ".map(pen => Array.from(pen.getImageData(0, 0, 48, 48).data))"
    )
    for patch, pixels in zip(patches, drawn, strict=True):
        small = F.interpolate(patch.pixels[None].float(), (48, 48), mode="bicubic", antialias=True)[0]
        shown_patch = torch.tensor(pixels).view(48, 48, 4)[:, :, :3].permute(2, 0, 1).float()
        assert (shown_patch - small).abs().mean() < 10, "the same pixels, but for the compression"


def test_filter_browser_is_moved_by_keys_and_pointer_and_answers_at_once(page, browser_of_filters):
    frame = browser_of_filters
    words, at = frame.locator("#words"), lambda: tuple(frame.evaluate("state.at"))
    frame.locator("#map").press("ArrowDown")
    row, column = at()
    frame.locator("#map").press("ArrowLeft")
    assert at() == (row, column - 1) and f"row {row}, column {column - 1} answers" in words.inner_text()
    for name in ("#before", "#map"):  # the middle of the 28×28 map
        box = frame.locator(name).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2 + 2)
        assert at() in {(14, 14), (13, 13)}, name
    before = frame.inner_text("#name")
    frame.get_by_label("channel 134").focus()
    page.keyboard.press("ArrowRight")
    assert frame.inner_text("#name") != before and frame.locator("#channels :checked").get_attribute("value") == "1"
    said = words.inner_text()
    chosen(frame, network="Lite0, untrained")
    assert words.inner_text() != said
    chosen(frame, stage="last")
    assert "7×7 units" in frame.inner_text("#name") and "padding beyond the border" in words.inner_text()


# ---------------------------------------------------------------- what all explorers keep to

EXPLORERS = list(stills.EXPLORERS)


@cache
def made(name: str) -> explorers.Explorer:
    return stills.EXPLORERS[name]()


@pytest.mark.parametrize("name", EXPLORERS)
def test_frame_fits_its_page_hides_the_still_and_takes_the_dark_ground(page, name):
    for colour, dark in (("white", False), ("#111", True)):
        page.set_content(f"<body style='background:{colour}'>{made(name)._repr_html_()}</body>")
        frame = page.frame_locator("iframe").owner.element_handle().content_frame()
        frame.wait_for_function("Math.abs(frameElement.clientHeight - document.body.offsetHeight) < 8")
        assert frame.evaluate("document.documentElement.className") == ("dark" if dark else "")
        assert not page.is_visible("img") and frame.evaluate("document.body.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", EXPLORERS)
def test_phone_width_needs_no_sideways_scrolling(page, name):
    page.set_viewport_size({"width": 360, "height": 700})
    frame = shown(page, made(name))
    assert frame.evaluate("document.body.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("name", EXPLORERS)
def test_everything_that_takes_the_keyboard_has_a_name(page, name):
    frame = shown(page, made(name))
    nameless = frame.evaluate(
        """[...document.querySelectorAll("input, select, button, [tabindex]")].filter(node =>
            !(node.getAttribute("aria-label") || node.closest("label") || node.closest("button")?.textContent.trim())
        ).length"""
    )
    assert nameless == 0


@pytest.mark.parametrize("name", EXPLORERS)
def test_still_picture_is_there_without_scripts(chromium, name):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(made(name)._repr_html_())
    assert page.is_visible("img") and not page.is_visible("iframe")
    assert page.get_attribute("img", "alt") == made(name).alt
    assert page.locator("img").bounding_box()["width"] > 300
    context.close()


# ---------------------------------------------------------------- the site


@pytest.mark.parametrize("width", [1200, 360])
def test_site_pages_open_from_a_file(page, tmp_path, width):
    notebook = lesson.solved(lesson.LESSONS / "01_convolution_arithmetic.py")
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("explorers.convolution"):
            data = {"text/html": explorers.convolution()._repr_html_(), "text/plain": "Explorer"}
            cell.outputs = [{"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": 1}]
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / "01_convolution_arithmetic.ipynb").write_text(json.dumps(notebook))
    index = site.write(tmp_path)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(index.as_uri())
    page.get_by_label("Search").fill("full rule dilation")
    page.click("text=The size of the output")
    page.wait_for_url("**/01_convolution_arithmetic.html#*")  # loaded whole, too
    assert page.evaluate("document.getElementById(decodeURIComponent(location.hash.slice(1))) !== null")
    sizes = page.evaluate(
        "[...document.querySelectorAll('math mfrac')].map(node => node.getBoundingClientRect().height)"
    )
    assert sizes and min(sizes) > 20, "a fraction is two lines high"
    assert page.locator("math").count() == page.locator("math > mrow").count() > 10
    page.wait_for_function("document.querySelector('iframe').clientHeight > 100")
    frame = page.frame_locator("iframe")
    frame.locator("#step").click()
    assert frame.locator("#sum").inner_text().startswith("output[0,1] = ")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


# ---------------------------------------------------------------- JupyterLab


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab(lab_folder) -> Iterator[str]:
    """A JupyterLab on a copy of the notebooks, with settings of its own: its address, up to the file's name."""
    root = lab_folder
    (root / "notebooks").mkdir()
    (root / "helpers").symlink_to(lesson.ROOT / "helpers")
    for source in LESSONS:
        path = lesson.NOTEBOOKS / f"{source.stem}.ipynb"
        (root / "notebooks" / path.name).write_bytes(path.read_bytes())
    cells = ["import sys; sys.path.insert(0, '..')", "from helpers import backbones, predictor"]
    cells.append("looking = predictor.Predictor(backbones.load()); looking")
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, root / "notebooks" / "predictor.ipynb")
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    folders += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment = os.environ | {name: str(root / name.lower()) for name in folders}
    settings_folder = root / "jupyter_config_dir" / "labconfig"
    settings_folder.mkdir(parents=True)
    overrides = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
        "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    }
    (settings_folder / "default_setting_overrides.json").write_text(json.dumps(overrides))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
    command += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    command += ["--ServerApp.terminals_enabled=False", "--ServerApp.log_level=ERROR"]
    with open(root / "log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api?token={token}"):
                break
            assert server.poll() is None, (root / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield f"{address}/lab/tree/notebooks/{{}}.ipynb?token={token}"
    finally:
        server.send_signal(signal.SIGINT)  # two: "really", without a question
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


_CELLS = "jupyterapp.shell.currentWidget.content.widgets"


def opened(page, lab: str, name: str) -> None:
    """Open a notebook and wait for its kernel (JupyterLab may first restore the notebook that was open before)."""
    page.goto(lab.format(name))
    page.wait_for_function(
        """name => { const widget = globalThis.jupyterapp?.shell.currentWidget;
            return widget?.context?.path?.endsWith(name) &&
                widget.sessionContext.session?.kernel?.status === 'idle'; }""",
        arg=f"{name}.ipynb",
        timeout=120_000,
    )


def errors(page) -> list[str]:
    """The error outputs of the notebook's cells."""
    return page.evaluate(
        f"{_CELLS}.flatMap(c => c.model.outputs ? c.model.outputs.toJSON() : [])"
        ".filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)"
    )


def answer(page, name: str, code: str) -> str:
    """Put an answer into an exercise's cell, run it and its check, and return what the check shows."""
    return page.evaluate(
        """async ([name, code]) => {
            const app = jupyterapp, notebook = app.shell.currentWidget.content, cells = notebook.widgets;
            const at = cells.findIndex(c => (c.model.getMetadata('nbgrader') || {}).grade_id === name);
            cells[at].model.sharedModel.setSource(code);
            notebook.activeCellIndex = at;
            await app.commands.execute('notebook:run-cell');
            const check = cells.findIndex(c => (c.model.getMetadata('nbgrader') || {}).grade_id === name + '_check');
            notebook.activeCellIndex = check;
            await app.commands.execute('notebook:run-cell');
            const area = cells[check].outputArea, rendered = () => area.model.length &&
                [...area.widgets].filter(one => one.node.innerText.trim()).length >= area.model.length;
            for (let waited = 0; !rendered() && waited < 300; waited++) await new Promise(done => setTimeout(done, 50));
            return area.node.innerText;
        }""",
        [name, code],
    )


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_jupyterlab_runs_all_cells(page, lab, source):
    opened(page, lab, source.stem)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    assert errors(page) == []
    counts = page.evaluate(f"{_CELLS}.filter(c => c.model.type === 'code').map(c => c.model.executionCount)")
    assert len(counts) > 20 and all(counts)
    for name, (handle, said) in MOVED.get(source.stem[:2], {}).items():
        frame = page.frame_locator(f"iframe[data-explorer={name}]")
        words = frame.locator(said)
        expect(words).not_to_be_empty()
        before = words.inner_text()
        frame.locator(handle).press("ArrowRight")
        expect(words, f"{name} doesn't react to a key").not_to_have_text(before, use_inner_text=True)
        expect(page.locator(f"iframe[data-explorer={name}] ~ img")).to_be_hidden()
    expect(page.locator("body")).to_contain_text("not attempted yet")
    given = answers.read(lesson.ROOT / "tests" / "answers" / source.name)
    for name in dict.fromkeys(each.name for each in given):  # in the notebook's order
        wrong = [answer(page, name, each.code) for each in given if each.name == name and not each.right]
        assert any("✗" in said and not FULL.search(said) for said in wrong), (name, wrong)
        right = next(each.code for each in given if each.name == name and each.right)
        said = answer(page, name, right)
        assert FULL.search(said) and "✗" not in said, (name, said)
    assert errors(page) == []


def test_a_reopened_notebook_has_its_explorers_or_their_stills(page, lab, lab_folder):
    """Live where Jupyter trusts the file, because it was run here; a picture where it came from somebody else."""
    cells = ["import sys; sys.path.insert(0, '..')", "from helpers import explorers", "explorers.convolution()"]
    file = lab_folder / "notebooks" / "explorer.ipynb"
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, file)
    opened(page, lab, file.stem)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    opened(page, lab, file.stem)
    expect(page.frame_locator("iframe[data-explorer]").locator("button").first).to_be_visible()
    expect(page.locator("iframe[data-explorer] ~ img")).to_be_hidden()
    notebook = nbformat.read(file, 4)
    notebook.cells[0].source += "  # changed elsewhere"
    nbformat.write(notebook, file.with_stem("foreign"))
    opened(page, lab, "foreign")
    shown = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")  # the other notebook is a tab behind it
    still = shown.locator(".jp-OutputArea img")
    expect(still).to_be_visible()
    assert still.get_attribute("alt") == explorers.convolution().alt
    expect(shown.locator("iframe[data-explorer]")).to_have_count(0)


def test_prediction_explorer_in_jupyterlab(page, lab, tmp_path):
    opened(page, lab, "predictor")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    assert errors(page) == []
    live, said = page.locator(".course-live"), page.locator(".course-answer")
    network = backbones.load("efficientnet_lite0")
    right = backbones.predict(network, datasets.photograph("cat"))
    expect(live.locator(".widget-radio-box label")).to_have_text([f"{name} · {p:.1%}" for name, p in right])
    expect(page.locator("[class$=-still]"), "the still makes room for what is live").to_be_hidden()
    bars = live.locator(".widget-radio-box label").evaluate_all(
        "all => all.map(one => parseFloat(getComputedStyle(one).backgroundSize))"
    )
    assert bars == [pytest.approx(100 * p, abs=0.06) for _, p in right]

    live.get_by_label(right[0][0]).focus()  # arrow keys stay in the explorer
    page.keyboard.press("ArrowDown")
    expect(said).to_contain_text(f"“{right[1][0]}”: the mean of the map")
    assert page.evaluate("document.activeElement.type") == "radio"
    expect(said.locator(".widget-html-content")).to_have_attribute("aria-live", "polite")
    live.get_by_label("Photograph").select_option("camera")
    expect(said).to_contain_text("“tripod”: the mean of the map")
    live.get_by_text("microphone").click()
    expect(said).to_contain_text("“microphone”: the mean of the map")

    def upload(file) -> None:
        with page.expect_file_chooser() as chooser:
            live.get_by_role("button", name="Upload your own").click()
        chooser.value.set_files(file)

    datasets.photograph("coffee").convert("RGBA").save(tmp_path / "cup.png")
    (tmp_path / "notes.txt").write_text("no image")
    upload(tmp_path / "cup.png")
    expect(said).to_contain_text("“espresso”: the mean of the map")
    upload(tmp_path / "notes.txt")
    expect(live.get_by_role("alert")).to_contain_text("“notes.txt” can't be read as an image (no image)")
    live.get_by_label("or its path").fill(str(tmp_path / "cup.png"))
    live.get_by_label("or its path").press("Enter")
    expect(live.get_by_role("alert")).to_have_count(0)
    nameless = live.evaluate(
        """box => [...box.querySelectorAll("input, select, button")].filter(one => one.offsetParent &&
            !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim() || one.title)).length"""
    )
    assert nameless == 0


def test_a_mark_typed_in_the_formgrader_is_in_the_gradebook(chromium, lesson_file, tmp_path):
    course, folder = Lesson(lesson_file(exercises=1)), tmp_path / "grading"
    work = tasks.prepare(course, course.released)
    work.untouched.remove("why")  # as if something stood there
    check = {"score": 0.0, "output": "", "error": ""}
    with Marks(folder, course) as marks:
        marks.save(Submission("ann", "Ann", "", "", b""), work, {"checks": {"add_1": check}, "cells": {}})
    settings_folder = tmp_path / "settings"
    settings_folder.mkdir()
    (settings_folder / "jupyter_server_config.py").write_text("c.ServerApp.allow_root = True")
    (tmp_path / "browser").write_text(
        f"#!/bin/sh\necho $1 > {tmp_path}/opened.part; mv {tmp_path}/opened.part {tmp_path}/opened"
    )
    (tmp_path / "browser").chmod(0o755)
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(settings_folder), "BROWSER": f"{tmp_path}/browser %s"}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = re.search(r"(--LabApp.default_url=\S+)", (lesson.ROOT / "Makefile").read_text())[1]
    with open(tmp_path / "log", "w") as log:
        command = [sys.executable, "-m", "jupyterlab", line, "--ip=127.0.0.1"]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(1500):  # five minutes, for a busy machine
            if (tmp_path / "opened").exists():
                break
            assert server.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.2)
        else:
            pytest.fail(f"JupyterLab opened no browser. {(tmp_path / 'log').read_text()[-2000:]}")
        page = chromium.new_page()
        page.goto((tmp_path / "opened").read_text().strip())
        for link in ("text=01_try", "td >> text=01_try", "text=Submission #1"):
            with page.expect_navigation():  # the next page may have a link of the same name
                page.click(link)
        # What is typed before the page has fetched the marks is lost: nbgrader fills its fields then.
        page.wait_for_function("window.formgrader?.grades?.loaded && formgrader.comments.loaded")
        for place, text in (("#why", "1.5"), ("#why-comment", "Short, but right.")):
            page.locator(place).fill(text)
            with page.expect_response(lambda answer: answer.request.method == "PUT"):
                page.locator(place).press("Tab")
        page.close()
    finally:
        server.kill()
        server.wait()
    with Marks(folder, course) as marks:
        assert marks.read("ann")["why"] == {"score": 1.5, "comment": "Short, but right.", "changed": True}


def test_prediction_explorer_has_a_still_without_python_or_scripts(chromium, monkeypatch):
    shown_data = []
    monkeypatch.setattr(predictor, "display", lambda data, **options: shown_data.append(getattr(data, "data", "")))
    predictor.Predictor(backbones.load("efficientnet_lite0"))._ipython_display_()
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 360, "height": 700})
    still = context.new_page()
    still.set_content(f"<body>{shown_data[0]}</body>")
    assert still.locator("img").count() == 2 and still.locator("img").last.is_visible()
    assert all(
        still.locator("img").evaluate_all("all => all.map(one => one.naturalWidth === 224 && one.alt.length > 9)")
    )
    assert "Egyptian cat" in still.inner_text("table")
    assert still.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    context.close()
