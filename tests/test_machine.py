"""What ``helpers.machine`` asks of the system, in a process of its own: its memory is not this one's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from helpers import machine

STEPS = """
import json, resource
import torch
from helpers import machine

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def step():
    parts = [torch.ones(16 << 20) for _ in range(4)]  # 64 MB each
    return sum(float(part[-1]) for part in parts)

warm = [step() for _ in range(4)]  # glibc needs a few to find places for aligned blocks
pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps = [step() for _ in range(4)]
pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - pages
kept = held()
machine.give_memory_back()
print(json.dumps({"pages": pages, "kept": kept, "after": held()}))
"""


def measure(**environment: str) -> dict:
    command = [sys.executable, "-c", STEPS]
    here = os.environ | {"PYTHONPATH": str(machine.ROOT)} | environment
    run = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.skipif(not machine._glibc(), reason="other allocators keep theirs")
def test_freed_memory_serves_the_next_step_and_can_be_given_back() -> None:
    ours, system = measure(COURSE_MEMORY=""), measure(COURSE_MEMORY="system")
    # Four steps of 256 MB are 262,144 pages of 4 KB (512 of 2 MB, where those are had without asking).
    assert ours["pages"] < 0.1 * system["pages"], (ours, system)
    assert ours["kept"] - ours["after"] > 200e6 > system["kept"] - system["after"]
