"""docs/coverage.md tells the truth about the lessons, and the list in helpers/__init__.py about helpers."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import helpers
from tools import coverage, lesson

FOUND = coverage.cells()
student = cache(lesson.student)  # many items stand in one lesson
FOLDER = Path(helpers.__file__).parent


def test_the_page_is_in_step_with_the_lessons():
    assert coverage.PAGE.read_text(encoding="utf-8") == coverage.page(), "run: python -m tools.coverage"


@pytest.mark.parametrize("item", sorted(FOUND))
def test_each_cell_that_the_page_names_is_run_by_students(item):
    """Tagged cells must stand in the student's notebook, as code that isn't an empty stub."""
    for name, _, cell_id in FOUND[item]:
        released = {cell.id: cell for cell in student(lesson.LESSONS / f"{name}.py").cells}
        assert released[cell_id].cell_type == "code" and released[cell_id].source.strip()


def test_the_lessons_together_leave_no_item_out():
    assert set(FOUND) == set(coverage.ITEMS)


def test_the_reading_list_of_helpers_is_true():
    """Each module with its number of lines, and up to where it is to be read: right to ten lines; all are named."""
    hint = "edit the docstring of helpers/__init__.py"
    pattern = r"^- ``(\w+)``(?:, up to ``(\w+)``)? \((\d+)(?:, (\d+))?\)"
    to_read = re.findall(pattern, helpers.__doc__, re.MULTILINE)
    assert len(to_read) == 7
    for module, upto, first, second in to_read:
        lines = (FOLDER / f"{module}.py").read_text(encoding="utf-8").splitlines()
        assert abs(int(second or first) - len(lines)) <= 10, f"{module} has {len(lines)} lines: {hint}"
        if upto:
            start = next(i for i, line in enumerate(lines) if re.match(rf"(def |class )?{upto}\b", line))
            assert abs(int(first) - start) <= 10, f"{module}: {upto} stands behind line {start}"
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} <= set(re.findall(r"``(\w+)``", helpers.__doc__))
