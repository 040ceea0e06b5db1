"""What the benchmarks share: arms that take turns, medians, and results that say where they were measured."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT))

from helpers import transfer  # noqa: E402

PEERS = ("fastai", "kornia", "lightning", "openTSNE", "onnxruntime", "openvino", "scikit-learn", "torchvision")


def take_turns(arms: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Every arm once, then every arm again ...: a machine that slows down slows all of them. Returns the figures."""
    found: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds):
        for name, measure in arms.items():
            found[name].append(measure())
            print(f"  round {turn + 1} of {rounds}  {name:24s} {found[name][-1]:10.2f}", flush=True)
    return found


def apart(measure: Callable[..., float], *arguments: object, memory: str = "kept") -> float:
    """``measure(*arguments)`` in a new process, which keeps freed memory as ``helpers`` does, or ("system") leaves that
    to the system, as everybody's else does. It can't be changed back within a process."""
    spawn = multiprocessing.get_context("spawn")
    with mock.patch.dict(os.environ, COURSE_MEMORY=memory), ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measure, *arguments).result()


def where() -> dict[str, str]:
    """Machine and versions."""
    import torch

    versions = transfer.versions() | {"system": platform.system(), "threads": str(torch.get_num_threads())}
    if versions["device"] == "cpu":
        versions["chip"] += f", {torch.backends.cpu.get_cpu_capability()}"
    for name in PEERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def keep(name: str, figures: dict[str, dict[str, list[float]]], unit: str, **more) -> None:
    """Print the last case's medians and ratios, and write benchmarks/results/<name>.json: {case: {arm: [figure a
    round]}}. Called after each case: an interruption loses only the one that was measured."""
    case, arms = list(figures.items())[-1]
    medians = {arm: statistics.median(values) for arm, values in arms.items()}
    choose = max if unit.endswith("/s") else min
    best = choose(filter(math.isfinite, medians.values()), default=math.nan)
    print(f"{name}, {case} ({unit}; median of {len(next(iter(arms.values())))} rounds)")
    for arm, values in arms.items():
        span = f"({min(values):.2f} - {max(values):.2f})"
        ratio = medians[arm] / best if best else math.nan
        print(f"  {arm:24s} {medians[arm]:10.2f}  {ratio:6.2f} times the best  {span}")
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"unit": unit, "figures": figures, "where": where(), **more}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
