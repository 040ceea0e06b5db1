"""What this machine is, and what it allows: device, budget, folders, seeds."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent


def device() -> torch.device:
    """The fastest device here: CUDA, then Apple's MPS, then the CPU. ``COURSE_DEVICE`` overrides it."""
    if wanted := os.environ.get("COURSE_DEVICE"):
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def budget() -> str:
    """``"full"`` on a GPU and ``"quick"`` elsewhere, unless ``COURSE_BUDGET`` says which.

    Quick runs the same code on smaller images, for fewer epochs and seeds.
    """
    wanted = os.environ.get("COURSE_BUDGET", "").strip().lower()
    if wanted not in ("", "quick", "full"):
        raise ValueError(f"COURSE_BUDGET is {wanted!r}: it must be 'quick' or 'full'.")
    return wanted or ("quick" if device().type == "cpu" else "full")


def data_dir() -> Path:
    """The folder for images that were downloaded: ``DATA_DIR``, or ``data/`` of the course."""
    return Path(os.environ.get("DATA_DIR") or ROOT / "data").expanduser()


@cache
def cache_dir() -> Path:
    """The folder for what can be computed again: ``COURSE_CACHE``, or ``data/cache`` of the course.

    Where that can't be written, a temporary folder is used instead, and one line says so.
    """
    wanted = Path(os.environ.get("COURSE_CACHE") or ROOT / "data" / "cache").expanduser()
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError as error:
        fallback = Path(tempfile.mkdtemp(prefix="course-cache-"))
        print(f"{wanted} can't be written ({error.strerror}): caches go to {fallback} and last until it is cleaned.")
        return fallback


def keep_memory() -> None:
    """Freed memory stays with this process, for the next batch. Called once, when ``helpers`` is imported.

    glibc gives large blocks back when they are freed, so that each step of a training loop waits while the system
    clears new pages for maps that it has just let go. Kept, a step of Lite0 with 16 images of 224 pixels takes
    0.74 to 0.87 of the time, on two cores (``benchmarks/step.py``). ``COURSE_MEMORY=system`` leaves all as it was.
    """
    if _glibc() and os.environ.get("COURSE_MEMORY") != "system":  # other allocators keep theirs, or can't be told
        mmap_max, trim_threshold = -4, -1  # as glibc's malloc.h numbers them
        ctypes.CDLL(None).mallopt(mmap_max, 0)
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)


def give_memory_back() -> None:
    """What ``keep_memory`` kept goes back to the system: after long work, for other notebooks. Takes milliseconds."""
    if _glibc() and os.environ.get("COURSE_MEMORY") != "system":
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _glibc() -> bool:
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"  # elsewhere libc_ver may raise


keep_memory()


def tidy(folder: Path, pattern: str) -> None:
    """Delete the files in ``folder`` that killed processes left: those nobody has written to for an hour."""
    for old in folder.glob(pattern):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > 3600:
                old.unlink()


def file_name(text: str) -> str:
    """A part of a file's name that every system takes: some are particular about signs, and none likes 250 letters."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", text)[:80]


def keep(file: Path, content: bytes | memoryview) -> str:
    """Write a file of a cache whole or not at all; returns "", or why it can't be written."""
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tidy(file.parent, f".{file.name}.*.part")
        aside.write_bytes(content)
        os.replace(aside, file)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        return error.strerror or str(error)
    return ""


@contextmanager
def room(what: str, advice: str) -> Iterator[None]:
    """``with room("a batch of 64 images", "take fewer"):`` turns "out of memory" into one line that says so.

    CUDA, MPS, the CPU and NumPy word it in different ways. Raises RuntimeError.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        if isinstance(error, RuntimeError) and "out of memory" not in said and "you tried to allocate" not in said:
            raise
        error.__traceback__ = None  # its frames would keep the batch in memory
        raise RuntimeError(f"There is not enough memory for {what}: {advice}.") from None


def sealed(text: str) -> str:
    """The text under its checksum: what a file of the cache holds."""
    return f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}\n{text}"


def unsealed(content: str) -> str | None:
    """The text that was sealed; ``None`` when it has changed since."""
    text = content.partition("\n")[2]
    return text if content == sealed(text) else None


def reason(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing: for a message of our own."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def describe() -> str:
    """One line for the head of a lesson: device, budget, versions."""
    here = device()
    name = torch.cuda.get_device_name(here) if here.type == "cuda" else f"{os.cpu_count()} CPU cores"
    if here.type == "mps":
        name = "Apple GPU"
    return f"{here.type} ({name}) · budget: {budget()} · Python {platform.python_version()} · torch {torch.__version__}"
