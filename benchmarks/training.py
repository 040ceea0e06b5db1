"""Training throughput, images a second, of one epoch through all layers: ``python benchmarks/training.py``.

The same images (files on the disk), network, image size, batch and crops-and-flips for everybody:

- ours: ``helpers.training.fit``;
- plain loop: dataset, workers, transforms, loop and ``.item()`` as in the usual PyTorch tutorial;
- fastai, Lightning: their own loaders and loops, where they are installed (``pip install fastai lightning``);
- ceiling: PyTorch's forward, backward and step on one batch that is there already, channels_last. Only other kernels
  can be faster: ours has one, for small depthwise maps (``helpers.depthwise``);
- ceiling, compiled (``--compiled``): the same through ``torch.compile``, its minute of compiling left out.

Each arm is a process of its own. Ours and the ceiling keep freed memory (``helpers.machine.keep_memory``), the others
leave it to the system; "Lightning, memory kept" and "ceiling, system's memory" are the other way round.

The first epoch of each turn warms up; the second one counts. ``--precision bf16`` is for processors that have units for
it (AMX): ours, fastai, Lightning and the ceiling then use it; the plain loop doesn't know it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from common import apart, keep, take_turns
from PIL import Image
from torch import nn
from torch.nn import functional as F

from helpers import augmentation, backbones, datasets, machine, training

WORKERS = min(4, os.cpu_count() or 1)
CLASSES = 2


def network(name: str, classes: int) -> nn.Module:
    """Random weights: the speed is the same."""
    return backbones.load(name, pretrained=False, classes=classes)


def ours(name: str, folder: Path, images: int, size: int, batch: int, precision: str) -> float:
    image_set = the_images(images)
    augment = augmentation.RandomAffine(area=(0.4, 1.0))
    model = network(name, len(image_set.classes))
    options = {"epochs": 2, "batch": batch, "size": size, "augment": augment, "precision": precision}
    history = training.fit(model, image_set, progress=False, **options)
    return len(image_set) / history["seconds"][1]


def plain(name: str, folder: Path, images: int, size: int, batch: int, precision: str) -> float:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.RandomResizedCrop(size, (0.4, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    files = ImageFolder(str(folder), transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(files, batch, shuffle=True, num_workers=WORKERS)
    device = machine.device()
    model = network(name, len(files.classes)).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(2):
        start, loss_sum, correct = time.perf_counter(), 0.0, 0
        model.train()
        for pixels, labels in loader:
            pixels, labels = pixels.float().to(device), labels.to(device)
            optimiser.zero_grad()
            scores = model(pixels)
            loss = F.cross_entropy(scores, labels)
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(pixels)
            correct += (scores.argmax(1) == labels).sum().item()
        seconds = time.perf_counter() - start
    return len(files) / seconds


def with_fastai(name: str, folder: Path, images: int, size: int, batch: int, precision: str) -> float:
    from fastai.vision.all import (
        Callback,
        CrossEntropyLossFlat,
        ImageDataLoaders,
        Learner,
        RandomResizedCrop,
        aug_transforms,
    )

    class Clock(Callback):
        def before_train(self):
            self.start = time.perf_counter()

        def after_train(self):
            self.learn.last_seconds = time.perf_counter() - self.start

    data = ImageDataLoaders.from_folder(
        folder,
        valid_pct=0.02,
        item_tfms=RandomResizedCrop(size, min_scale=0.4),
        batch_tfms=aug_transforms(max_rotate=0, max_lighting=0, max_warp=0, max_zoom=1.0),
        bs=batch,
        num_workers=WORKERS,
    )
    learner = Learner(data, network(name, data.c), loss_func=CrossEntropyLossFlat(), cbs=[Clock()])
    if torch.cuda.is_available():
        learner.to_fp16()
    elif precision == "bf16":
        learner.to_bf16()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(2)
    return len(data.train) * batch / learner.last_seconds


def with_lightning(name: str, folder: Path, images: int, size: int, batch: int, precision: str) -> float:
    import lightning
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network(name, len(files.classes))

        def on_train_epoch_start(self):
            self.start = time.perf_counter()

        def on_train_epoch_end(self):
            self.seconds = time.perf_counter() - self.start

        def training_step(self, parts, _):
            return F.cross_entropy(self.net(parts[0].float()), parts[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)

    steps = [
        transforms.RandomResizedCrop(size, (0.4, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    files = ImageFolder(str(folder), transforms.Compose(steps))
    options = {"num_workers": WORKERS, "persistent_workers": WORKERS > 0}
    loader = torch.utils.data.DataLoader(files, batch, shuffle=True, **options)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    precision = "16-mixed" if torch.cuda.is_available() else "bf16-mixed" if precision == "bf16" else "32-true"
    module = Module()
    lightning.Trainer(max_epochs=2, precision=precision, **quiet).fit(module, loader)
    return len(files) / module.seconds


def ceiling(
    name: str, folder: Path, images: int, size: int, batch: int, precision: str, compiled: bool = False
) -> float:
    device = machine.device()
    model = network(name, CLASSES).to(device, memory_format=torch.channels_last).train()
    run = torch.compile(model) if compiled else model
    optimiser = torch.optim.AdamW(model.parameters(), fused=device.type in ("cuda", "cpu"))
    pixels = (torch.rand(batch, 3, size, size, device=device) * 255).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    steps = -(-images // batch)
    for _ in range(2):
        _wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            with training._autocast(precision, device):
                loss = F.cross_entropy(run(pixels).float(), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        _wait(device)
        seconds = time.perf_counter() - start
    return steps * batch / seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def the_images(count: int) -> datasets.ImageSet:
    """Solar cells, evenly spaced in their set."""
    whole = datasets.load("solar-cells", size=256)
    return whole.subset(torch.arange(len(whole))[:: max(1, len(whole) // count)][:count])


def write(image_set: datasets.ImageSet, folder: Path) -> None:
    """Class folders of JPEG files, for those who read files."""
    for i, (image, label) in enumerate(zip(image_set.images, image_set.labels, strict=True)):
        place = folder / image_set.classes[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).convert("RGB").save(place / f"{i}.jpg", quality=92)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["efficientnet_lite0", "resnet18"])
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=["auto", "bf16"], default="auto")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # the peers' own
    arms = {"ours": (ours, "kept"), "plain loop": (plain, "system")}
    arms |= {"fastai": (with_fastai, "system")} if importlib.util.find_spec("fastai") else {}
    arms |= {"Lightning": (with_lightning, "system")} if importlib.util.find_spec("lightning") else {}
    arms["ceiling"] = (ceiling, "kept")
    if machine.device().type == "cpu":
        last = "Lightning" if "Lightning" in arms else "plain loop"
        arms |= {f"{last}, memory kept": (arms[last][0], "kept"), "ceiling, system's memory": (ceiling, "system")}
    arms |= {"ceiling, compiled": (partial(ceiling, compiled=True), "kept")} if options.compiled else {}
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        write(the_images(options.images), Path(folder))
        for name in options.networks:
            print(f"{name}, {options.images} images of {options.size} pixels, batch {options.batch}")
            what = (name, Path(folder), options.images, options.size, options.batch, options.precision)
            ready = {arm: partial(apart, measure, *what, memory=memory) for arm, (measure, memory) in arms.items()}
            figures[name] = take_turns(ready, options.rounds)
    kind = machine.device().type + ("" if options.precision == "auto" else f"-{options.precision}")
    keep(f"training-{kind}", figures, "images/s", settings=vars(options))


if __name__ == "__main__":
    main()
