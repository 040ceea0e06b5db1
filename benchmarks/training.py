"""Training throughput, images a second, of one epoch through all layers: ``python benchmarks/training.py``.

The same images (files on the disk), network, image size, batch and crops-and-flips for everybody:

- ours: ``helpers.training.fit``;
- plain loop: dataset, workers, transforms, loop and ``.item()`` as in the usual PyTorch tutorial;
- fastai, Lightning: their own loaders and loops, channels_last, where they are installed (``pip install fastai
  lightning``);
- ceiling: PyTorch's forward, backward and step on one batch that is there already, channels_last. Only other kernels
  can be faster: ours has one, for small depthwise maps (``helpers.depthwise``);
- ceiling, compiled (``--compiled``): the same through ``torch.compile``, its minute of compiling left out.

On a CPU each arm is a process of its own. Ours and the ceiling keep freed memory (``helpers.machine.keep_memory``), the
others leave it to the system; "Lightning, memory kept" and "ceiling, system's memory" are the other way round. On a GPU
all are one process, images and batches are larger, and the ceiling is also recorded as a CUDA graph ("replayed").

The first epoch of each turn warms up; the second one counts. ``--precision bf16`` is for processors that have units for
it (AMX): ours, fastai, Lightning and the ceiling then use it; the plain loop doesn't know it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from common import apart, keep, take_turns
from PIL import Image
from torch import nn
from torch.nn import functional as F

from helpers import augmentation, backbones, datasets, machine, training

ON_GPU = machine.device().type == "cuda"
WORKERS = min(16 if ON_GPU else 4, os.cpu_count() or 1)
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


def _loader(folder: Path, size: int, batch: int) -> torch.utils.data.DataLoader:
    """As in the tutorials: each image decoded, cropped and flipped by a worker."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.RandomResizedCrop(size, (0.4, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    files = ImageFolder(str(folder), transforms.Compose(steps))
    options = {"num_workers": WORKERS, "persistent_workers": WORKERS > 0, "pin_memory": ON_GPU}
    return torch.utils.data.DataLoader(files, batch, shuffle=True, **options)


def plain(name: str, folder: Path, images: int, size: int, batch: int, precision: str) -> float:
    loader = _loader(folder, size, batch)
    device = machine.device()
    model = network(name, len(loader.dataset.classes)).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(2):
        start, loss_sum, correct = time.perf_counter(), 0.0, 0
        model.train()
        for pixels, labels in loader:
            pixels, labels = pixels.to(device).float(), labels.to(device)
            optimiser.zero_grad()
            scores = model(pixels)
            loss = F.cross_entropy(scores, labels)
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(pixels)
            correct += (scores.argmax(1) == labels).sum().item()
        seconds = time.perf_counter() - start
    return len(loader.dataset) / seconds


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
            _wait()
            self.learn.last_seconds = time.perf_counter() - self.start

    data = ImageDataLoaders.from_folder(
        folder,
        valid_pct=0.02,
        item_tfms=RandomResizedCrop(size, min_scale=0.4),
        batch_tfms=aug_transforms(max_rotate=0, max_lighting=0, max_warp=0, max_zoom=1.0),
        bs=batch,
        num_workers=WORKERS,
        persistent_workers=ON_GPU,
    )
    learner = Learner(data, network(name, data.c), loss_func=CrossEntropyLossFlat(), cbs=[Clock()])
    learner.to_channelslast(use_amp=ON_GPU)  # and on a GPU fp16
    if not ON_GPU and precision == "bf16":
        learner.to_bf16()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(2)
    return len(data.train) * batch / learner.last_seconds


def with_lightning(name: str, folder: Path, images: int, size: int, batch: int, precision: str) -> float:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network(name, len(loader.dataset.classes))

        def on_train_epoch_start(self):
            self.start = time.perf_counter()

        def on_train_epoch_end(self):
            _wait()
            self.seconds = time.perf_counter() - self.start

        def training_step(self, parts, _):
            pixels = parts[0].float().contiguous(memory_format=torch.channels_last)
            return F.cross_entropy(self.net(pixels), parts[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)

    loader = _loader(folder, size, batch)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    half = training._half(precision, machine.device())
    precision = {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}[half]
    module = Module()
    module.net.to(memory_format=torch.channels_last)  # as PyTorch's guide to tuning advises, on a CPU too
    if ON_GPU:
        quiet["benchmark"] = True
    lightning.Trainer(max_epochs=2, precision=precision, **quiet).fit(module, loader)
    return len(loader.dataset) / module.seconds


def ceiling(name: str, folder: Path, images: int, size: int, batch: int, precision: str, how: str = "eager") -> float:
    device = machine.device()
    model = network(name, CLASSES).to(device, memory_format=torch.channels_last).train()
    run = torch.compile(model) if how == "compiled" else model
    options = {"fused": device.type in ("cuda", "cpu"), "capturable": how == "replayed"}
    optimiser = torch.optim.AdamW(model.parameters(), **options)
    pixels = (torch.rand(batch, 3, size, size, device=device) * 255).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    steps = -(-images // batch)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with training._autocast(precision, device):
            loss = F.cross_entropy(run(pixels).float(), labels)
        loss.backward()
        optimiser.step()

    if how == "replayed":
        for _ in range(3):
            step()
        graph = torch.cuda.CUDAGraph()
        optimiser.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            step()
    for _ in range(2):
        _wait()
        start = time.perf_counter()
        for _ in range(steps):
            graph.replay() if how == "replayed" else step()
        _wait()
        seconds = time.perf_counter() - start
    return steps * batch / seconds


def _alone(measure: Callable[..., float], *what: object) -> float:
    torch.backends.cudnn.benchmark = False  # Lightning sets it, and leaves it so
    return measure(*what)


def _wait() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def the_images(count: int) -> datasets.ImageSet:
    """Solar cells, evenly spaced in their set, or several times all of them."""
    whole = datasets.load("solar-cells", size=256)
    step = max(1, len(whole) // count)
    return whole.subset(torch.arange(count) * step % len(whole))


def write(image_set: datasets.ImageSet, folder: Path) -> None:
    """Class folders of JPEG files, for those who read files."""
    for name in image_set.classes:
        (folder / name).mkdir(exist_ok=True)

    def one(i: int) -> None:
        pixels = image_set.images[i].permute(1, 2, 0).squeeze(-1).numpy()
        place = folder / image_set.classes[image_set.labels[i]] / f"{i}.jpg"
        Image.fromarray(pixels).convert("RGB").save(place, quality=92)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(image_set))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks = ["efficientnet_lite0", "resnet18", *(["vgg16"] if ON_GPU else [])]
    parser.add_argument("--networks", nargs="*", default=networks)
    parser.add_argument("--images", type=int, default=8192 if ON_GPU else 384)
    parser.add_argument("--size", type=int, default=224 if ON_GPU else 128)
    parser.add_argument("--batch", type=int, default=64 if ON_GPU else 32)
    parser.add_argument("--precision", choices=["auto", "bf16"], default="auto")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # the peers' own
    arms = {"ours": (ours, "kept"), "plain loop": (plain, "system")}
    arms |= {"fastai": (with_fastai, "system")} if importlib.util.find_spec("fastai") else {}
    arms |= {"Lightning": (with_lightning, "system")} if importlib.util.find_spec("lightning") else {}
    arms["ceiling"] = (ceiling, "kept")
    if ON_GPU:
        arms["ceiling, replayed"] = (partial(ceiling, how="replayed"), "kept")
    else:
        last = "Lightning" if "Lightning" in arms else "plain loop"
        arms |= {f"{last}, memory kept": (arms[last][0], "kept"), "ceiling, system's memory": (ceiling, "system")}
    arms |= {"ceiling, compiled": (partial(ceiling, how="compiled"), "kept")} if options.compiled else {}
    kind = machine.device().type + ("" if options.precision == "auto" else f"-{options.precision}")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        write(the_images(options.images), Path(folder))
        for name in options.networks:
            print(f"{name}, {options.images} images of {options.size} pixels, batch {options.batch}")
            what = (name, Path(folder), options.images, options.size, options.batch, options.precision)
            if ON_GPU:
                ready = {arm: partial(_alone, measure, *what) for arm, (measure, _) in arms.items()}
            else:
                ready = {arm: partial(apart, measure, *what, memory=memory) for arm, (measure, memory) in arms.items()}
            figures[name] = take_turns(ready, options.rounds)
            keep(f"training-{kind}", figures, "images/s", settings=vars(options))


if __name__ == "__main__":
    main()
