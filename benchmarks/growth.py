"""How seconds and memory grow with the number of images, and what a set larger than memory costs.

``python benchmarks/growth.py``: 1,000 to 100,000 files (copies of real images with noise), 64 pixels. In a process for
each number: decoding the folder, loading it again, codes, the linear head with C chosen, the most memory held. Then
one epoch of the last layer on 224-pixel images, once with all images in memory, and once in a control group that
leaves a third of them room there (Linux, as root; else that part is left out, and said so).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import keep, take_turns
from PIL import Image

from helpers import backbones, codes, datasets, linear, machine, training

GROUP = (
    Path("/sys/fs/cgroup/memory/course") if Path("/sys/fs/cgroup/memory").exists() else Path("/sys/fs/cgroup/course")
)


def write(folder: Path, n: int, size: int = 64) -> None:
    """n JPEG files in the solar cells' two class folders, each a cell with noise of its own."""
    source = datasets.load("solar-cells", size=size)
    generator = np.random.default_rng(0)
    for i in range(n):
        k = i % len(source)
        place = folder / source.classes[source.labels[k]] / f"{i // 1000:03}"
        if i % 1000 < 2:
            for label in source.classes:
                (folder / label / f"{i // 1000:03}").mkdir(parents=True, exist_ok=True)
        pixels = source.images[k, 0].numpy() + generator.normal(0, 4, (size, size))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{i}.jpg", quality=90)


def grow(folder: str) -> dict[str, float]:
    """Seconds of each stage, and the most memory in MB, for one folder."""
    found, clock = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        found[name], clock = time.perf_counter() - clock, time.perf_counter()

    datasets.load(folder, size=64)
    lap("decoding")
    image_set = datasets.load(folder, size=64)
    lap("loading again")
    values = codes.extract(backbones.load(), image_set, progress=False)
    lap("codes")
    linear.fit(values, image_set.labels)
    lap("linear head")
    found["MB at most"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return found


def stream(file: str, n: int, limited: bool) -> float:
    """Images a second of an epoch through a frozen Lite0 and a new last layer; images from a mapped file."""
    images = torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(n, 3, 224, 224)))
    if not limited:
        images = images.clone()
    image_set = datasets.ImageSet(
        "mapped", images, torch.arange(n) % 2, ("a", "b"), tuple(map(str, range(n))), digest=(images, file)
    )
    network = backbones.load(classes=2)
    backbones.freeze(network)
    training.fit(network, image_set.subset(range(128)), epochs=1, progress=False)
    if limited:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        most, files = (int(status[key].split()[0]) for key in ("VmHWM", "RssFile"))  # kB
        limit = (most - files) * 1024 + images.nbytes // 3  # what training needs, and a third of the images
        GROUP.mkdir(exist_ok=True)
        name = "memory.limit_in_bytes" if (GROUP / "memory.limit_in_bytes").exists() else "memory.max"
        (GROUP / name).write_text(str(limit))
        (GROUP / "cgroup.procs").write_text(str(os.getpid()))
        with open(file, "rb") as cached:
            os.posix_fadvise(cached.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what is in memory for others goes
    history = training.fit(network, image_set, epochs=1, progress=False)
    return n / history["seconds"][0]


def child(*arguments: object, cache: str) -> object:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(
        command, env=os.environ | {"COURSE_CACHE": cache}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", nargs="*", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--streamed", type=int, default=4000, help="images of the set larger than memory; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work, *rest = options.child
        print(json.dumps(grow(*rest) if work == "grow" else stream(rest[0], int(rest[1]), rest[2] == "True")))
        return
    figures: dict[str, dict[str, list[float]]] = {}
    for n in options.numbers:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "images", n)
            found = child("grow", Path(folder) / "images", cache=folder)
            figures[f"{n:,} images"] = {stage: [round(value, 2)] for stage, value in found.items()}
            keep("growth", figures, "seconds, and MB", settings=vars(options))
    if not options.streamed:
        return
    if not (sys.platform == "linux" and os.geteuid() == 0 and os.access(GROUP.parent, os.W_OK)):
        print("No control group can be made here: the set larger than memory is left out.")
        return
    n = options.streamed
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images"
        mapped = np.memmap(file, np.uint8, "w+", shape=(n, 3, 224, 224))
        mapped[:] = np.random.default_rng(0).integers(0, 255, (1, 3, 224, 224), np.uint8)
        mapped.flush()
        arms = {
            "in memory": lambda: child("stream", file, n, False, cache=folder),
            "room for a third": lambda: child("stream", file, n, True, cache=folder),
        }
        found = {f"{n:,} images of 224 pixels": take_turns(arms, options.rounds)}
    GROUP.rmdir()
    keep(f"streaming-{machine.device().type}", found, "images/s", settings=vars(options))


if __name__ == "__main__":
    main()
