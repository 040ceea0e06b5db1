"""Runs one notebook in a kernel of its own, and measures it: seconds a cell, memory, where and why it stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbclient.util import ensure_async
from nbformat import NotebookNode

_LONGEST_CELL = 6 * 3600  # seconds, so that a hang ends; in the full budget a CPU may train for hours in one cell


class LessonFailed(RuntimeError):
    """A lesson stopped; the text says where and why, in a few lines."""


class Interrupted(Exception):
    """A lesson was stopped by Ctrl-C."""


class Memory:
    """The most memory that a process and its children held, in MB, sampled four times a second."""

    def __init__(self, process: psutil.Process) -> None:
        self.peak, self._process, self._stop = 0.0, process, threading.Event()

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            total = 0
            with contextlib.suppress(psutil.Error):  # it, or one of its children, has just ended
                for process in [self._process, *self._process.children(recursive=True)]:
                    total += process.memory_info().rss
            self.peak = max(self.peak, total / 1e6)


@dataclass
class Interruption:
    """Ctrl-C, for all the notebooks that run: their kernels are interrupted, as by a student's hand."""

    asked: bool = False
    clients: set[NotebookClient] = field(default_factory=set)
    _calls: list[asyncio.Future] = field(default_factory=list)

    def listen(self) -> None:
        """nbclient's own handler, which each of its notebooks sets, kills the kernel: as if it had died."""
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; another thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.ask)

    def ask(self) -> None:
        self.asked = True
        self._calls = [asyncio.ensure_future(ensure_async(client.km.interrupt_kernel())) for client in self.clients]


async def execute(
    notebook: NotebookNode,
    name: str,
    folder: Path,
    on_cell: Callable[[int, int], None],
    interruption: Interruption,
    cores: Sequence[int] = (),
) -> dict:
    """Run a notebook in place with ``folder`` as its kernel's folder, and return what was measured.

    Args:
        on_cell: told that cell i of n begins, counted from 1.
        cores: the kernel keeps to these, where the system can tell it so, and computes with as many threads.

    Raises:
        LessonFailed: a cell raised, took longer than ``_LONGEST_CELL``, or its kernel died.
        Interrupted: by Ctrl-C, within a cell or between two.
    """
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    begun, seconds, place, start = 0.0, [], 0, time.monotonic()

    def starts(cell: NotebookNode, cell_index: int) -> None:
        nonlocal begun, place
        interruption.listen()
        if interruption.asked:  # the cell before took the Ctrl-C for itself, as a training loop does
            raise Interrupted
        if cell.cell_type == "code":
            begun, place = time.monotonic(), cell_index
            on_cell(code.index(cell_index) + 1, len(code))

    def done(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        seconds.append(round(time.monotonic() - begun, 2))

    interruption.listen()
    client = NotebookClient(
        notebook,
        timeout=_LONGEST_CELL,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # a kernel's remarks on its own start say nothing about the lesson
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,  # no Python runs behind a page: the explorers' stills are shown instead
        on_cell_start=starts,
        on_cell_executed=done,
    )
    kernel = client.create_kernel_manager()
    try:
        await client.async_start_new_kernel(env=os.environ | ({"OMP_NUM_THREADS": str(len(cores))} if cores else {}))
        process = psutil.Process(kernel.provisioner.pid)
        if cores and hasattr(process, "cpu_affinity"):  # not on macOS
            process.cpu_affinity(cores)
        await client.async_start_new_kernel_client()
        interruption.clients.add(client)
        with Memory(process) as memory:
            await client.async_execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        if interruption.asked or getattr(error, "ename", "") == "KeyboardInterrupt":
            interruption.asked = True
            raise Interrupted from None
        raise LessonFailed(_failure(name, notebook.cells[place], code.index(place) + 1, len(code), error)) from None
    finally:
        interruption.clients.discard(client)
        if kernel.has_kernel:  # it was stopped before the first cell
            await ensure_async(kernel.shutdown_kernel(now=True))
    return {
        "seconds": round(time.monotonic() - start, 1),
        "peak_mb": round(memory.peak),
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
