"""Tasks that are killed (-9) at random moments, or find no space: each in a forked child of a small process.

``python tests/killed.py TASK FOLDER [ADDRESS]`` prints what happened as JSON. A moment is a number of calls that the
task has made, not a time: the same moments on a fast machine and on a slow one. Linux and macOS only.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
Task = Callable[[Path], str]  # works in a folder, and returns a digest of what it made


def own_lock() -> None:
    """tqdm's lock is shared with forked processes: one that is killed with it in hand would keep it from the others."""
    tqdm.set_lock(threading.RLock())


def child(task: Task, folder: Path, *, kill_at: int | None = None, bytes_a_file: int = 0) -> dict:
    """Run the task in a child: how it ended, its digest, what it printed or raised.

    kill_at: the call at which it is killed (counted from 1); 0 only counts them.
    """
    import resource

    folder.mkdir(parents=True, exist_ok=True)
    out = folder.with_name(f"{folder.name}.out")
    out.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        own_lock()
        said, done, calls = io.StringIO(), {}, 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        with contextlib.redirect_stdout(said):
            if bytes_a_file:
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, hard))
            if kill_at is not None:
                sys.setprofile(count)
            try:
                done["digest"] = task(folder)
            except Exception as error:
                done["error"] = f"{type(error).__name__}: {error}"
            sys.setprofile(None)
        if bytes_a_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        out.write_text(json.dumps(done | {"said": said.getvalue(), "calls": calls}))
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    done = json.loads(out.read_text()) if out.exists() else {}
    return done | {"killed": os.WIFSIGNALED(status), "left": sorted(p.name for p in folder.rglob("*") if p.is_file())}


def killed(task: Task, folder: Path, moments: int) -> dict:
    """Kill the task at so many random moments, each in an empty folder; then let it run again, to its end."""
    whole = child(task, folder / "whole", kill_at=0)
    assert "digest" in whole, whole
    random_ = random.Random(0)
    at = sorted(random_.randrange(1, whole["calls"]) for _ in range(moments))
    rounds = []
    for number, kill_at in enumerate(at):
        place = folder / str(number)
        first = child(task, place, kill_at=kill_at)
        rounds.append({"at": kill_at, "first": first, "again": child(task, place)})
    return {"whole": whole, "rounds": rounds}


def downloading(address: str) -> Task:
    from helpers.download import download

    def task(folder: Path) -> str:
        md5 = address.rpartition("/")[2]
        path = download(address, folder / "file.zip", md5=md5, wait=lambda seconds: None)
        return hashlib.md5(path.read_bytes()).hexdigest()

    return task


def _net():
    import torch
    from made import SmallNet

    torch.manual_seed(0)
    return SmallNet()


def training(folder: Path) -> str:
    """Four epochs with a checkpoint; the digest is of every weight and of the curves."""
    from made import stripes

    from helpers import training
    from helpers.augmentation import ColourJitter, Compose, RandomAffine

    model = _net()
    history = training.fit(
        model,
        stripes(48, size=16),
        stripes(16, size=16, seed=1),
        epochs=4,
        rate=1e-2,
        batch=16,
        augment=Compose((RandomAffine(), ColourJitter())),
        checkpoint=folder / "run.pt",
        seed=1,
    )
    digest = hashlib.md5(repr((history["train_loss"], history["validation_loss"], history.best)).encode())
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def codes(folder: Path) -> str:
    """Codes of 150 images, three batches. Each batch that is computed leaves a line in ``batches``."""
    from made import stripes

    from helpers import codes, machine

    real = codes._batch

    def batch(*args: object, **more: object):
        with (folder.parent / f"{folder.name}.batches").open("a") as file:
            file.write("x\n")
        return real(*args, **more)

    machine.cache_dir = lambda: folder
    codes._batch = batch
    try:
        found = codes.extract(tiny(), stripes(150, size=16), engine="torch")
    finally:
        codes._batch = real
    return hashlib.md5(found.numpy().tobytes()).hexdigest()


def tiny():
    """A network with the few things that ``codes.extract`` asks of one."""
    import torch
    from torch import nn

    class Tiny(nn.Module):
        name = "tiny"

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Conv2d(1, 16, 3)

        def fingerprint(self) -> str:
            return "tiny"

        def codes(self, images: torch.Tensor, stage: str) -> torch.Tensor:
            return self.layer(images / 255).amax((2, 3))

    return Tiny()


def images(folder: Path) -> str:
    """A folder of 40 pictures, decoded into the cache."""
    import numpy as np
    from PIL import Image

    from helpers import datasets, machine

    source = Path(sys.argv[2]) / "pictures"
    if not source.exists():
        for i in range(40):
            path = source / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(i).integers(0, 255, (20, 20), dtype=np.uint8)).save(path)
    machine.cache_dir = lambda: folder
    return datasets.load(source, size=16).fingerprint


def result(folder: Path) -> str:
    """A number that was measured, and kept."""
    from helpers import transfer

    transfer.write(folder / "result.json", "0.93")
    return transfer.read(folder / "result.json") or "not kept"


def at_once(task: Task, folder: Path, number: int) -> list[dict]:
    """The task in so many children at the same time, all in one folder."""
    folder.mkdir()
    pids = []
    for i in range(number):
        pid = os.fork()
        if pid == 0:
            own_lock()
            (folder.parent / f"{i}.digest").write_text(task(folder))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return [(folder.parent / f"{i}.digest").read_text() for i in range(number)]


def main(kind: str, folder: Path, *address: str) -> dict:
    if kind == "download":
        task = downloading(*address)
        full = child(task, folder / "full", bytes_a_file=100_000)
        return {"kills": killed(task, folder, 20), "full": full, "after": child(task, folder / "full")}
    import torch

    torch.set_num_threads(1)  # so that nothing is running that a fork would lose
    for task in (training, codes, images, result):  # all imports are done before the forks
        (folder / "warm" / task.__name__).mkdir(parents=True)
        task(folder / "warm" / task.__name__)
    tasks = {"training": (training, 20), "codes": (codes, 10), "images": (images, 10)}
    found = {name: killed(task, folder / name, moments) for name, (task, moments) in tasks.items()}
    for task, limit in ((training, 1000), (codes, 1000), (images, 1000), (result, 2)):
        place = folder / "full" / task.__name__
        full = child(task, place, bytes_a_file=limit)
        found[f"{task.__name__}, no space"] = {"full": full, "after": child(task, place)}
    found["writers"] = at_once(codes, folder / "writers", 3)
    found["batches"] = (folder / "writers.batches").read_text().count("x")
    return found


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    print(json.dumps(found))
