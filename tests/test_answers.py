"""Every exercise: its solution and other right answers get full marks, wrong ones lose some, a stub gets none."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from grading.lookup import binds, needs
from tools import lesson
from tools.answers import Answer, Bench, read, time_limit

ANSWERS = Path(__file__).parent / "answers"
bench = cache(Bench)  # the set-up cells of a lesson run once


def _exercises() -> list:
    found = []
    for source in lesson.sources():
        for name, (_, check) in lesson.exercises(lesson.read(source)).items():
            if check is not None:
                found.append(pytest.param(source, name, id=f"{source.stem[:2]}-{name}"))
    return found


def _answers(right: bool) -> list:
    found = []
    for source in lesson.sources():
        file = ANSWERS / source.name
        for answer in read(file) if file.exists() else []:
            if answer.right == right:
                found.append(pytest.param(source, answer, id=f"{source.stem[:2]}-{answer.name}-{answer.note}"))
    return found


@pytest.mark.parametrize(("source", "name"), _exercises())
def test_solution_gets_full_marks(source: Path, name: str):
    outcome = bench(source).try_solution(name)
    assert outcome.error is None
    assert outcome.score == pytest.approx(outcome.points), outcome.output


@pytest.mark.parametrize(("source", "name"), _exercises())
def test_stub_is_not_attempted_yet(source: Path, name: str):
    outcome = bench(source).try_stub(name)
    assert outcome.error is None
    assert outcome.score == 0.0 and type(outcome.score) is float
    assert "not attempted yet" in outcome.output
    assert outcome.output.count("not attempted yet") == 1, "said more than once"


@pytest.mark.parametrize(("source", "answer"), _answers(right=True))
def test_right_answer_gets_full_marks(source: Path, answer: Answer):
    outcome = bench(source).try_code(answer.name, answer.code)
    assert outcome.error is None
    assert outcome.score == pytest.approx(outcome.points), outcome.output


@pytest.mark.parametrize(("source", "answer"), _answers(right=False))
def test_wrong_answer_loses_marks(source: Path, answer: Answer, record_property):
    outcome = bench(source).try_code(answer.name, answer.code)
    record_property("wrong_answer_caught", outcome.score < outcome.points - 1e-9)
    assert outcome.error is None, "a wrong answer should run: it's the check that must notice"
    assert outcome.score < outcome.points - 1e-9, outcome.output
    assert "✗" in outcome.output or "not attempted yet" in outcome.output, "the student isn't told"
    again = bench(source).try_solution(answer.name)
    assert again.score == pytest.approx(again.points), f"it spoils what the next try needs: {again.output}"


@pytest.mark.parametrize("source", lesson.sources(), ids=lambda path: path.stem[:2])
def test_no_answer_and_no_check_overwrites_what_a_later_cell_needs(source: Path):
    """Lesson 1 once had an `image` that an answer with an `image` of its own replaced, lesson 3 a loop over `train`."""
    cells = [cell for cell in lesson.read(source).cells if cell.cell_type == "code"]
    answers = read(ANSWERS / source.name)
    for name, (_, check) in lesson.exercises(lesson.read(source)).items():
        needed, made = set(), set()
        later = cells[[cell.source for cell in cells].index(check.source) + 1 :] if check is not None else []
        for cell in later:
            if "nbgrader" not in cell.metadata:
                needed |= needs(cell.source) - made
                made |= binds(ast.parse(cell.source))
        if check is not None:
            assert not binds(ast.parse(check.source)) & needed, name
        for answer in answers:
            if answer.name == name:
                assert not (binds(ast.parse(answer.code), imports=False) - {name}) & needed, answer.note


# The bench itself


def test_bench_tells_right_from_wrong(lesson_file):
    small = Bench(lesson_file())
    assert small.try_solution("add_2").score == 2.0
    assert small.try_stub("add_2").score == 0.0
    assert small.try_code("add_2", "add_2 = lambda n: 2").score == 1.0  # the hidden test fails
    assert small.try_code("add_2", "def add_2(n): return 2 + n").score == 2.0


def test_bench_grades_on_after_an_answer_that_raises(lesson_file):
    outcome = Bench(lesson_file()).try_code("add_2", "1 / 0")
    assert outcome.score == 0.0 and outcome.error == "ZeroDivisionError: division by zero"


def test_bench_keeps_answers_apart(lesson_file):
    small = Bench(lesson_file())
    small.try_code("add_2", "def add_2(n): return 2 + n\nhelper = 1")
    with pytest.raises(AssertionError):
        assert small.try_code("add_2", "helper\ndef add_2(n): return 2 + n").error is None


def test_endless_answer_is_stopped(lesson_file, monkeypatch):
    monkeypatch.setattr("tools.answers.SECONDS", 1)
    outcome = Bench(lesson_file()).try_code("add_2", "def add_2(n):\n    while True: pass")
    assert outcome.score == 0.0 and "took over 1 seconds" in outcome.output


def test_time_limit_ends():
    with time_limit(1):
        pass
    with pytest.raises(TimeoutError), time_limit(1):
        while True:
            pass
