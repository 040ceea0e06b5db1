"""Decoding and augmentation, images a second: ``python benchmarks/augment.py``. Crop, flip and light for all.

- torchvision from files: decode and augment image by image in worker processes, as tutorials do every epoch;
- torchvision per image: the same transforms (v2) on pixels that are decoded already;
- Kornia: a batch at once, each image with its own random numbers;
- ours: ``helpers.augmentation``, a batch at once. Decoding happened once, when the set was loaded.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kornia.augmentation as K
import torch
from common import keep, take_turns
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from training import WORKERS, write

from helpers import augmentation, datasets, machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size, device = options.size, machine.device()
    image_set = datasets.load("solar-cells", size=size, channels=3).subset(torch.arange(options.images))
    light = 0.2
    alone = v2.Compose(
        (
            v2.RandomResizedCrop(size, (0.4, 1.0), antialias=False),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(light, light),
        )
    )
    kornia = torch.nn.Sequential(
        K.RandomResizedCrop((size, size), (0.4, 1.0)), K.RandomHorizontalFlip(), K.ColorJiggle(light, light)
    ).to(device)
    crops, jitter = augmentation.RandomAffine(area=(0.4, 1.0)), augmentation.ColourJitter(light, light)
    ours = augmentation.Compose((crops, jitter))
    generator = torch.Generator(device).manual_seed(0)

    def batches(change: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """Images a second of ``change`` on float batches, from uint8 pixels."""
        change(image_set.images[: options.batch].to(device).float())
        start = time.perf_counter()
        for pixels in image_set.images.split(options.batch):
            last = change(pixels.to(device).float())
        last.sum().item()  # waits for a GPU
        return len(image_set) / (time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        write(image_set, Path(folder))
        files = ImageFolder(folder, v2.Compose((v2.PILToTensor(), alone)))
        loader = torch.utils.data.DataLoader(files, options.batch, num_workers=WORKERS, persistent_workers=True)

        def from_files() -> float:
            start = time.perf_counter()
            for pixels, _ in loader:
                pixels.to(device).float()
            return len(image_set) / (time.perf_counter() - start)

        from_files()  # starts the workers
        arms = {
            "torchvision, from files": from_files,
            "torchvision, per image": lambda: batches(lambda pixels: torch.stack([alone(one) for one in pixels])),
            "Kornia": lambda: batches(lambda pixels: kornia(pixels / 255) * 255),
            "ours": lambda: batches(lambda pixels: ours(pixels, generator)),
        }
        figures = {f"crop, flip, light; {size} pixels": take_turns(arms, options.rounds)}
    keep(f"augment-{device.type}", figures, "images/s", settings=vars(options))


if __name__ == "__main__":
    main()
