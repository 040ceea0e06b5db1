"""docs/reliability.md says what the tests that inject faults say, and a mark can't claim what its test doesn't try."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import reliability

MARK = '@pytest.mark.fault("Downloads", "a stall", outcome="left"{})\n'
TEST = 'import pytest\n\n\n{}@pytest.mark.parametrize("kind", {})\ndef test_it(kind):\n    pass\n'


def test_the_page_is_in_step_with_the_tests():
    expected = reliability.page()
    assert reliability.PAGE.read_text(encoding="utf-8") == expected, "run: python -m tools.reliability"


def test_every_area_has_faults():
    assert {fault.area for fault in reliability.faults()} == set(reliability.AREAS)


def test_no_fault_stands_twice():
    found = [(fault.area, fault.what) for fault in reliability.faults()]
    assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize(
    ("mark", "kinds", "said"),
    [
        (MARK.format(', case="loop"'), '["stall"]', "no parameter 'loop'"),
        (MARK.format("").replace("Downloads", "Elsewhere"), '["stall"]', "fault.area, what"),
        (MARK.format("").replace('"left"', '""'), '["stall"]', "fault.area, what"),
    ],
)
def test_a_mark_that_says_too_much_is_refused(tmp_path, mark, kinds, said):
    (tmp_path / "test_x.py").write_text(TEST.format(mark, kinds))
    with pytest.raises(ValueError, match=said):
        reliability.faults(tmp_path)


@pytest.mark.parametrize("kinds", ['["loop", "stall"]', "KINDS"])
def test_a_mark_becomes_a_row(tmp_path: Path, kinds):
    text = TEST.format(MARK.format(', case="loop"'), kinds)
    (tmp_path / "test_x.py").write_text(text.replace("\n\n\n", '\n\nKINDS = ["loop"]\n\n\n', 1))
    assert "| a stall | left | [it[loop]](../tests/test_x.py) |" in reliability.page(tmp_path)
