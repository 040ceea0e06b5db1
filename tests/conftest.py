"""The small lesson as a file, and the line on wrong answers at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import lesson_text


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
