"""Milliseconds of a training step of Lite0 on a CPU, alone and beside others: ``python benchmarks/waiting.py``.

The arms are how long a thread of PyTorch spins before it sleeps when it has nothing to do (``GOMP_SPINCOUNT``, Linux):
- library's: what libgomp does unless it is told otherwise, 300,000 turns;
- short: a hundredth of that;
- none: threads sleep at once, as ``make test`` has it, and as a hub that many share may set it.

Each figure is the median step of a process of its own. The others are a process that only counts, or one that trains as
we do, with the same wait.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from functools import partial
from multiprocessing.synchronize import Event
from unittest import mock

from common import apart, keep, take_turns
from step import step

from helpers import machine

ARMS = {"library's": "300000", "short": "3000", "none": "0"}


def count(ready: Event, *_: int) -> None:
    ready.set()
    while True:
        pass


def train(ready: Event, size: int, batch: int, steps: int) -> None:
    while True:
        step(size, batch, True, steps)
        ready.set()


OTHERS = {"alone": None, "beside one that counts": count, "beside one that trains": train}


@contextlib.contextmanager
def beside(other: str, *given: int) -> Iterator[None]:
    """With another process that does this already, if any."""
    if OTHERS[other] is None:
        yield
        return
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=OTHERS[other], args=(ready, *given), daemon=True)
    process.start()
    try:
        while not ready.wait(1):
            if not process.is_alive():
                raise RuntimeError(f"{other}: the other process ended before it began to work.")
        yield
    finally:
        process.kill()


def waiting(turns: str, other: str, size: int, batch: int, steps: int) -> float:
    with mock.patch.dict(os.environ, GOMP_SPINCOUNT=turns), beside(other, size, batch, steps):
        return apart(step, size, batch, True, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", nargs="*", choices=OTHERS, default=list(OTHERS))
    parser.add_argument("--sizes", type=int, nargs="*", default=[64])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if machine.device().type != "cpu":
        print(f"waiting: nothing to measure, it is for the CPU, and this is {machine.device()}.")
        return
    figures = {}
    for size in options.sizes:
        for other in options.others:
            case = f"{options.batch} images of {size} pixels, {other}"
            print(case)
            given = other, size, options.batch, options.steps
            figures[case] = take_turns({arm: partial(waiting, n, *given) for arm, n in ARMS.items()}, options.rounds)
            keep("waiting-cpu", figures, "ms", settings=vars(options))


if __name__ == "__main__":
    main()
