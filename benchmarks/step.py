"""Milliseconds of a training step of Lite0 on a CPU, and what two tricks save: ``python benchmarks/step.py``.

- plain: forward, backward and step as PyTorch has them;
- quick depthwise: with ``helpers.depthwise.quick_depthwise``;
- memory kept: with ``helpers.machine.keep_memory``;
- both: what ``helpers.training.fit`` does.

Each figure is the median step of a process of its own. At 224 pixels no map is small enough for the quick way: there
"both" is "memory kept", and what they differ by is noise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from functools import partial

import torch
from common import apart, keep, take_turns
from torch.nn import functional as F

from helpers import backbones, machine
from helpers.depthwise import quick_depthwise

ARMS = {
    "plain": (False, "system"),
    "quick depthwise": (True, "system"),
    "memory kept": (False, "kept"),
    "both": (True, "kept"),
}


def step(size: int, batch: int, quick: bool, steps: int) -> float:
    model = backbones.load(pretrained=False, classes=10).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    pixels = (torch.rand(batch, 3, size, size) * 255).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long)
    seconds = []
    for _ in range(4 + steps):  # the first ones find their places in memory
        start = time.perf_counter()
        optimiser.zero_grad()
        with quick_depthwise(model) if quick else nullcontext():
            loss = F.cross_entropy(model(pixels), labels)
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[4:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 128, 224])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if machine.device().type != "cpu":
        print(f"step: nothing to measure, both are for the CPU, and this is {machine.device()}.")
        return
    figures = {}
    for size in options.sizes:
        case = f"{options.batch} images of {size} pixels"
        print(case)
        ready = {
            arm: partial(apart, step, size, options.batch, quick, options.steps, memory=memory)
            for arm, (quick, memory) in ARMS.items()
        }
        figures[case] = take_turns(ready, options.rounds)
        keep(f"step-cpu-{torch.backends.cpu.get_cpu_capability().lower()}", figures, "ms", settings=vars(options))


if __name__ == "__main__":
    main()
