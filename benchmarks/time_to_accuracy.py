"""Seconds from files on the disk to a stated test accuracy on 15-Scene: ``python benchmarks/time_to_accuracy.py``.

Each arm is a process of its own, with empty caches; its imports and its evaluations count. The same JPEG files in class
folders, 100 images a class to learn from, Lite0 at 224 pixels.

- ours, codes + SVM: ``helpers.transfer``'s extraction;
- PyTorch's codes + LinearSVC: the same method with what everybody has: workers that decode, the network in
  channels_last, scikit-learn's choice of C among the same values;
- plain loop: a new last layer, then fine-tuning of everything, the test accuracy after each epoch, workers that decode;
- fastai: ``vision_learner`` with its own head, ``fine_tune`` at its default rates, likewise (where it is installed).

The last two are another method than the first two: fine-tuning. With ``--arms`` the other arms' figures stay in the
result, as they were measured before.

A figure is the moment at which the accuracy was reached, infinity where the allowed epochs were not enough; the curves
show how far each arm came.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from common import RESULTS, keep, take_turns
from torch.nn import functional as F
from training import WORKERS, write

from helpers import datasets, machine

EPOCHS = 4


def ours(folder: str, seed: int, enough: float) -> list[tuple[float, float]]:
    from helpers import datasets, transfer

    image_set = datasets.load(folder, size=224)
    split = datasets.Split(*_parts(image_set.labels, seed))
    result = transfer.run("extract", image_set, split=split, size=224, views="one", progress=False)
    return [(time.time(), result.accuracy)]


def with_scikit_learn(folder: str, seed: int, enough: float) -> list[tuple[float, float]]:
    from sklearn.model_selection import GridSearchCV
    from sklearn.preprocessing import normalize
    from sklearn.svm import LinearSVC
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from helpers import backbones, linear

    files = ImageFolder(folder, transforms.Compose([transforms.Resize((224, 224)), transforms.PILToTensor()]))
    device = machine.device()
    network = backbones.load().to(device, memory_format=torch.channels_last).eval()
    found = []
    with torch.inference_mode():
        for pixels, _ in torch.utils.data.DataLoader(files, 64, num_workers=WORKERS):
            found.append(network.codes(pixels.to(device).float().contiguous(memory_format=torch.channels_last)).cpu())
    values, labels = normalize(torch.cat(found).numpy()), torch.tensor(files.targets)
    train, test = (rows.numpy() for rows in _parts(labels, seed))
    grid = GridSearchCV(LinearSVC(), {"C": list(linear.CHOICES)}, cv=5, n_jobs=-1)
    score = grid.fit(values[train], labels.numpy()[train]).score(values[test], labels.numpy()[test])
    return [(time.time(), float(score))]


def _parts(labels: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to learn from, 100 a class, and the others."""
    train = datasets.few_shot(labels, 100, seed)
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[train] = False
    return train, rest.nonzero().flatten()


def plain(folder: str, seed: int, enough: float) -> list[tuple[float, float]]:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from helpers import backbones

    torch.manual_seed(seed)
    crops = [transforms.RandomResizedCrop(224, (0.4, 1.0)), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    changes = transforms.Compose(crops), transforms.Compose([transforms.Resize((224, 224)), transforms.PILToTensor()])
    sets = [ImageFolder(folder, change) for change in changes]
    parts = _parts(torch.tensor(sets[0].targets), seed)
    train, test = (
        torch.utils.data.DataLoader(
            torch.utils.data.Subset(one, rows.tolist()), 32, shuffle=i == 0, num_workers=WORKERS
        )
        for i, (one, rows) in enumerate(zip(sets, parts, strict=True))
    )
    device = machine.device()
    model = backbones.load(classes=len(sets[0].classes)).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    reached = []
    for _ in range(EPOCHS):
        model.train()
        for pixels, labels in train:
            optimiser.zero_grad()
            F.cross_entropy(model(pixels.float().to(device)), labels.to(device)).backward()
            optimiser.step()
        model.eval()
        with torch.inference_mode():
            right = sum(int((model(p.float().to(device)).argmax(1).cpu() == y).sum()) for p, y in test)
        reached.append((time.time(), right / len(parts[1])))
        if reached[-1][1] >= enough:
            break
    return reached


def with_fastai(folder: str, seed: int, enough: float) -> list[tuple[float, float]]:
    from fastai.vision.all import (
        Callback,
        CancelFitException,
        CategoryBlock,
        CrossEntropyLossFlat,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Resize,
        accuracy,
        aug_transforms,
        set_seed,
        vision_learner,
    )
    from torchvision.datasets import ImageFolder

    from helpers import backbones

    set_seed(seed)
    files = ImageFolder(folder)
    block = DataBlock(
        (ImageBlock, CategoryBlock(vocab=list(range(len(files.classes))))),
        get_x=lambda i: files.samples[i][0],
        get_y=lambda i: files.samples[i][1],
        splitter=IndexSplitter(_parts(torch.tensor(files.targets), seed)[1].tolist()),
        item_tfms=Resize(224, method="squish"),
        batch_tfms=aug_transforms(),
    )
    data = block.dataloaders(range(len(files)), bs=32, num_workers=WORKERS, device=machine.device())
    network = backbones.load().to(machine.device())
    reached = []

    class Clock(Callback):
        order = 90  # after the recorder

        def after_epoch(self):
            reached.append((time.time(), float(self.learn.recorder.values[-1][-1])))
            if reached[-1][1] >= enough:
                raise CancelFitException

    class Normalised(torch.nn.Module):
        """fastai hands over pixels in 0-1."""

        def forward(self, pixels):
            return network.normalise(pixels * 255)

    def body(pretrained):  # up to the pooling, where fastai cuts
        net = network.net
        parts = (net.conv_stem, net.bn1, net.blocks, net.conv_head, net.bn2)
        return torch.nn.Sequential(Normalised(), *parts, torch.nn.AdaptiveAvgPool2d(1))

    options = {"loss_func": CrossEntropyLossFlat(), "metrics": accuracy, "cbs": [Clock()]}
    learner = vision_learner(data, body, normalize=False, **options)  # its own head
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS - 1)
    return reached


ARMS = {
    "ours, codes + SVM": ours,
    "PyTorch's codes + LinearSVC": with_scikit_learn,
    "plain loop": plain,
    "fastai, fine_tune": with_fastai,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    parser.add_argument("--accuracy", type=float, default=0.89)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", nargs=3, metavar=("ARM", "FOLDER", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.filterwarnings("ignore")  # the peers' own
        arm, folder, seed = options.one
        print(json.dumps(ARMS[arm](folder, int(seed), options.accuracy)))
        return
    curves: dict[str, list] = {}

    def measure(arm: str, folder: str) -> float:
        seed = len(curves.setdefault(arm, []))
        with tempfile.TemporaryDirectory() as cache:
            start = time.time()
            command = [sys.executable, __file__, "--accuracy", str(options.accuracy), "--one", arm, folder, str(seed)]
            memory = "kept" if "ours" in arm else "system"  # as everybody else's finds it: training.py
            environment = os.environ | {"COURSE_CACHE": cache, "COURSE_MEMORY": memory}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        curve = [(moment - start, value) for moment, value in json.loads(done.stdout.splitlines()[-1])]
        curves[arm].append(curve)
        return next((seconds for seconds, value in curve if value >= options.accuracy), math.inf)

    try:
        scenes = datasets.load("15-scene", size=256)
    except datasets.NotHere:  # a line has said so
        return
    ready = [arm for arm in options.arms if "fastai" not in arm or importlib.util.find_spec("fastai")]
    with tempfile.TemporaryDirectory() as folder:
        write(scenes, Path(folder))
        figures = take_turns({arm: partial(measure, arm, folder) for arm in ready}, options.rounds)
    case = f"15-Scene, {options.accuracy:.0%} on the test part"
    settings = vars(options) | {"epochs": EPOCHS}
    name = f"time-to-accuracy-{machine.device().type}"
    more = {"curves": curves, "settings": settings}
    if (before := RESULTS / f"{name}.json").exists() and set(options.arms) != set(ARMS):
        old = json.loads(before.read_text())
        for arm, seconds in old["figures"].get(case, {}).items():
            if arm not in figures:
                figures[arm], curves[arm] = seconds, old["curves"][arm]
        more["note"] = f"measured in this run: {', '.join(ready)}; the others before"
    keep(name, {case: figures}, "seconds", **more)


if __name__ == "__main__":
    main()
