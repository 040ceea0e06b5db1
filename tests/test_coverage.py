"""docs/coverage.md tells the truth about the lessons."""

from __future__ import annotations

import pytest

from tools import coverage, lesson

FOUND = coverage.cells()


def test_the_page_is_in_step_with_the_lessons():
    assert coverage.PAGE.read_text(encoding="utf-8") == coverage.page(), "run: python -m tools.coverage"


@pytest.mark.parametrize("item", coverage.ITEMS)
def test_each_item_is_taught_by_a_cell_that_students_run(item):
    """Tagged cells must stand in the student's notebook, as code that isn't an empty stub."""
    assert item in FOUND, f"no cell has the tag item-{item}"
    for name, _, cell_id in FOUND[item]:
        released = {cell.id: cell for cell in lesson.student(lesson.LESSONS / f"{name}.py").cells}
        assert released[cell_id].cell_type == "code" and released[cell_id].source.strip()
