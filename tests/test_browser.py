"""Explorers and notebooks in a real browser: they react, they agree with the library, they ask nothing of the network.

Skipped where there is no Chromium (``COURSE_CHROMIUM`` names one). ``COURSE_BROWSER=all`` opens every lesson in
JupyterLab, not only the first: minutes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import torch
from torch.nn import functional as F

from helpers import arithmetic, datasets, explorers
from tools import lesson, site, stills

CHROMIUM = stills.chromium()
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: install one, or name it in COURSE_CHROMIUM")

LESSONS = [path for path in lesson.sources() if os.environ.get("COURSE_BROWSER") == "all" or path.stem[:2] == "01"]
KINDS = ("convolution", "transposed", "max", "average")
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
    page.set_default_timeout(30_000)
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
    names = {"outputPadding": "output_padding"}
    wanted = [arithmetic.transposed_size(**{names.get(name, name): v for name, v in case.items()}) for case in cases]
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
    frame = shown(page, explorers.kernels(datasets.photograph("cat"), KERNELS, width=90))
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
    size = [arithmetic.transposed_size(2, 3, stride=3), arithmetic.transposed_size(7, 3, stride=3, padding=1) + 1]
    assert frame.inner_text("#outName") == "Output {}×{}".format(*size)
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
    frame = shown(page, explorers.receptive_field([(3, 2), (3,)], size=15))
    assert "sees 7 pixels, 4 to 10." in frame.inner_text("#words")
    assert frame.locator(".seen").count() == 3 + 7 and frame.locator(".chosen").count() == 1
    frame.locator("#stack").press("ArrowRight")
    assert "Unit 3 of layer 2 sees 7 pixels, 6 to 12." in frame.inner_text("#words")
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


EXPLORERS = {one.name: one for one in stills.all_explorers()}


@pytest.mark.parametrize("name", EXPLORERS)
def test_frame_fits_its_page_hides_the_still_and_takes_the_dark_ground(page, name):
    for colour, dark in (("white", False), ("#111", True)):
        page.set_content(f"<body style='background:{colour}'>{EXPLORERS[name]._repr_html_()}</body>")
        frame = page.frame_locator("iframe").owner.element_handle().content_frame()
        frame.wait_for_function("Math.abs(frameElement.clientHeight - document.body.offsetHeight) < 8")
        assert frame.evaluate("document.documentElement.className") == ("dark" if dark else "")
        assert not page.is_visible("img") and frame.evaluate("document.body.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", EXPLORERS)
def test_phone_width_needs_no_sideways_scrolling(page, name):
    page.set_viewport_size({"width": 360, "height": 700})
    frame = shown(page, EXPLORERS[name])
    assert frame.evaluate("document.body.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("name", EXPLORERS)
def test_everything_that_takes_the_keyboard_has_a_name(page, name):
    frame = shown(page, EXPLORERS[name])
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
    page.set_content(EXPLORERS[name]._repr_html_())
    assert page.is_visible("img") and not page.is_visible("iframe")
    assert page.get_attribute("img", "alt") == EXPLORERS[name].alt
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
def lab(tmp_path_factory) -> Iterator[str]:
    """A JupyterLab on a copy of the notebooks, with settings of its own: its address, up to the file's name."""
    root = tmp_path_factory.mktemp("lab")
    (root / "notebooks").mkdir()
    (root / "helpers").symlink_to(lesson.ROOT / "helpers")
    for source in LESSONS:
        path = lesson.NOTEBOOKS / f"{source.stem}.ipynb"
        (root / "notebooks" / path.name).write_bytes(path.read_bytes())
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
    """Open a notebook and wait for its kernel."""
    page.goto(lab.format(name))
    page.wait_for_function(
        "globalThis.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=60_000
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
        f"""async ([name, code]) => {{
            const app = jupyterapp, notebook = app.shell.currentWidget.content, cells = notebook.widgets;
            const at = cells.findIndex(c => (c.model.getMetadata('nbgrader') || {{}}).grade_id === name);
            cells[at].model.sharedModel.setSource(code);
            notebook.activeCellIndex = at;
            await app.commands.execute('notebook:run-cell');
            notebook.activeCellIndex = at + 1;
            await app.commands.execute('notebook:run-cell');
            await new Promise(done => setTimeout(done, 100));
            return {_CELLS}[at + 1].outputArea.node.innerText;
        }}""",
        [name, code],
    )


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_jupyterlab_runs_all_cells(page, lab, source):
    opened(page, lab, source.stem)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    assert errors(page) == []
    counts = page.evaluate(f"{_CELLS}.filter(c => c.model.type === 'code').map(c => c.model.executionCount)")
    assert len(counts) > 20 and all(counts)
    if source.stem[:2] != "01":
        return
    assert "not attempted yet" in page.inner_text("body")
    wrong = answer(page, "output_size", "def output_size(n, kernel, stride=1, padding=0, dilation=1):\n    return n")
    right = answer(
        page,
        "output_size",
        "def output_size(n, kernel, stride=1, padding=0, dilation=1):\n"
        "    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1",
    )
    assert "output_size(7, 3): expected 5, but got 7" in wrong and "of 2 points" in wrong
    assert "output_size(7, 3) is 5" in right and "✗" not in right and "2 of 2 points" in right
    for name in EXPLORERS:
        frame = page.frame_locator(f"iframe[data-explorer={name}]")
        words = frame.locator({"convolution": "#sum"}.get(name, "#words"))
        before = words.inner_text()
        frame.locator({"convolution": "#input", "field": "#stack", "kernels": "#before"}[name]).press("ArrowRight")
        assert words.inner_text() != before, f"{name} doesn't react to a key"
        assert not page.locator(f"iframe[data-explorer={name}] ~ img").is_visible()
