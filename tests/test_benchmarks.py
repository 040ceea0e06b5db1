"""Benchmarks run with the smallest settings, and what they keep can be read. No figure is looked at.

Not time_to_accuracy and accuracy, which are too long with any settings, and explorers, whose work test_browser does.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ONCE = ["--rounds", "1"]
SMALLEST = {  # script -> its arguments, the arms that every machine has
    "step": (["--sizes", "32", "--batch", "2", "--steps", "1"], {"plain", "quick depthwise", "memory kept", "both"}),
    "waiting": (
        ["--others", "beside one that trains", "--sizes", "32", "--batch", "2", "--steps", "1"],
        {"library's", "short", "none"},
    ),
    "training": (
        ["--networks", "efficientnet_lite0", "--images", "8", "--size", "64", "--batch", "4"],
        {"ours", "plain loop", "ceiling", "plain loop, memory kept", "ceiling, system's memory"},
    ),
    "codes": (
        ["--networks", "efficientnet_lite0", "--images", "64", "--size", "64"],
        {"eager", "channels_last", "ours", "ours, again", "ours, bf16", "ours, bf16, again"},
    ),
    "augment": (
        ["--images", "8", "--size", "32", "--batch", "4"],
        {"torchvision, from files", "torchvision, per image", "Kornia", "ours"},
    ),
    "heads": (["--maps-only", "--points", "60", "--size", "32"], {"ours", "scikit-learn, 1,000 steps"}),
    "processes": (["--methods", "fine_tune", "--per-class", "4"], {"1 process, 1 thread", "1 process"}),
    "growth": (
        ["--numbers", "20", "--streamed", "0"],
        {"decoding", "loading again", "codes", "linear head", "MB at most"},
    ),
}


def run(name: str, arguments: list[str], folder: Path) -> None:
    """Runs a script and keeps what it finds in ``folder``: in one process, without one more for each figure."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    sys.argv = [f"{name}.py", *arguments, *ONCE]
    benchmark, common = importlib.import_module(name), importlib.import_module("common")
    common.RESULTS = folder
    benchmark.apart = lambda measure, *what, memory="kept": measure(*what)
    benchmark.child = lambda _, images, cache: benchmark.grow(images)
    benchmark.WORKERS = int(name == "augment")
    benchmark.main()


@pytest.mark.parametrize("name", SMALLEST)
def test_runs_and_keeps_what_it_found(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    arguments, arms = SMALLEST[name]
    # A fresh process: a worker of a DataLoader that is forked from one with OpenVINO's threads crashes or hangs.
    process = multiprocessing.get_context("spawn").Process(target=run, args=(name, arguments, tmp_path / "results"))
    process.start()
    process.join(600)
    process.kill()
    assert process.exitcode == 0, "it failed, or took over ten minutes"
    (file,) = (tmp_path / "results").glob("*.json")
    kept = json.loads(file.read_text())
    assert kept["where"]["torch"] and kept["settings"]["rounds"] == 1
    (figures,) = kept["figures"].values()
    assert arms <= set(figures)
    assert all(math.isfinite(value) and value >= 0 for arm in arms for value in figures[arm])
