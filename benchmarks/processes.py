"""Training with several processes: ``python benchmarks/processes.py``. Images a second of ``helpers.transfer``.

One process with one thread, one with all threads, and as many processes as cores (GPUs) under torchrun, on the same
images with the same settings. Loading and evaluation count: it is what a user waits for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from common import ROOT, keep, take_turns

from helpers import machine


def measure(method: str, processes: int, threads: int, per_class: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        launch = (
            ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
        )
        command = [sys.executable, *launch, "-m", "helpers.transfer", "--data", "solar-cells", "--methods", method]
        command += ["--seeds", "1", "--budget", "quick", "--per-class", str(per_class)]
        command += ["--json", str(results)]
        environment = os.environ | {"COURSE_CACHE": folder, "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
        subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        row = json.loads(results.read_text())
        epochs = ("epochs_scratch",) if method == "scratch" else ("epochs", "epochs_last")
        return 2 * per_class * sum(row["settings"][name] for name in epochs) / row["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=["scratch", "fine_tune"])
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    gpus = torch.cuda.device_count() if machine.device().type == "cuda" else 0
    if gpus == 1:
        print("processes: nothing to compare, there is one GPU.")
        return
    many = gpus or os.cpu_count()
    shapes = {"1 process": (1, os.cpu_count()), f"{many} processes": (many, max(1, os.cpu_count() // many))}
    if not gpus:
        shapes = {"1 process, 1 thread": (1, 1)} | shapes
    figures = {}
    for method in options.methods:
        arms = {name: partial(measure, method, *shape, options.per_class) for name, shape in shapes.items()}
        figures[method] = take_turns(arms, options.rounds)
        keep(f"processes-{machine.device().type}", figures, "images/s", settings=vars(options))


if __name__ == "__main__":
    main()
