"""Two processes under torchrun give what one gives, on the CPU; nothing of it shows in one process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made import SmallNet, stripes
from PIL import Image
from torch import nn

from helpers import backbones, codes, machine, parallel, training
from helpers.augmentation import ColourJitter, Compose, RandomAffine

ROOT = Path(__file__).parent.parent


def work(folder: Path) -> None:
    """What the processes do: train with BatchNorm, evaluate, take codes. The first one keeps the results."""
    image_set, test = stripes(45), stripes(31, seed=1)  # a last batch of 13, and shares that differ
    torch.manual_seed(0)
    model = SmallNet()
    model.layers[3].p = 0.0  # dropout draws for the images of a process
    augment = Compose((RandomAffine(area=(0.8, 1.0)), ColourJitter()))
    options = {"epochs": 3, "batch": 16, "rate": 0.05, "optimiser": "sgd", "augment": augment, "progress": False}
    history = training.fit(model, image_set, test, checkpoint=folder / "checkpoint", **options)
    metrics = training.evaluate(model, test, batch=8)
    values = codes.extract(backbones.load("efficientnet_lite0", pretrained=False), test, progress=False)
    alone = normalised(1), normalised(5)
    if parallel.first():
        found = {"weights": model.state_dict(), "loss": history["train_loss"], "right": history["train_accuracy"]}
        found |= {"probabilities": metrics.probabilities, "codes": values, "normalised": alone}
        torch.save(found, folder / "found.pt")


def normalised(n: int) -> list[torch.Tensor]:
    """What BatchNorm without weights makes of n images far from 0, its running statistics, and the images' gradient."""
    layer, mine = nn.BatchNorm2d(3, affine=False), parallel.share(n)
    images = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 + 300
    given = images[mine].requires_grad_()
    with parallel.whole_batch():
        result = layer(given)
    (result * images[mine].cos()).sum().backward()
    rows = [parallel.gather(part, n) for part in (result.detach(), given.grad)]
    return [*rows, layer.running_mean, layer.running_var]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[dict, dict]:
    """What one process finds, this one, and what two find."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "cache_dir", lambda: one)
        patch.setattr(machine, "device", lambda: torch.device("cpu"))
        work(one)
    torchrun(__file__, two, cache=two)
    return tuple(torch.load(folder / "found.pt", weights_only=True) for folder in (one, two))


def torchrun(*command: object, cache: Path) -> str:
    """What two processes print."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = os.environ | {"COURSE_CACHE": str(cache), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *command]
    done = subprocess.run(launch, env=environment | {"COURSE_DEVICE": "cpu"}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_processes_train_as_one(both):
    one, two = both
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4) and two["right"] == one["right"]
    torch.testing.assert_close(two["probabilities"], one["probabilities"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("images", [0, 1], ids=["one image, so that one process has none", "five images"])
def test_batch_norm_is_that_of_the_whole_batch(both, images):
    one, two = (found["normalised"][images] for found in both)
    for theirs, ours in zip(one, two, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_codes_of_shares_are_put_together_in_order(both):
    torch.testing.assert_close(both[1]["codes"], both[0]["codes"], rtol=1e-4, atol=1e-5)
    assert len(both[1]["codes"]) == 31


def test_the_command_writes_each_result_once(tmp_path):
    image_set = stripes(40)
    for image, label, name in zip(image_set.images, image_set.labels.tolist(), image_set.files, strict=True):
        place = tmp_path / "data" / "ab"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / name)
    options = ["--data", tmp_path / "data", "--methods", "extract", "--seeds", "2", "--budget", "quick"]
    options += ["--json", tmp_path / "results.jsonl"]
    said = torchrun("-m", "helpers.transfer", *options, cache=tmp_path / "cache")
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 1] and all(row["versions"]["processes"] == "2" for row in rows)
    assert said.count("extract seed") == 2


def test_one_process_notices_nothing():
    rows = torch.arange(6).view(3, 2)
    assert parallel.first() and parallel.count() == 1 and parallel.share(5) == slice(0, 5)
    assert parallel.gather(rows, 3) is rows and parallel.from_first(lambda: 7) == 7


if __name__ == "__main__":
    with parallel.processes():
        work(Path(sys.argv[1]))
