"""Executes the solved lessons, measures them, and writes the site: ``python -m tools.run_course`` (``make course``).

A lesson that is done is kept in build/executed and is not run again until it, the helpers, the packages or the budget
change. ``--force`` runs everything. On a CPU several lessons run at once; ``--at-once 1`` measures each as somebody who
opens it alone finds it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from functools import partial
from importlib import metadata
from pathlib import Path

import nbformat
import psutil

from tools import lesson, site
from tools.execute import Interrupted, Interruption, LessonFailed, execute

_SOURCES = (".py", ".html", ".js", ".css")  # of helpers and the pages of its explorers
_SETTINGS = ("COURSE_BUDGET", "COURSE_DEVICE", "DATA_DIR")


class Progress:
    """Which cells run, and for how long yet: a line rewritten on a terminal, elsewhere printed every half minute."""

    def __init__(self, before: dict[str, dict], names: list[str], at_once: int = 1) -> None:
        """``before``: the figures of each lesson's last run; ``names``: the lessons to run."""
        self._before, self._waiting, self._at_once = before, set(names), at_once
        self._running: dict[str, tuple[int, int, float]] = {}  # cell, of how many, since when the lesson runs
        self._start = self._said = time.monotonic()

    def cell(self, name: str, number: int, total: int) -> None:
        """Cell ``number`` of ``total`` begins (counted from 1)."""
        self._waiting.discard(name)
        since = self._running[name][2] if name in self._running else time.monotonic()
        self._running[name] = number, total, since
        if sys.stdout.isatty():
            print(f"\r\033[K{self._line()[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        elif time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            print(self._line(), flush=True)

    def end(self, name: str, text: str) -> None:
        """The lesson's last line."""
        self._running.pop(name, None)
        print(("\r\033[K" if sys.stdout.isatty() else "") + f"{name}  {text}", flush=True)

    def _line(self) -> str:
        cells = " · ".join(f"{name[:2]}: cell {i} of {n}" for name, (i, n, _) in sorted(self._running.items()))
        left = self._left()
        return f"{cells} · {_clock(time.monotonic() - self._start)}" + (f" · about {_clock(left)} left" if left else "")

    def _left(self) -> float | None:
        """Seconds, by the last run; ``None`` where a lesson is new."""
        lessons = [*self._running, *self._waiting]
        if any("seconds" not in self._before.get(name, {}) for name in lessons):
            return None
        running = [self._left_of(name) for name in self._running]
        waiting = sum(self._before[name]["seconds"] for name in self._waiting)
        return max([(sum(running) + waiting) / self._at_once, *running])

    def _left_of(self, name: str) -> float:
        number, total, since = self._running[name]
        cells = self._before[name].get("cells", [])
        if len(cells) == total:
            return sum(cells[number - 1 :])
        return max(0.0, self._before[name]["seconds"] - (time.monotonic() - since))  # the lesson has changed


def key(source: Path) -> str:
    """What a lesson's outputs depend on: its text, the helpers, the budget and device, the packages."""
    digest = hashlib.sha256(source.read_bytes())
    files = sorted(path for path in (lesson.ROOT / "helpers").rglob("*.*") if path.suffix in _SOURCES)
    for path in [lesson.LESSONS / "_setup.py", *files]:
        digest.update(path.read_bytes())
    required = re.findall(r"^[\w-]+", (lesson.ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    versions = {name: _version(name) for name in required}
    gpu = shutil.which("nvidia-smi") is not None  # it chooses the budget where the user doesn't
    digest.update(json.dumps([versions, platform.python_version(), _settings(), gpu]).encode())
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


def cores_of_each(lessons: int, at_once: int | None = None) -> list[list[int]]:
    """The cores of each of the lessons that run beside each other.

    Two lessons on a core each end sooner than the two in turn on both cores: a second core helps the small networks
    of a lesson little. On a GPU one runs after the other; elsewhere as many as there are cores, and 4 GB for each.
    """
    from helpers import machine

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]
    room = psutil.virtual_memory().available // 4_000_000_000
    count = at_once or (min(len(cores), room) if machine.device().type == "cpu" else 1)
    count = max(1, min(count, lessons))
    return [cores[i::count] for i in range(count)] if 1 < count <= len(cores) else [[]] * count


def run(lessons: list[Path], build: Path, *, force: bool = False, at_once: int | None = None) -> int:
    """Run the lessons that need it, write the site, and return how many were run.

    Raises:
        LessonFailed: what was done before stays, and the next run goes on there.
        KeyboardInterrupt: likewise.
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
    if not todo:
        return 0
    budget, line = machine_line()
    now = measured.setdefault(budget, {"machine": line, "lessons": {}})
    before = site.read_json(lesson.ROOT / "docs" / "measured.json").get(budget, {}).get("lessons", {})
    before = {**before, **now["lessons"]}
    free = cores_of_each(len(todo), at_once)
    if len(free) > 1:
        line += f", {len(free)} lessons at once"
        # The longest first, so that none runs alone at the end.
        todo.sort(key=lambda source: -before.get(source.stem, {}).get("seconds", 0))
    progress, interruption = Progress(before, [source.stem for source in todo], len(free)), Interruption()

    async def one(source: Path, cores: list[int]) -> None:
        name, notebook = source.stem, lesson.solved(source)
        try:
            result = await execute(notebook, name, lesson.NOTEBOOKS, partial(progress.cell, name), interruption, cores)
        except LessonFailed:
            progress.end(name, "stopped")
            raise
        notebook.metadata["course"] = {**result, "budget": budget}
        _write(executed / f"{name}.ipynb", nbformat.writes(notebook))
        now["machine"], now["lessons"][name] = line, result
        done[name] = keys[name]
        _write(measured_file, json.dumps(measured, indent=1))
        _write(done_file, json.dumps(done, indent=1))
        cells = len(result["cells"])
        progress.end(name, f"{cells} cells · {_clock(result['seconds'])} · at most {result['peak_mb']:,.0f} MB")

    async def in_turn(cores: list[int]) -> None:
        while todo and not interruption.asked:
            with contextlib.suppress(Interrupted):  # the others stop likewise, each after what it has at hand
                await one(todo.pop(0), cores)

    async def everything() -> None:
        async with asyncio.TaskGroup() as group:  # when a lesson fails, it stops the others
            for cores in free:
                group.create_task(in_turn(cores))

    count = len(todo)
    try:
        asyncio.run(everything())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        done["images"] = _images_here()
        _write(done_file, json.dumps(done, indent=1))
    if interruption.asked:
        raise KeyboardInterrupt
    return count


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
    parser.add_argument("--at-once", type=int, help="lessons beside each other (on a CPU: one a core)")
    parser.add_argument("--force", action="store_true", help="run also what is done already")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for people who watch: saved notebooks don't keep them
    lessons = lesson.sources(options.lessons)
    known = {path.stem for path in lessons}
    if options.only:
        lessons = [path for path in lessons if {path.stem, path.stem[:2], path.stem[:2].lstrip("0")} & {*options.only}]
    if not lessons:
        print(f"There is no lesson {' '.join(options.only)} in {options.lessons}.")
        return 1
    for path in (options.build / "executed").glob("*.ipynb"):
        if path.stem not in known:  # a lesson that was renamed or deleted
            path.unlink()
    start = time.monotonic()
    try:
        count = run(lessons, options.build, force=options.force, at_once=options.at_once)
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
