"""Takes the still pictures of the explorers: ``python -m tools.stills`` (needs Chromium; see CONTRIBUTING.md).

They stand in where scripts don't run, and are committed beside the pages in ``helpers/pages``.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from helpers import datasets, explorers

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
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path or chromium(), args=list(_OPTIONS))
        yield started
        started.close()


def all_explorers() -> list[explorers.Explorer]:
    """One of each, as it is shown in its still."""
    return [
        explorers.convolution(),
        explorers.receptive_field([(3, 2), (3,), (3,)]),
        explorers.kernels(datasets.photograph("cat"), SOBEL),
    ]


def main() -> None:
    with browser() as started:
        for explorer in all_explorers():
            page = started.new_page(viewport={"width": 800, "height": 600})  # a page's constants are set once
            page.set_content(explorer.page)
            page.wait_for_timeout(500)  # pictures inside are decoded
            shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=_box(page)))).convert("RGB")
            shot.quantize(64, dither=Image.Dither.NONE).save(explorer.still, optimize=True)
            print(explorer.still, f"{explorer.still.stat().st_size / 1000:.0f} kB")


def _box(page) -> dict[str, float]:
    return page.evaluate("({x: 0, y: 0, width: innerWidth, height: document.body.offsetHeight})")


if __name__ == "__main__":
    main()
