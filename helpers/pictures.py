"""Image files, however odd, as uint8 numbers of one size; a whole set of them as one array, decoded once.

The array is a .npy file in the cache, mapped into memory; the .json beside it holds what was found out while decoding.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import secrets
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from helpers import machine
from helpers.folders import Listing, few

MOST_PIXELS = 80_000_000  # more is taken for a decompression bomb; PIL itself warns from 89 million on


def decode(data: bytes, size: int, channels: int | None = None) -> np.ndarray:
    """An image file's bytes as uint8 (C, size, size): all of the scene, in other proportions; bicubic, antialiased.

    channels: 1 or 3; None gives 1 where the three colour channels are equal everywhere.
    Raises an exception (ValueError, OSError, or what PIL's plugins raise) for what can't be read.
    """
    if not data:
        raise ValueError("empty file")
    image = upright(data, smallest=2 * size)
    if channels == 1:
        image = image.convert("L")
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if channels is None and len(pixels) == 3 and (pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all():
        pixels = pixels[:1]
    return np.repeat(pixels, 3, axis=0) if channels == 3 and len(pixels) == 1 else pixels


def upright(data: bytes, smallest: int | None = None) -> Image.Image:
    """An image file's bytes as a PIL image in mode "L" or "RGB": first frame, turned as its EXIF says, on white.

    smallest: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as no side falls below this (much faster).
    """
    image = Image.open(io.BytesIO(data))
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS // 10**6} million")
    if smallest:
        image.draft(image.mode, (smallest, smallest))
    image.load()
    with contextlib.suppress(Exception):  # EXIF is free text to many cameras: a broken one must not cost the image
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def reason(error: Exception) -> str:
    """A few words on why an image can not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "no image"
    return machine.reason(error)


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit or float pixels (H, W) as uint8, by the smallest usual range that holds this image.

    Integers: 8, 12 or 16 bits. Floats: 0-1, then 0-255. Anything else, and negative values: from lowest to highest.
    """
    floating = values.dtype.kind == "f"
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    lowest, highest = values.min(), values.max()
    tops = (1.0, 255.0) if floating else (255, 4095, 65535)
    top = next((top for top in tops if lowest >= 0 and highest <= top), None)
    if top is None:
        values, top = values - lowest, highest - lowest
    return np.round(values * (255 / (top or 1))).astype(np.uint8)


# ---------------------------------------------------------------- many images, stored as one array


def decoded(listing: Listing, size: int, channels: int | None) -> tuple[np.ndarray, dict]:
    """The images, uint8 (N, C, size, size), mapped from the cache, and their description: a dictionary.

    It has ``labels``, ``classes``, ``rows`` (which of the listing's images could be read), ``notes`` for the user, and
    ``digest``, a hash of all pixels. Raises ValueError when fewer than two classes can be read, OSError.
    """
    content = [3, listing.stamp, listing.files, listing.labels, listing.classes, listing.part, size, channels]
    key = hashlib.blake2b(json.dumps(content).encode(), digest_size=6).hexdigest()
    path = machine.cache_dir() / "images" / f"{machine.file_name(listing.name)}-{size}-{key}.npy"
    beside = path.with_suffix(".json")
    if beside.exists():
        try:
            return _kept(path, beside)
        except Exception as error:  # NumPy raises six kinds for a damaged header, SyntaxError among them
            print(f"{listing.name}: the cache {path.name} is damaged ({error}); the images are decoded again.")
    result = store(path, listing, size, channels)
    text = json.dumps(_described(listing, result), indent=0)
    if why := machine.keep(beside, machine.sealed(text).encode()):
        raise OSError(f"{beside} can't be written: {why}")
    return _kept(path, beside)


def _kept(path: Path, beside: Path) -> tuple[np.ndarray, dict]:
    """Images and description from the cache. Raises OSError, ValueError ... if either was damaged.

    Mapped "copy on write": nobody changes the file by accident, and torch gets an array that it may write to.
    """
    if (text := machine.unsealed(beside.read_text(encoding="utf-8"))) is None:
        raise ValueError("its description has changed")
    kept = json.loads(text)
    pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    if pixels.dtype != np.uint8 or list(pixels.shape) != kept["shape"]:
        raise ValueError(f"{pixels.dtype} {pixels.shape} instead of uint8 {kept['shape']}")
    with open(path, "rb") as file:  # read, not mapped: pages that were only checked don't count as ours
        file.seek(pixels.offset)
        if hashlib.file_digest(file, "sha256").hexdigest() != kept["digest"]:
            raise ValueError("wrong checksum")
    return pixels, kept


def _described(listing: Listing, result: Stored) -> dict:
    """Labels, classes and notes of the images that could be read. Raises ValueError when one class is left."""
    present = sorted({listing.labels[i] for i in result.rows})
    classes = [listing.classes[label] for label in present]
    notes = []
    if result.skipped:
        named = few([f"{listing.files[i]} ({why})" for i, why in result.skipped])
        notes.append(f"{len(result.skipped)} of {len(listing.files)} images can't be read and are left out: {named}.")
    if len(classes) < len(listing.classes):
        gone = [name for name in listing.classes if name not in classes]
        notes.append(f"classes of which no image can be read are left out: {', '.join(gone)}.")
    if len(classes) < 2:
        raise ValueError(f"{listing.name}: only one class has images that can be read. {' '.join(notes)}")
    labels = [present.index(listing.labels[i]) for i in result.rows]
    found = {"labels": labels, "classes": classes, "notes": notes + _copies(listing, result.copies)}
    return found | {"rows": result.rows, "shape": result.shape, "digest": result.digest}


def _copies(listing: Listing, groups: list[list[int]]) -> list[str]:
    """A line when files are equal byte for byte; it names the worst: in two parts, with two labels, or only copies."""

    def shown(chosen: list[list[int]]) -> str:
        return few([f"{listing.files[group[0]]} = {listing.files[group[-1]]}" for group in chosen], most=2)

    leaked = [group for group in groups if listing.part and len({listing.part[i] for i in group}) > 1]
    torn = [group for group in groups if len({listing.labels[i] for i in group}) > 1]
    if leaked:
        return [f"pictures that are in two parts at once, so that results flatter: {len(leaked)} ({shown(leaked)})."]
    if torn:
        return [f"pictures that are there more than once: {len(groups)}; with two labels: {len(torn)} ({shown(torn)})."]
    return [f"pictures that are there more than once: {len(groups)} ({shown(groups)})."] if groups else []


class Stored(NamedTuple):
    """What became of the images that were to be stored."""

    shape: tuple[int, int, int, int]
    rows: list[int]  # which of them could be read
    skipped: list[tuple[int, str]]  # which could not, and why
    copies: list[list[int]]  # groups whose files are equal byte for byte
    digest: str  # of all pixels


def store(path: Path, listing: Listing, size: int, channels: int | None = None) -> Stored:
    """Decode a listing's images into ``path``, a .npy file of uint8 (N, C, size, size).

    They are written one after another, so they need not fit into memory; the file gets its name when all is
    there. channels None: 1 if all are gray, else 3. Raises ValueError when none can be read, OSError.
    """

    def attempt(i: int, channels: int | None) -> tuple[str, np.ndarray | None, str]:
        try:
            data = listing.read(i)
            return hashlib.sha256(data).hexdigest(), decode(data, size, channels), ""
        except Exception as error:  # PIL's plugins raise anything for a broken file
            return "", None, reason(error)

    count = len(listing.files)
    path.parent.mkdir(parents=True, exist_ok=True)
    machine.tidy(path.parent, ".*.part")
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        with (
            open(unfinished, "wb") as file,
            ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # PIL warns of odd metadata; what can't be read is named in `skipped`
            stored = _write(file, pool, attempt, count, size, channels, listing.name)
            if stored is None:  # a colour image among gray ones: again, all of them with three channels
                stored = _write(file, pool, attempt, count, size, 3, listing.name)
        if not stored.rows:
            raise ValueError(f"none of {count} images can be read; the first one: {stored.skipped[0][1]}")
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            needed = f"{count * size * size * (channels or 1) / 1e6:.0f} MB of decoded images"
            message = f"no space for {needed}: free some, or set COURSE_CACHE"
            raise OSError(error.errno, message, str(path.parent)) from None
        raise
    finally:
        unfinished.unlink(missing_ok=True)
    return stored


def _write(file, pool, attempt, count: int, size: int, channels: int | None, title: str) -> Stored | None:
    """One pass over the images; None when one turns out to have colours and ``channels`` was not known."""
    rows, skipped, copies = [], [], defaultdict(list)
    digest = hashlib.sha256()

    def header(length: int) -> None:
        file.seek(0)
        shape = (length, channels or 1, size, size)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})

    header(count)
    file.truncate()
    # In chunks, so that never more than one chunk of decoded images waits in memory.
    chunks = (range(start, min(start + 64, count)) for start in range(0, count, 64))
    done = itertools.chain.from_iterable(pool.map(attempt, chunk, itertools.repeat(channels)) for chunk in chunks)
    for i, (of_file, pixels, why) in enumerate(tqdm(done, title, count, leave=False, delay=1)):
        if pixels is None:
            skipped.append((i, why))
            continue
        if len(pixels) != (channels or 1):
            return None
        data = pixels.tobytes()
        file.write(data)
        digest.update(data)
        rows.append(i)
        copies[of_file].append(i)
    header(len(rows))  # NumPy leaves room in a header for the first axis to change
    shape = (len(rows), channels or 1, size, size)
    groups = [group for group in copies.values() if len(group) > 1]
    return Stored(shape, rows, skipped, groups, digest.hexdigest())
