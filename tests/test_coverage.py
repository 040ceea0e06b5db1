"""docs/coverage.md tells the truth about the lessons."""

from __future__ import annotations

import pytest

from tools import coverage, lesson

FOUND = coverage.cells()


def test_the_page_is_in_step_with_the_lessons():
    assert coverage.PAGE.read_text(encoding="utf-8") == coverage.page(), "run: python -m tools.coverage"


@pytest.mark.parametrize("item", sorted(FOUND))
def test_each_cell_that_the_page_names_is_run_by_students(item):
    """Tagged cells must stand in the student's notebook, as code that isn't an empty stub."""
    for name, _, cell_id in FOUND[item]:
        released = {cell.id: cell for cell in lesson.student(lesson.LESSONS / f"{name}.py").cells}
        assert released[cell_id].cell_type == "code" and released[cell_id].source.strip()


def test_the_nine_lessons_together_leave_no_item_out():
    if len(lesson.sources()) == 9:
        assert set(FOUND) == set(coverage.ITEMS)
    else:  # until then the page says which are missing
        assert coverage.page().count("**not yet**") == len(set(coverage.ITEMS) - set(FOUND))
