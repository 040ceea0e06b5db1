"""Image sets by name or from a student's folder: found or fetched, decoded once, split with a seed.

>>> scenes = load("15-scene", size=96)
>>> train, test = split(scenes, seed=0)
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from helpers import folders, machine, pictures, sources
from helpers.folders import PART_NAMES, Listing
from helpers.sources import PHOTOGRAPHS as PHOTOGRAPHS
from helpers.sources import NotHere as NotHere

NAMES = {
    "15-scene": sources.scenes,
    "solar-cells": sources.solar_cells,
    "photographs": sources.photographs,
    "digits": sources.digits,
    "pets": sources.pets,
}
_LARGE = 2e9  # bytes
_said: set[str] = set()  # notes that were printed in this process


class Split(NamedTuple):
    """Index tensors (int64) into an image set. They never overlap."""

    train: torch.Tensor
    test: torch.Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size with their labels.

    images: uint8 (N, C, H, W), C = 1 when every image is gray, else 3; usually a file mapped into memory, so that
    a set larger than the memory is no problem. labels: int64 (N,), indices into ``classes``. files: where each
    image came from. soft: float32 (N, K), a probability a class. strata: int64 (N,), what a split must keep in
    proportion beside the labels. part: int8 (N,), 0 train, 1 validation, 2 test, for sets that come divided.
    train_per_class: how many images a class the set's usual protocol trains on.
    """

    name: str
    images: torch.Tensor = field(repr=False)
    labels: torch.Tensor = field(repr=False)
    classes: tuple[str, ...]
    files: tuple[str, ...] = field(repr=False)
    soft: torch.Tensor | None = field(default=None, repr=False)
    strata: torch.Tensor | None = field(default=None, repr=False)
    part: torch.Tensor | None = field(default=None, repr=False)
    train_per_class: int | None = None
    notes: tuple[str, ...] = field(default=(), repr=False)
    digest: tuple[torch.Tensor, str] | None = field(default=None, repr=False)  # images, and the hash of their bytes
    part_of: tuple[ImageSet, torch.Tensor] | None = field(default=None, repr=False)  # a subset: of this set, these rows

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: torch.Tensor | Sequence[int]) -> ImageSet:
        """The images at ``indices``, or under a boolean mask (copied), in that order, with all that belongs to them."""
        rows = torch.as_tensor(indices)
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows.to(torch.int64)
        own = {name: getattr(self, name) for name in ("images", "labels", "soft", "strata", "part")}
        chosen = {name: _rows(values, rows) for name, values in own.items() if values is not None}
        files = tuple(self.files[i] for i in rows.tolist())
        return replace(self, **chosen, files=files, part_of=(self, rows))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when an image or a label changes: a key for caches."""
        hashed, digest = self.digest or (None, "")
        if hashed is not self.images:  # others have been put in their place (dataclasses.replace)
            whole = hashlib.sha256()  # most chips have instructions for it
            for images in self.images.split(256):
                whole.update(images.contiguous().numpy().data)
            digest = whole.hexdigest()
        text = f"{tuple(self.images.shape)} {digest} {self.labels.tolist()}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _rows(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``values[rows]``; where that is large, in a nameless file mapped into memory, as the whole set is."""
    if len(rows) * values.shape[1:].numel() * values.element_size() < _LARGE:
        return values[rows]
    with tempfile.TemporaryFile(dir=machine.cache_dir()) as file:
        copy = torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=(len(rows), *values.shape[1:])))
    for part, chosen in zip(copy.split(256), rows.split(256), strict=True):
        part.copy_(values[chosen])
    return copy


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """(N, C, H, W) in 0-255 -> uint8 (N, C, size, size)."""
    parts = (F.interpolate(p.float(), (size, size), mode="bilinear", antialias=True) for p in images.split(256))
    return torch.cat([part.round().byte() for part in parts])


# ---------------------------------------------------------------- loading


def load(name: str | os.PathLike, size: int | None = None, channels: int | None = None) -> ImageSet:
    """An image set by its name, or a folder or zip file of images.

    name: "15-scene", "solar-cells", "photographs", "digits", "pets" (800 MB the first time), or a path that holds
    a folder a class, or train/ with val/ or test/ of such folders.
    size: height and width; None is the set's own (28 for digits, else 224). All of an image is kept, so its proportions
    change. channels: 1 or 3, None is automatic.
    What a user should know of the set (images that can't be read, copies ...) is printed, a line each.
    Raises NotHere when it can't be had (said once), FileNotFoundError for an unknown name, ValueError for a
    folder without two classes of images.
    """
    if channels not in (None, 1, 3) or (size is not None and size < 1):
        raise ValueError(f"channels is {channels!r} (None, 1, 3), size {size!r} (from 1).")
    listing = _listing(name)
    size = size or listing.size
    pixels, kept = pictures.decoded(listing, size, 1 if channels == 1 else None)
    images = torch.from_numpy(pixels)
    notes = (*listing.notes, *kept["notes"])
    for line in (f"{listing.name}: {note}" for note in notes):
        if line not in _said:
            print(line)
            _said.add(line)
    rows = kept["rows"]

    def column(values: Sequence | None, kind: torch.dtype) -> torch.Tensor | None:
        return None if values is None else torch.tensor([values[i] for i in rows], dtype=kind)

    wide = channels == 3 and images.shape[1] == 1
    return ImageSet(
        name=listing.name,
        images=images.expand(-1, 3, -1, -1) if wide else images,
        labels=torch.tensor(kept["labels"], dtype=torch.int64),
        classes=tuple(kept["classes"]),
        files=tuple(listing.files[i] for i in rows),
        soft=column(listing.soft, torch.float32),
        strata=column(listing.strata, torch.int64),
        part=column(listing.part, torch.int8),
        train_per_class=listing.train_per_class,
        notes=notes,
        digest=(images, kept["digest"]),  # of gray images, repeated for channels=3, it isn't
    )


def photograph(name: str | os.PathLike) -> Image.Image:
    """A photograph as a PIL image in RGB: one of ``PHOTOGRAPHS`` ("cat", "coffee" ...), or an image file."""
    path = Path(name)
    if not path.is_file():
        ours = path.suffix and path.name == str(name)  # "cat.jpg" is our cat, too; "folder/cat.jpg" is not
        path = sources.photograph_file(path.stem if ours else str(name))
    return pictures.upright(path.read_bytes()).convert("RGB")


def _listing(name: str | os.PathLike) -> Listing:
    wanted = str(name).strip().lower().replace("_", "-").replace(" ", "-")
    if wanted in NAMES:
        if Path(name).is_dir():
            print(f"'{name}' is a set of the course; for your folder of that name, write './{name}'.")
        return NAMES[wanted]()
    path = Path(name).expanduser()
    if path.is_dir():
        return folders.from_folder(path)
    if path.is_file():
        return folders.from_zip(path)
    raise FileNotFoundError(f"{str(name)!r} is neither a folder nor one of {', '.join(NAMES)}: check the spelling.")


# ---------------------------------------------------------------- splitting


def split(image_set: ImageSet, seed: int = 0) -> Split:
    """Train and test indices (int64, sorted), by the set's own protocol.

    Sets that come in parts keep them (a validation part joins the training part when there is a test part; take
    it again with ``hold_out``). 15-Scene: 100 images a class to train, all others to test. Solar cells and any
    other set: 75 % to train, 25 % to test, stratified on strata or labels.
    """
    if image_set.part is not None:
        last = int(image_set.part.max())
        test = image_set.part == last
        if last == 0 or test.all():
            raise ValueError(f"{image_set.name} has only its {PART_NAMES[last]} part here: nothing to compare with.")
        return Split(torch.nonzero(~test).flatten(), torch.nonzero(test).flatten())
    if image_set.train_per_class:
        train = few_shot(image_set.labels, image_set.train_per_class, seed, image_set.classes)
        test = torch.ones(len(image_set), dtype=torch.bool)
        test[train] = False
        return Split(train, torch.nonzero(test).flatten())
    strata = image_set.labels if image_set.strata is None else image_set.strata
    split = Split(*hold_out(image_set.labels, 0.25, seed, strata))
    if len(split.test) == 0:
        raise ValueError(f"{image_set.name} has too few images to test on ({len(image_set)}): add some to each class.")
    return split


def few_shot(labels: torch.Tensor, per_class: int, seed: int = 0, classes: Sequence[str] | None = None) -> torch.Tensor:
    """Indices (int64, sorted) into ``labels``: ``per_class`` of each class.

    Nested: with one seed, the 5 of a class are among its 10. Raises ValueError when a class has too few.
    """
    labels = torch.as_tensor(labels)
    if per_class < 1:
        raise ValueError(f"per_class is {per_class}: at least one image a class is needed.")
    chosen = []
    for label in labels.unique().tolist():
        rows = np.flatnonzero(labels.numpy() == label)
        if len(rows) < per_class:
            name = f"class {label}" + (f" ({classes[label]})" if classes else "")
            raise ValueError(f"{name} has {len(rows)} images, {per_class} were asked for: ask for fewer.")
        chosen.append(np.random.default_rng([seed, label]).permutation(rows)[:per_class])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def hold_out(
    labels: torch.Tensor, fraction: float, seed: int = 0, strata: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(train, validation) indices (int64, sorted) into ``labels``; about ``fraction * N`` are held out.

    Each stratum (each class when ``strata`` is None) gives its share, to within one image; a stratum of a single
    image stays in train. Pass ``labels[train]`` and index ``train`` with the result to hold out of a training part.
    """
    strata = np.asarray(labels if strata is None else strata)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}: it must lie between 0 and 1.")
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    shares = np.array([len(group) * fraction for group in groups])
    counts = np.minimum(np.floor(shares), [len(group) - 1 for group in groups]).astype(int)
    # What rounding down left over goes to the strata that lost most by it.
    room = [i for i in np.argsort(counts - shares, kind="stable") if counts[i] + 1 < len(groups[i])]
    for i in room[: max(0, round(fraction * len(strata)) - counts.sum())]:
        counts[i] += 1
    held = np.zeros(len(strata), dtype=bool)
    for number, (group, count) in enumerate(zip(groups, counts, strict=True)):
        held[np.random.default_rng([seed, number]).permutation(group)[:count]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))
