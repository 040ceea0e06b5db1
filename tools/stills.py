"""Takes the still pictures of the explorers: ``python -m tools.stills [names]`` (needs Chromium; see CONTRIBUTING.md).

They stand in where scripts don't run, and are committed beside the pages in ``helpers/pages``.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from torchvision.transforms.functional import pil_to_tensor

from helpers import backbones, datasets, embedding, explorers, strengths, visualise
from helpers.augmentation import PCALighting

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # whoever asks for another machine gets an error
)
LAYERS = {"stem": "stem", "blocks.1.1.bn2": "block 2", "blocks.2.1.bn2": "block 3", "bn2": "last"}
SOBEL = {"vertical edges": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]}


def chromium() -> str | None:
    """Where a Chromium is: in ``COURSE_CHROMIUM``, on the path, or Playwright's own; None when there is none."""
    if named := os.environ.get("COURSE_CHROMIUM"):
        return named
    if found := next(filter(None, map(shutil.which, _NAMES)), None):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def browser(path: str | None = None) -> Iterator[Browser]:
    """A Chromium without a window that reaches no machine but this one."""
    path = path or chromium()  # before the next line: it may ask Playwright, too
    if path is None:
        raise FileNotFoundError("No Chromium: `playwright install chromium`, or name one in COURSE_CHROMIUM.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))
        yield started
        started.close()


def augmentations() -> explorers.Explorer:
    cat, coffee = (pil_to_tensor(datasets.photograph(name).resize((144, 144))) for name in ("cat", "coffee"))
    digits = datasets.load("digits")
    pictures = {"cat": cat, "digit 6": digits.images[digits.labels == 6][5]}
    ladders = strengths.ladders(PCALighting.of(torch.stack([cat, coffee])))
    return explorers.augmentations(pictures, {"cat": cat, "coffee": coffee}, ladders)


def code_map() -> explorers.Explorer:
    """Digits, their pixels for codes: quick, and there for everyone."""
    digits = datasets.load("digits")
    few = digits.subset(datasets.few_shot(digits.labels, 25, seed=0))
    pixels = few.images.flatten(1).float()
    maps = {"PCA": embedding.pca(pixels, 2), "t-SNE, perplexity 15": embedding.tsne(pixels, perplexity=15)}
    return explorers.code_map(few, pixels, maps)


def filters() -> explorers.Explorer:
    """The filter browser with patches of the photographs, which may be passed on."""
    photographs, nets = datasets.load("photographs", channels=3), {}
    torch.manual_seed(0)
    for name in ("Lite0", "Lite0, untrained"):
        net = backbones.load("efficientnet_lite0", pretrained=name == "Lite0")
        nets[name] = net, visualise.strongest(net, photographs, list(LAYERS))
    shown = {name: photographs.images[photographs.files.index(name)] for name in ("cat", "china")}
    return explorers.filters(nets, shown, LAYERS, also=(134, 54), start=2)


# One of each, as it is shown in its still; made when it is asked for, since some take seconds.
EXPLORERS: dict[str, Callable[[], explorers.Explorer]] = {
    "convolution": explorers.convolution,
    "field": lambda: explorers.receptive_field([(3, 2), (3,), (3,)]),
    "kernels": lambda: explorers.kernels(datasets.photograph("cat"), SOBEL),
    "augmentations": augmentations,
    "map": code_map,
    "filters": filters,
}


def main() -> None:
    names = sys.argv[1:] or list(EXPLORERS)
    with browser() as started:
        for explorer in (EXPLORERS[name]() for name in names):
            page = started.new_page(viewport={"width": 800, "height": 600})  # a page's constants are set once
            page.set_content(explorer.page)
            page.wait_for_timeout(1000)  # pictures inside are decoded
            shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=_box(page)))).convert("RGB")
            shot.quantize(128, dither=Image.Dither.NONE).save(explorer.still, optimize=True)
            print(explorer.still, f"{explorer.still.stat().st_size / 1000:.0f} kB")


def _box(page) -> dict[str, float]:
    return page.evaluate("({x: 0, y: 0, width: innerWidth, height: document.body.offsetHeight})")


if __name__ == "__main__":
    main()
