"""How fast the explorers paint and answer: ``python benchmarks/explorers.py`` (needs Chromium; a minute).

- first paint: from the start of loading to the first text or picture on the screen, medians of several loads;
- pictures: until the last picture inside the page is drawn, where there are any;
- step: from a key or a slider's move to the new layout and all new pixels of the canvases, medians of many moves;
- the prediction explorer, which needs Python: from the call to what is displayed, and from a new picture to its answer
  with the map, ready to be sent.

Each row is one JSON object in benchmarks/results/explorers.jsonl; a new row replaces the old one.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

from common import RESULTS, where
from playwright.sync_api import Browser

from helpers import backbones, datasets, embedding, explorers, predictor
from tools import stills

KEY = "document.querySelector('{0}').dispatchEvent(new KeyboardEvent('keydown', {{key: '{1}', bubbles: true}}))"
SLIDE = "(s => {{ s.value = {1}; s.dispatchEvent(new Event('input')); }})(document.querySelector('input[name={0}]'))"
CHOOSE = "(s => {{ s.selectedIndex = {1}; s.dispatchEvent(new Event('change')); }})(document.querySelector('#{0}'))"
NOISE = "$('change').selectedIndex = 9; $('change').dispatchEvent(new Event('change')); "
STEPS = {  # explorer -> {what moves: the n-th move}
    "convolution": {
        "window": KEY.format("#input", "ArrowRight"),
        "stride": SLIDE.format("stride0", "1 + n % 3"),
    },
    "field": {"size": SLIDE.format("size", "21 + n % 15"), "stride": SLIDE.format("stride0", "1 + n % 3")},
    "kernels": {
        "place": KEY.format("#before", "ArrowRight"),
        "kernel": "write(Array.from({length: 9}, (_, i) => i - n % 9))",
    },
    "augmentations": {
        "strength": SLIDE.format("strength", "n % 6"),
        "noise": NOISE + SLIDE.format("strength", "1 + n % 5"),
        "mixup": SLIDE.format("share", "n % 101"),
    },
    "map": {"point": SLIDE.format("point", "n % 600"), "map": SLIDE.format("which", "n % 3")},
    "filters": {
        "unit": "point(n % 28, (7 * n) % 28)",
        "channel": "document.querySelectorAll('#channels input')[n % 16].click()",
        "stage": CHOOSE.format("stage", "n % 4"),
        "network": CHOOSE.format("network", "n % 2"),
    },
}
READY = {"kernels": "state.gray", "augmentations": "state.pair.length"}  # true when the pictures are there
MEASURE = """([code, count]) => {
    const move = new Function("n", code), times = [];
    for (let n = 0; n < count; n++) {
        const start = performance.now();
        move(n);
        document.body.offsetHeight;
        for (const c of document.querySelectorAll("canvas")) c.getContext("2d").getImageData(0, 0, 1, 1);
        times.push(performance.now() - start);
    }
    return times; }"""


def map_of_600() -> explorers.Explorer:
    """As large as the one of lesson 07: digits, their pixels for codes, three maps."""
    digits = datasets.load("digits")
    few = digits.subset(datasets.few_shot(digits.labels, 60, seed=0))
    pixels = few.images.flatten(1).float()
    axes = embedding.pca(pixels, 4)
    return explorers.code_map(few, pixels, {f"map {n}": axes[:, n : n + 2] for n in range(3)})


def pages(browser: Browser, rounds: int, moves: int) -> list[dict]:
    """A row for each explorer that is a page, and each of its moves."""
    rows = []
    for name, steps in STEPS.items():
        explorer = map_of_600() if name == "map" else stills.EXPLORERS[name]()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_text(explorer.page, encoding="utf-8")
            paints, pictures = [], []
            for _ in range(rounds):
                page = browser.new_page(viewport={"width": 1000, "height": 800})
                page.goto(file.as_uri())
                entry = page.wait_for_function("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
                paints.append(entry.json_value())
                ready = f"{READY.get(name, 'true')} ? performance.now() : 0"
                pictures.append(page.wait_for_function(ready, polling=10).json_value())
                if len(paints) < rounds:
                    page.close()
        page.wait_for_timeout(500)
        for what, code in steps.items():
            times = page.evaluate(MEASURE, [code, moves])
            row = {"explorer": name, "step": what, "page_kb": round(len(explorer.page) / 1000)}
            row |= {"pictures_ms": round(statistics.median(pictures))} if name in READY else {}
            rows.append(row | _medians(paints, times) | {"browser": browser.version})
            print(rows[-1], flush=True)
        page.close()
    return rows


def predictions(rounds: int, moves: int) -> list[dict]:
    """Rows of the prediction explorer: another photograph, an upload of 12 million pixels, another class."""
    network, paints = backbones.load("efficientnet_lite0"), []
    predictor.display = lambda data, **options: None
    for _ in range(rounds):
        start = time.perf_counter()
        looking = predictor.Predictor(network)
        looking._ipython_display_()
        paints.append(1000 * (time.perf_counter() - start))
    names, file = list(datasets.PHOTOGRAPHS), io.BytesIO()
    datasets.photograph("coffee").resize((4000, 3000)).save(file, "JPEG", quality=90)
    steps = {
        "photograph": lambda n: setattr(looking.photograph, "value", names[n % len(names)]),
        "upload of 12 MP": lambda n: looking._read(file.getvalue(), "mine.jpg"),
        "class": lambda n: setattr(looking.choice, "index", (n + 1) % 5),
    }
    rows = []
    for what, move in steps.items():
        times = []
        for n in range(moves):
            start = time.perf_counter()
            move(n)
            times.append(1000 * (time.perf_counter() - start))
        rows.append({"explorer": "predictor", "step": what} | _medians(paints, times))
        print(rows[-1], flush=True)
    return rows


def _medians(paints: list[float], times: list[float]) -> dict[str, float]:
    return {
        "first_paint_ms": round(statistics.median(paints), 1),
        "step_ms": round(statistics.median(times), 2),
        "step_ms_95": round(sorted(times)[int(0.95 * len(times))], 2),
    }


def keep(rows: list[dict]) -> None:
    """Put the rows into benchmarks/results/explorers.jsonl, each in the place of the old one."""
    file, here = RESULTS / "explorers.jsonl", where()
    old = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    new = {(row["explorer"], row["step"]): row for row in old}
    new |= {(row["explorer"], row["step"]): row | {"chip": here["chip"], "torch": here["torch"]} for row in rows}
    file.write_text("".join(json.dumps(row) + "\n" for row in new.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--moves", type=int, default=100)
    options = parser.parse_args()
    keep(predictions(options.rounds, options.moves))
    if not stills.chromium():
        print("No Chromium is here: the pages are left out.")
        return
    with stills.browser() as browser:
        keep(pages(browser, options.rounds, options.moves))


if __name__ == "__main__":
    main()
