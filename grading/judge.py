"""The judge of one submission: it holds the tests, asks the student's process for results, and compares them here."""

from __future__ import annotations

import builtins
import contextlib
import io
import math
import os
import random
import re
import select
import signal
import socket
import time
from typing import Any

import numpy as np
import torch

from grading import wire
from grading.lookup import chosen, names_in, needs, readable
from grading.sandbox import Limits, seconds_used
from tools.answers import last_value


class Stuck(Exception):
    """The student's process took too long or ended; the message is for the student."""

    where = ""  # not a line of the judge's


def judge(task: dict[str, Any], names: dict[str, Any], door: socket.socket, limits: Limits) -> dict[str, Any]:
    """Run a submission's cells in a sandbox, then every check of the lesson.

    Args:
        task: ``cells`` (source, answer's grade_id or "", ``own`` when the lesson has no such cell) and ``checks``
            (name, points, the visible source, and the full one with the hidden tests, or ``None``).
        names: what the lesson's set-up cells defined.
        door: asks for a new sandbox.
    """
    cells = [{**cell, "source": readable(cell["source"])} for cell in task["cells"]]
    student = Student(door, limits, [cells[i] for i in chosen(cells, set(names))])
    sources = [cell["source"] for cell in cells if cell["answer"] or cell["own"]]
    checks, dead = {}, set()
    for check in task["checks"]:
        result = _run(check, check["visible"], names, student, sources)
        if result.pop("dead"):
            dead.add(check["name"])
        checks[check["name"]] = {**result, "seen": result["score"], "hidden_failed": False}
    # Only now, and of it only the score: a file or process may pass hidden inputs on to what runs later
    report = dict(student.report)
    for check in task["checks"]:
        result = checks[check["name"]]
        if check["full"] is None:
            continue
        if check["name"] in dead:  # it would only be waited for again
            result["score"] = result["seen"] = 0.0
            continue
        result["score"] = _run(check, check["full"], names, student, sources)["score"]
        result["hidden_failed"] = result["score"] < check["points"] <= result["seen"]
    student.stop()
    return {"checks": checks, "cells": report, "remarks": student.remarks}


def _run(check: dict, source: str, names: dict, student: Student, sources: list[str]) -> dict[str, Any]:
    """One check cell, with calls over the line in place of the student's functions."""
    output, error, score, remote = io.StringIO(), "", 0.0, None
    names = dict(names)
    try:
        remote = student.remote()
        for name in sorted(needs(source) - set(names) - set(dir(builtins))):
            names[name] = remote.value(name, sources)
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            value = last_value(source, names, "<check>")
        if type(value) is float and math.isfinite(value):
            score = min(max(value, 0.0), float(check["points"]))
    except Exception as problem:
        error = f"The check stopped: {type(problem).__name__}: {wire.text(problem)}"
        if isinstance(problem, (Stuck, NameError)):
            error = ("The check was stopped: " if remote and remote.dead else "") + wire.text(problem)
    printed = ""
    if remote:
        printed = remote.close()
        student.charge(remote.clock)
    if remote and remote.dead:
        student.stop()
    return {
        "score": score,
        "output": output.getvalue()[:20_000].replace(" raised Stuck: ", " was stopped: "),
        "error": error,
        "printed": printed,
        "dead": bool(remote and remote.dead),
    }


class Clock:
    """Seconds of computing; a busy machine, where the student's process has to wait, is no fault of the student's."""

    def __init__(self, seconds: float, keeper: int) -> None:
        self.seconds, self._keeper = seconds, keeper
        self._start, self._before = time.monotonic(), seconds_used(keeper)[0]

    def over(self, asleep: int = 0) -> bool:
        """Has it computed for too long, slept (that often in a row, while we waited for it), or taken far too long?"""
        passed = time.monotonic() - self._start
        if passed < self.seconds:
            return False
        used = seconds_used(self._keeper)[0] - self._before
        return asleep > 2 or used > 0.9 * self.seconds or passed > 8 * self.seconds

    def runs(self) -> bool:
        """Could the process run right now?"""
        return seconds_used(self._keeper)[1]

    def charged(self) -> float:
        """What counts of the notebook's time: never more than was granted, however long a busy machine took."""
        return min(time.monotonic() - self._start, self.seconds)


def wait(line: socket.socket, clock: Clock) -> None:
    """Wait for an answer.

    Raises:
        TimeoutError: none came in time.
    """
    asleep = 0  # one look isn't enough: it may just have answered, or wait for its own threads
    while not select.select([line], [], [], max(0.05, clock.seconds / 10))[0]:
        asleep = 0 if clock.runs() else asleep + 1
        if clock.over(asleep):
            raise TimeoutError


class Student:
    """The sandboxed process of one submission, started again without the cell that brought it down."""

    def __init__(self, door: socket.socket, limits: Limits, cells: list[dict]) -> None:
        self._door, self._limits, self._cells = door, limits, cells
        self._line: socket.socket | None = None
        self._left_over = float(limits.total)
        self._left_own = limits.total / 3  # for the student's own cells, which may be long experiments
        self._bad: set[int] = set()
        self.report: dict[str, dict] = {}
        self.remarks: list[str] = []

    def remote(self) -> Remote:
        """A fork of the student's process, for one check."""
        for _ in range(2):
            if not self._line:
                self._start()
            try:
                ours, theirs = socket.socketpair()
                with theirs:
                    wire.send(self._line, {"fork": 1})
                    socket.send_fds(self._line, [b"f"], [theirs.fileno()])
                remote = Remote(ours, Clock(min(self._limits.cell, self._left()), self._keeper))
                if remote.answers():
                    return remote
                self.charge(remote.clock)
            except OSError:
                pass
            self.stop()  # what an earlier check did, killing its parent, say, costs this one nothing
        raise Stuck("The student's process ended before the check.")

    def stop(self) -> None:
        """End the sandbox with all that runs in it."""
        if self._line:
            self._line.close()
            self._line = None
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._keeper, signal.SIGKILL)

    def _left(self) -> float:
        if self._left_over <= 0:
            raise Stuck(f"The notebook took over {self._limits.total} seconds in all.")
        return self._left_over

    def charge(self, clock: Clock) -> None:
        """Take a finished cell's or check's time from what the notebook has."""
        self._left_over -= clock.charged()

    def _start(self) -> None:
        while True:
            self._left()
            self._line, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self._door, [b"s"], [theirs.fileno()])
            self._keeper = int(self._door.recv(32))
            for i, cell in enumerate(self._cells):
                if cell.get("own") and self._left_own <= 0 and f"own {i}" not in self.report:
                    self._bad.add(i)
                    self.report[f"own {i}"] = {"output": "", "error": "not run: cells of your own took too long"}
                    if (said := "not all own cells were run: they took too long") not in self.remarks:
                        self.remarks.append(said)
                if i not in self._bad and not self._cell(i, cell):
                    break
            else:
                return

    def _cell(self, i: int, cell: dict) -> bool:
        """Run one cell; ``False`` when it brought the process down."""
        seconds = min(self._limits.cell, self._left())
        self._line.settimeout(seconds)
        clock = Clock(seconds, self._keeper)
        try:
            wire.send(self._line, {"run": cell["source"], "file": cell["answer"] or "a cell of your own"})
            wait(self._line, clock)
            answer, _ = wire.receive(self._line)
            problem = describe(answer["error"]) if "error" in answer else ""
            entry = {"output": wire.text(answer["output"], 10_500), "error": problem}
            alive = True
        except TimeoutError:
            entry, alive = {"output": "", "error": f"The cell took over {seconds:.0f} seconds."}, False
        except (OSError, wire.Broken, KeyError, TypeError):
            entry, alive = {"output": "", "error": "The cell ended Python, or took too much memory."}, False
        self.charge(clock)
        self._left_own -= clock.charged() if cell.get("own") else 0
        if not alive:
            self._bad.add(i)
            self.stop()
            self.remarks.append(f"{cell['answer'] or 'a cell of the student'}: {entry['error']}")
        self.report[cell["answer"] or f"own {i}"] = entry
        return alive


class Remote:
    """Calls into a fork of the student's process. Only plain data comes back."""

    def __init__(self, line: socket.socket, clock: Clock) -> None:
        self._line, self.clock, self._lent = line, clock, []
        self._line.settimeout(clock.seconds)
        self._state: torch.Tensor | None = None
        self.dead = ""

    def answers(self) -> bool:
        """Is anybody there?"""
        with contextlib.suppress(Stuck):
            self._ask({"output": 1})
        return not self.dead

    def value(self, name: str, sources: list[str]) -> Any:
        """What the student calls ``name``."""
        answer, body = self._ask({"value": name})
        if "error" in answer:
            raise NameError(f"`{wire.text(name)}` isn't defined.")
        self._names = names_in(sources, name)
        return self._decode(answer, body, [])

    def call(self, number: int, args: tuple, kwargs: dict) -> Any:
        """Call a function of the student's."""
        known = wire.members([args, kwargs])
        state = torch.get_rng_state()  # a check that seeds, seeds the student's process; two calls draw anew
        new = self._state is None or not torch.equal(state, self._state)
        self._state = state
        body = wire.pack((args, kwargs, state if new else None), self._lend)
        answer, body = self._ask({"call": number}, body)
        if "error" in answer:
            raise as_exception(answer["error"])
        return self._decode(answer, body, known)

    def close(self) -> str:
        """Hang up, and return what was printed."""
        said = ""
        if not self.dead:
            with contextlib.suppress(Stuck):
                said = wire.text(self._ask({"output": 1})[0].get("output", ""), 10_500)
        self._line.close()
        return said

    def _lend(self, function: Any) -> int:
        self._lent.append(function)
        return len(self._lent) - 1

    def _ask(self, head: dict, body: bytes = b"") -> tuple[dict, bytes]:
        if self.dead:
            raise Stuck(self.dead)
        try:
            wire.send(self._line, head, body)
            while True:
                if self.clock.over():  # it may call back again and again
                    raise TimeoutError
                wait(self._line, self.clock)
                answer, body = wire.receive(self._line)
                if type(answer) is not dict:
                    raise wire.Broken("it sent no answer")
                if "callback" not in answer:
                    return answer, body
                self._call_back(answer, body)
        except TimeoutError:
            self.dead = f"it took over {self.clock.seconds:.0f} seconds"
        except (OSError, wire.Broken) as error:
            self.dead = f"Python ended there, or took too much memory ({error})"
        raise Stuck(self.dead)

    def _call_back(self, asked: dict, body: bytes) -> None:
        decoder = wire.Decoder(body)
        try:
            args, kwargs = decoder.decode(asked["args"]), decoder.decode(asked["kwargs"])
            result = self._lent[asked["callback"]](*args, **kwargs)
            wire.send(self._line, {}, wire.pack(result, self._lend))
        except (wire.Broken, OSError):
            raise
        except Exception as error:
            wire.send(self._line, {"error": f"{type(error).__name__}: {wire.text(error)}"})

    def _decode(self, answer: dict, body: bytes, known: list) -> Any:
        try:
            decoder = wire.Decoder(body, known, self._function)
            if "graph" in answer:
                inputs = [known[i] for i in answer["inputs"]]
                decoder.differentiable = lambda _, data: _Differentiable.apply(self, answer["graph"], data, *inputs)
            result = decoder.decode(answer["result"])
            for i, item in answer["changed"]:
                decoder.update(known[i], item)
            return result
        except wire.Broken as error:
            self.dead = str(error)
        except Exception as error:
            self.dead = f"it sent what can't be read ({type(error).__name__})"
        raise Stuck(self.dead)

    def _function(self, item: dict) -> Any:
        number = int(item["function"])

        def function(*args: Any, **kwargs: Any) -> Any:
            return self.call(number, args, kwargs)

        return Function(function, wire.text(item["name"], 60), self._names)


class Function:
    """A student's function, as a check sees it."""

    def __init__(self, call: Any, name: str, names: set[str]) -> None:
        self._call, self.__name__, self.names_used = call, name, names

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


class _Differentiable(torch.autograd.Function):
    """A result whose gradient the student's process computes."""

    @staticmethod
    def forward(ctx: Any, remote: Remote, graph: int, data: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.remote, ctx.graph = remote, graph
        return data

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple:
        answer, body = ctx.remote._ask({"backward": ctx.graph}, wire.pack(list(given), ctx.remote._lend))
        if "error" in answer:
            raise as_exception(answer["error"])
        return None, None, None, *ctx.remote._decode(answer, body, [])


def as_exception(error: Any) -> BaseException:
    """A student's exception, made anew from its name and text."""
    if type(error) is not dict:
        return RuntimeError("it raised what can't be read")
    known = {
        "NotImplementedError": NotImplementedError,
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
    }
    text = wire.text(error.get("text", ""))
    if kind := known.get(error.get("like")):
        return kind(text and text + wire.text(error.get("where", ""), 80))  # without a text it is a stub's
    text += wire.text(error.get("where", ""), 80)
    made = type(re.sub(r"\W", "", str(error.get("kind")))[:60] or "Error", (Exception,), {"where": ""})
    return made(text)


def describe(error: Any) -> str:
    """A student's exception as one line."""
    if type(error) is not dict:
        return "an error that can't be read"
    kind, text, where = (wire.text(error.get(key, "")) for key in ("kind", "text", "where"))
    return f"{kind}: {text}{where}"
