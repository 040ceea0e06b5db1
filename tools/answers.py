"""Right and wrong answers to the exercises (tests/answers/NN_topic.py), and what a lesson's checks say of them.

A file of answers holds cells ``# %% exercise | right | how it differs`` and ``# %% exercise | wrong | the slip``.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import lesson

SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """One answer to one exercise: ``name`` is its grade_id, ``note`` says what is special about it."""

    name: str
    right: bool
    note: str
    code: str


@dataclass(frozen=True)
class Outcome:
    """What a check made of an answer: points, what it printed, and the error when the answer itself raised."""

    score: float
    points: float
    output: str
    error: str | None = None


def read(file: Path) -> list[Answer]:
    """The answers in a file.

    Raises:
        ValueError: a cell without the three parts of its head, or with neither "right" nor "wrong".
    """
    found = []
    for part in re.split(r"^# %%", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, _, code = part.partition("\n")
        pieces = [piece.strip() for piece in head.split("|", 2)]
        if len(pieces) != 3 or pieces[1] not in ("right", "wrong"):
            raise ValueError(f"{file.name}: a cell must begin '# %% exercise | right or wrong | note', not '{head}'.")
        found.append(Answer(pieces[0], pieces[1] == "right", pieces[2], code.strip()))
    return found


class Bench:
    """A lesson's set-up cells, run once; each answer is then tried in a copy of what they defined."""

    def __init__(self, source: Path) -> None:
        self.solved = lesson.exercises(lesson.read(source))
        self.stubs = lesson.exercises(lesson.student(source))
        self._names: dict[str, Any] = {"__name__": "__main__"}
        with _in_folder(lesson.NOTEBOOKS), contextlib.redirect_stdout(io.StringIO()):
            for cell in lesson.setup_cells(lesson.read(source)):
                exec(compile(cell.source, f"<set-up of {source.stem}>", "exec"), self._names)

    def try_solution(self, name: str) -> Outcome:
        """The lesson's own solution."""
        return self.try_code(name, lesson.without_markers(self.solved[name][0].source))

    def try_stub(self, name: str) -> Outcome:
        """What the student gets, untouched."""
        return self.try_code(name, self.stubs[name][0].source)

    def try_code(self, name: str, code: str) -> Outcome:
        """Run an answer and then its check, hidden tests included."""
        check = self.solved[name][1]
        points, names, said, error = check.metadata["nbgrader"]["points"], dict(self._names), io.StringIO(), None
        with _in_folder(lesson.NOTEBOOKS), contextlib.redirect_stdout(said):
            try:
                with time_limit(SECONDS):
                    exec(compile(code, f"<answer to {name}>", "exec"), names)
            except Exception as problem:  # as in a notebook: the check cell runs all the same
                error = f"{type(problem).__name__}: {problem}"
            try:
                with time_limit(SECONDS):
                    score = last_value(lesson.without_markers(check.source), names, f"<check of {name}>")
            except NameError:
                if error is None:
                    raise
                score = 0.0
        return Outcome(score, points, said.getvalue(), error)


def last_value(code: str, names: dict[str, Any], file: str = "<cell>") -> Any:
    """Run a cell and return the value of its last expression, as a notebook shows it."""
    tree = ast.parse(code)
    last = tree.body.pop()
    if not isinstance(last, ast.Expr):
        raise ValueError(f"{file} doesn't end with an expression.")
    exec(compile(tree, file, "exec"), names)
    return eval(compile(ast.Expression(last.value), file, "eval"), names)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the main thread after that many seconds (no limit where there are no alarms)."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"took over {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    # again every second after that: a check catches the error, and then tries its next comparison
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Work in a folder as a notebook's kernel does, and leave no trace in ``sys.path``."""
    before, path = os.getcwd(), list(sys.path)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
