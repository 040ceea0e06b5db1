"""Executes the solved lessons, measures them, and writes the site: ``python -m tools.run_course`` (``make course``).

A lesson that is done is kept in build/executed and is not run again until it, the helpers, the packages or the budget
change. ``--force`` runs everything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbclient.util import ensure_async
from nbformat import NotebookNode

from tools import lesson, site

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "scikit-image", "matplotlib")
_SOURCES = (".py", ".html", ".js", ".css")  # of helpers and the pages of its explorers
_SETTINGS = ("COURSE_BUDGET", "COURSE_DEVICE", "DATA_DIR")
_LONGEST_CELL = 3600  # seconds; longer than any cell should take, so that a hang ends


@dataclass
class Memory:
    """The most memory that the child processes of this one held, in MB, sampled four times a second."""

    peak: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def now(self) -> float:
        """MB held now by the children: the kernel and what it started."""
        total = 0
        for child in psutil.Process().children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
        self.peak = max(self.peak, total / 1e6)
        return total / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            self.now()


class Progress:
    """One line a lesson: rewritten in place on a terminal, else printed when the lesson ends and every half minute."""

    def __init__(self, name: str, before: list[float], later: float | None) -> None:
        """``before``: seconds of each cell in the last run; ``later``: those of the lessons after this one."""
        self._name, self._before, self._later = name, before, later
        self._start = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def cell(self, number: int, total: int) -> None:
        """Cell ``number`` of ``total`` begins (counted from 1)."""
        if sys.stdout.isatty():
            print(f"\r\033[K{self._line(number, total)}", end="", flush=True)
        elif time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            print(self._line(number, total), flush=True)

    def end(self, text: str) -> None:
        """The lesson's last line."""
        print(("\r\033[K" if sys.stdout.isatty() else "") + f"{self._name}  {text}", flush=True)

    def _line(self, number: int, total: int) -> str:
        left = ""
        if len(self._before) == total and self._later is not None:
            left = f" · about {_clock(sum(self._before[number - 1 :]) + self._later)} left"
        return f"{self._name}  cell {number} of {total} · {_clock(self.seconds)}{left}"


class LessonFailed(RuntimeError):
    """A lesson stopped; the text says where and why, in a few lines."""


def execute(notebook: NotebookNode, name: str, folder: Path, progress: Progress) -> dict:
    """Run a notebook in place with ``folder`` as its kernel's folder, and return what was measured.

    Raises:
        LessonFailed: a cell raised, took over an hour, or its kernel died.
    """
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    last_setup = max((i for i in code if "setup" in notebook.cells[i].metadata.get("tags", ())), default=-1)
    begun, seconds, libraries, place, interrupted = 0.0, [], 0.0, 0, None

    def stop() -> None:
        nonlocal interrupted
        interrupted = asyncio.ensure_future(ensure_async(client.km.interrupt_kernel()))

    def start(cell: NotebookNode, cell_index: int) -> None:
        nonlocal begun, place
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; another thread
            # nbclient's own handler kills the kernel, which would look as if it had died
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
        if interrupted:  # the cell before took the Ctrl-C for itself, as a training loop does
            raise KeyboardInterrupt
        if cell.cell_type == "code":
            begun, place = time.monotonic(), cell_index
            progress.cell(code.index(cell_index) + 1, len(code))

    def done(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        nonlocal libraries
        seconds.append(round(time.monotonic() - begun, 2))
        if cell_index == last_setup:
            libraries = memory.now()

    client = NotebookClient(
        notebook,
        timeout=_LONGEST_CELL,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # a kernel's remarks on its own start say nothing about the lesson
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,  # no Python runs behind a page: the explorers' stills are shown instead
        on_cell_start=start,
        on_cell_executed=done,
    )
    with Memory() as memory:
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            progress.end("stopped")
            if interrupted or getattr(error, "ename", "") == "KeyboardInterrupt":
                raise KeyboardInterrupt from None
            raise LessonFailed(_failure(name, notebook.cells[place], code.index(place) + 1, len(code), error)) from None
    return {
        "seconds": round(progress.seconds, 1),
        "peak_mb": round(memory.peak),
        "libraries_mb": round(libraries),
        "cells": seconds,
    }


def _failure(name: str, cell: NotebookNode, number: int, total: int, error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        why = f"{error.ename}: {error.evalue}"
    elif isinstance(error, CellTimeoutError):
        why = f"it ran for over {_LONGEST_CELL // 60} minutes"
    else:
        why = "its Python stopped: most often the machine had no memory left"
    source = cell.source.strip().split("\n")
    shown = "\n".join(f"    {line}" for line in source[:6]) + ("\n    ..." if len(source) > 6 else "")
    return f"{name} stopped in code cell {number} of {total}:\n{shown}\n{why}"


def key(source: Path) -> str:
    """What a lesson's outputs depend on: its text, the helpers, the budget and device, the packages."""
    digest = hashlib.sha256(source.read_bytes())
    files = sorted(path for path in (lesson.ROOT / "helpers").rglob("*.*") if path.suffix in _SOURCES)
    for path in [lesson.LESSONS / "_setup.py", *files]:
        digest.update(path.read_bytes())
    versions = {name: _version(name) for name in _PACKAGES}
    digest.update(json.dumps([versions, platform.python_version(), _settings()]).encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _settings() -> dict[str, str]:
    return {name: os.environ.get(name, "") for name in _SETTINGS}


def _images_here() -> list[str]:
    """Names of what lies in the folder of downloads: when that changes, a lesson may have more to show."""
    folder = Path(os.environ.get("DATA_DIR") or lesson.ROOT / "data").expanduser()
    ours = {"README.md", "cache", ".gitkeep"}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.is_dir() else []


def machine_line() -> tuple[str, str]:
    """(budget, a line on the machine), as the lessons themselves find them."""
    import torch

    from helpers import machine

    here = machine.device()
    name = torch.cuda.get_device_name(here) if here.type == "cuda" else _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    versions = f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}"
    return machine.budget(), f"{name}, {cores} CPU cores, {memory:.0f} GB, {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run(lessons: list[Path], build: Path, *, force: bool = False) -> int:
    """Run the lessons that need it, write the site, and return how many were run.

    Raises:
        LessonFailed: what was done before stays, and the next run goes on there.
    """
    executed, measured_file, done_file = build / "executed", build / "measured.json", build / "done.json"
    executed.mkdir(parents=True, exist_ok=True)
    done, measured = site.read_json(done_file), site.read_json(measured_file)
    if done.get("images") != _images_here():
        done = {}
    keys = {source.stem: key(source) for source in lessons}
    todo = [
        source
        for source in lessons
        if force or done.get(source.stem) != keys[source.stem] or not (executed / f"{source.stem}.ipynb").exists()
    ]
    if kept := len(lessons) - len(todo):
        print(f"{kept} of {len(lessons)} lessons are done already (--force runs them again)")
    if todo:
        budget, line = machine_line()
        now = measured.setdefault(budget, {"machine": line, "lessons": {}})
        before = site.read_json(lesson.ROOT / "docs" / "measured.json").get(budget, {}).get("lessons", {})
        before = {**before, **now["lessons"]}
    try:
        for i, source in enumerate(todo):
            later = [before.get(other.stem, {}).get("seconds") for other in todo[i + 1 :]]
            last = before.get(source.stem, {}).get("cells", [])
            progress = Progress(source.stem, last, None if None in later else sum(later))
            notebook = lesson.solved(source)
            result = execute(notebook, source.stem, lesson.NOTEBOOKS, progress)
            notebook.metadata["course"] = {**result, "budget": budget}
            _write(executed / f"{source.stem}.ipynb", nbformat.writes(notebook))
            now["machine"], now["lessons"][source.stem] = line, result
            done[source.stem] = keys[source.stem]
            _write(measured_file, json.dumps(measured, indent=1))
            _write(done_file, json.dumps(done, indent=1))
            cells = len(result["cells"])
            progress.end(f"{cells} cells · {_clock(result['seconds'])} · at most {result['peak_mb']:,.0f} MB")
    finally:
        done["images"] = _images_here()
        _write(done_file, json.dumps(done, indent=1))
    return len(todo)


def _write(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="lessons to run, by number or name (all of them)")
    parser.add_argument("--lessons", type=Path, default=lesson.LESSONS)
    parser.add_argument("--build", type=Path, default=site.BUILD)
    parser.add_argument("--force", action="store_true", help="run also what is done already")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for people who watch: saved notebooks don't keep them
    lessons = lesson.sources(options.lessons)
    known = {path.stem for path in lessons}
    if options.only:
        lessons = [path for path in lessons if path.stem in options.only or path.stem[:2] in options.only]
    if not lessons:
        print(f"There is no lesson {' '.join(options.only)} in {options.lessons}.")
        return 1
    for path in (options.build / "executed").glob("*.ipynb"):
        if path.stem not in known:  # a lesson that was renamed or deleted
            path.unlink()
    start = time.monotonic()
    try:
        count = run(lessons, options.build, force=options.force)
    except LessonFailed as failure:
        print(failure)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The lessons that are done are kept: run it again to go on.")
        return 130
    index = site.write(options.build)
    print(f"{count} lessons run in {_clock(time.monotonic() - start)}. Open {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
