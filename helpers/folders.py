"""Which images and classes a folder or a zip file holds; nothing is decoded here."""

from __future__ import annotations

import itertools
import os
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jfif"}
PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}
PART_NAMES = ("train", "validation", "test")
LARGEST_FILE = 300_000_000  # bytes; an image file above this is not read


@dataclass
class Listing:
    """What an image set consists of, before anything is decoded. ``read(i)`` gives the bytes of file ``i``.

    ``part``, ``soft``, ``strata`` and ``train_per_class`` are those of ``datasets.ImageSet``; ``size`` is that of the
    images when nobody asks for another, ``notes`` are lines to print.
    """

    name: str
    files: list[str]
    labels: list[int]
    classes: list[str]
    read: Callable[[int], bytes] | None = None
    stamp: object = None  # anything JSON can hold that changes when a file changes
    part: list[int] | None = None
    soft: list[tuple[float, ...]] | None = None
    strata: list[int] | None = None
    size: int = 224
    train_per_class: int | None = None
    notes: list[str] = field(default_factory=list)


def from_folder(folder: str | os.PathLike) -> Listing:
    """The image files below a folder. Hidden files and folders are left out; links to folders are followed."""
    root = Path(folder).expanduser()
    paths, folders = [], []
    for top, below, files in os.walk(root, followlinks=True):
        here = Path(top)
        around = {folder.resolve() for folder in (here, *here.parents)}  # a link back to one of them has no end
        below[:] = sorted(d for d in below if _visible(d) and (here / d).resolve() not in around)
        folders.append(here.relative_to(root).as_posix())
        paths += [(here / f).relative_to(root).as_posix() for f in sorted(files) if _visible(f)]
    found = _arrange(paths, folders, str(folder))

    def read(i: int) -> bytes:
        path = root / found.files[i]
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"more than {LARGEST_FILE // 10**6} MB")
        return path.read_bytes()

    found.name, found.read = root.resolve().name, read
    found.stamp = [str(root.resolve()), [_stamp(root / file) for file in found.files]]
    return found


def from_zip(path: str | os.PathLike) -> Listing:
    """The image files in a zip file, which are read where they are: nothing is unpacked onto the disk."""
    path = Path(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path} is not a whole zip file ({error}).") from error
    members = {info.filename: info for info in archive.infolist()}
    names = sorted(name for name in members if all(map(_visible, PurePosixPath(name).parts)))
    files = [name for name in names if not name.endswith("/")]
    found = _arrange(files, [name for name in names if name.endswith("/")], str(path))

    def read(i: int) -> bytes:
        info = members[found.files[i]]
        if info.flag_bits & 1:
            raise ValueError("it needs a password: unpack the archive first")
        if info.file_size > LARGEST_FILE:
            raise ValueError(f"more than {LARGEST_FILE // 10**6} MB")
        return archive.read(info)

    found.name, found.read = path.stem, read
    found.stamp = [(members[file].CRC, members[file].file_size) for file in found.files]
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    except OSError:  # a link to nowhere: reading it will say so
        return -1, 0


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _arrange(paths: list[str], folders: list[str], where: str) -> Listing:
    """Classes and parts from the relative paths (with "/") of files and folders; no ``read``, ``stamp`` yet."""
    notes = []
    steps = {path: PurePosixPath(path).parts[:-1] for path in paths if Path(path).suffix.lower() in SUFFIXES}
    if not steps:
        raise ValueError(f"{where} holds no images ({', '.join(sorted(SUFFIXES))}).")
    # Folders around everything are passed over, but a folder that holds all images is a class.
    first, last = min(steps.values()), max(steps.values())
    outer = tuple(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    if len({folder[len(outer)] for folder in steps.values() if len(folder) > len(outer)}) < 2:
        outer = outer[:-1]
    inside = {path: folder[len(outer) :] for path, folder in steps.items()}
    kinds = {PARTS[folder[0].lower()] for folder in inside.values() if len(folder) > 1 and folder[0].lower() in PARTS}
    divided = 0 in kinds and len(kinds) > 1
    depth = 2 if divided else 1

    def belongs(folder: Sequence[str]) -> bool:
        return len(folder) >= depth and (not divided or folder[0].lower() in PARTS)

    used = {path: folder for path, folder in inside.items() if belongs(folder)}
    if len(used) < len(inside):
        lost = [path for path in inside if path not in used]
        notes.append(f"{len(lost)} images outside the class folders are left out: {few(lost)}.")

    def class_of(folder: Sequence[str]) -> str:
        return unicodedata.normalize("NFC", folder[depth - 1]).strip().casefold()

    spelled = defaultdict(set)  # (part, class): how its folder is written
    for folder in used.values():
        spelled[PARTS[folder[0].lower()] if divided else None, class_of(folder)].add(folder[depth - 1])
    merged = sorted({name for names in spelled.values() if len(names) > 1 for name in names})
    if merged:
        notes.append(f"folders that differ in case only are one class: {', '.join(merged)}.")
    classes = sorted({name for _, name in spelled})
    bare = (PurePosixPath(folder).parts for folder in folders)
    bare = [folder[len(outer) :] for folder in bare if folder[: len(outer)] == outer]
    empty = sorted({class_of(f) for f in bare if len(f) == depth and belongs(f)} - set(classes))
    if empty:
        notes.append(f"class folders without images are left out: {', '.join(empty)}.")
    if len(classes) < 2:
        held = f"one class only ({classes[0]})" if classes else "no class folders"
        raise ValueError(f"{where} holds {held}. Make one folder a class, with the class's images in it.")
    for part in sorted(kinds) if divided else ():
        absent = [name for name in classes if (part, name) not in spelled]
        if absent:
            notes.append(f"the {PART_NAMES[part]} part has no images of {', '.join(absent)}.")
    return Listing(
        name="",
        files=list(used),
        labels=[classes.index(class_of(folder)) for folder in used.values()],
        classes=classes,
        part=[PARTS[folder[0].lower()] for folder in used.values()] if divided else None,
        notes=notes,
    )


def few(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    names = [name.encode("utf-8", "replace").decode() for name in names]  # odd bytes in file names must be printable
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
