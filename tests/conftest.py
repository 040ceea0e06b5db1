"""A small lesson for the tests, and the line on wrong answers at their end."""

from __future__ import annotations

from pathlib import Path

import pytest

LESSON = """\
# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 1 · A try
#
# The area is $x^2$.

# %% tags=["setup"]
SETUP

# %% tags=["setup"]
from helpers.checks import Check

# %% tags=["item-3"]
1 + 1
"""
EXERCISE = """
# %% [markdown]
# Write `add_NUMBER(n)`: n and NUMBER more.

# %% nbgrader={"grade": false, "grade_id": "add_NUMBER", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_NUMBER(n):
    \"\"\"`add_NUMBER(0)` is NUMBER.\"\"\"
    ### BEGIN SOLUTION
    secret_NUMBER = n + NUMBER
    return secret_NUMBER
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "add_NUMBER_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(add_NUMBER, points=2)
check.equal(0, expected=NUMBER)
### BEGIN HIDDEN TESTS
check.equal(1000, expected=1000 + NUMBER)
### END HIDDEN TESTS
check.score()
"""
FREE_TEXT = """
# %% [markdown]
# Why?

# %% [markdown] nbgrader={"grade": true, "grade_id": "why", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# Because of this long reason.
# ### END SOLUTION
"""


def lesson_text(exercises: int = 4, extra: str = "") -> str:
    """A small lesson that keeps to every rule, with ``extra`` at its end."""
    from tools import lesson

    text = LESSON.replace("SETUP", lesson.setup_text(""))
    text += "".join(EXERCISE.replace("NUMBER", str(i)) for i in range(1, exercises + 1))
    return text + FREE_TEXT + extra


@pytest.fixture
def lesson_file(tmp_path: Path):
    """Writes a small lesson and returns its path: ``lesson_file(extra=..., edit=(old, new))``."""

    def write(name: str = "01_try", extra: str = "", edit: tuple[str, str] | None = None, exercises: int = 4) -> Path:
        text = lesson_text(exercises, extra)
        if edit:
            assert edit[0] in text, f"{edit[0]!r} isn't in the small lesson"
            text = text.replace(*edit)
        folder = tmp_path / "lessons"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def pytest_terminal_summary(terminalreporter) -> None:
    """The share of the plausible wrong answers that the lessons' checks notice."""
    tried = caught = 0
    for state in ("passed", "failed"):
        for report in terminalreporter.stats.get(state, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "wrong_answer_caught" and report.when == "call":
                    tried, caught = tried + 1, caught + bool(value)
    if tried:
        terminalreporter.write_line(f"wrong answers that a check noticed: {caught} of {tried} ({caught / tried:.0%})")
