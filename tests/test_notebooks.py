"""The notebooks are what the lessons make of them, and give nothing away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import answers, build_notebooks, coverage, lesson, readme, rules

LESSONS = lesson.sources()
ANSWERS = Path(__file__).parent / "answers"


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_lesson_keeps_to_the_rules(source):
    assert rules.problems(source, ANSWERS) == []


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_committed_notebook_is_in_step(source):
    written = (lesson.NOTEBOOKS / f"{source.stem}.ipynb").read_bytes()
    assert written == lesson.dump(lesson.student(source)), "run `make notebooks`"


def test_every_notebook_has_a_lesson():
    assert {path.stem for path in lesson.NOTEBOOKS.glob("*.ipynb")} == {path.stem for path in LESSONS}


def test_readme_is_in_step():
    for page, text in readme.expected().items():
        assert page.read_text(encoding="utf-8") == text, "run `make notebooks`"


def test_what_lesson_6_quotes_stands_in_the_readme():
    lesson_6 = next(path for path in LESSONS if path.stem.startswith("06")).read_text(encoding="utf-8")
    quoted = re.findall(r"\d+\.\d ± \d\.\d(?= %)", lesson_6)
    table = (lesson.ROOT / "README.md").read_text(encoding="utf-8")
    assert len(quoted) == 4 and all(figure in table for figure in quoted)


def test_setup_cell_finds_the_course_from_the_notebooks_folder():
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COLAB_RELEASE_TAG")}
    command = [sys.executable, "-c", lesson.setup_text()]
    out = subprocess.run(command, cwd=lesson.NOTEBOOKS, env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "budget: quick" in out.stdout


def test_setup_cell_on_colab_fetches_then_installs(monkeypatch, capsys):
    calls = []
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(lesson.setup_text("https://github.com/someone/course"), {})
    assert calls[0] == [
        "git",
        "clone",
        "--quiet",
        "--depth",
        "1",
        "https://github.com/someone/course",
        "/content/course",
    ]
    assert calls[1] == [sys.executable, "/content/course/helpers/colab.py"]
    assert sys.path[0] == "/content/course"


def test_setup_cell_on_colab_without_an_address_says_what_to_do(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    with pytest.raises(AssertionError, match="upload the course's folder as /content/course"):
        exec(lesson.setup_text(""), {})


# How the student's notebook is made, on a small lesson


def test_small_lesson_keeps_to_the_rules(lesson_file):
    assert rules.problems(lesson_file()) == []


def test_build_is_the_same_to_the_byte(lesson_file):
    source = lesson_file()
    assert lesson.dump(lesson.student(source)) == lesson.dump(lesson.student(source))
    folder = source.parent.parent / "notebooks"
    assert build_notebooks.build(source.parent, folder) == [folder / "01_try.ipynb"]
    assert build_notebooks.build(source.parent, folder) == []


def test_build_deletes_notebooks_of_lessons_that_are_gone(lesson_file):
    source = lesson_file()
    folder = source.parent.parent / "notebooks"
    build_notebooks.build(source.parent, folder)
    source.rename(source.with_name("02_other.py"))
    build_notebooks.build(source.parent, folder)
    assert [path.name for path in folder.iterdir()] == ["02_other.ipynb"]


def test_ids_are_unique_and_stay_when_a_cell_is_added(lesson_file):
    before = [cell.id for cell in lesson.student(lesson_file(extra="\n# %%\n2 + 2\n\n# %%\n2 + 2\n")).cells]
    assert len(set(before)) == len(before)
    after = [cell.id for cell in lesson.student(lesson_file(edit=("1 + 1", "1 + 1\n\n# %%\n3 + 3"))).cells]
    assert set(before[:-2]) < set(after)


def test_student_gets_a_stub_and_the_visible_checks(lesson_file):
    notebook = lesson.student(lesson_file())
    nbformat.validate(notebook)
    solution, check = lesson.exercises(notebook)["add_1"]
    assert solution.source == 'def add_1(n):\n    """`add_1(0)` is 1."""\n    # YOUR CODE HERE\n    ...'
    assert check.source == "check = Check(add_1, points=2)\ncheck.equal(0, expected=1)\ncheck.score()"
    assert check.metadata["editable"] is False and check.metadata["deletable"] is False
    assert lesson.exercises(notebook)["why"][0].source == "*Your answer here.*"


def test_solved_notebook_holds_everything_but_the_markers(lesson_file):
    text = lesson.dump(lesson.solved(lesson_file())).decode()
    assert "secret_1 = n + 1" in text and "1000 + 1" in text and "this long reason" in text
    assert "BEGIN" not in text and "END" not in text


def test_setup_cell_gets_the_address(lesson_file):
    cell = lesson.student(lesson_file(), "https://github.com/someone/course").cells[1]
    assert 'REPOSITORY = "https://github.com/someone/course"' in cell.source


# The rules notice what they are for

BROKEN = {
    "kernelspec": ("#   kernelspec: {display_name: Python 3, language: python, name: python3}\n", ""),
    "begin with a title": ("# # 1 · A try", "# A try"),
    "word for word": ("import sys\n", "import sys  # my own\n"),
    "over 25: a = 1": ("1 + 1", "a = 1\n" * 26),
    "median": ("1 + 1", "\n\n# %%\n".join(["a = 1\n" * 6] * 30)),
    f"'item-{max(coverage.ITEMS) + 1}'": ("item-3", f"item-{max(coverage.ITEMS) + 1}"),
    "'item-0'": ("item-3", "item-0"),
    "stands 2 times": ('"grade_id": "add_2"', '"grade_id": "add_1"'),
    "no hidden tests": ("### BEGIN HIDDEN TESTS\ncheck.equal(1000, expected=1000 + 1)\n### END HIDDEN TESTS\n", ""),
    "must end with its score": ("check.score()", "check.score() > 1"),
    "aren't those of the cell": ("Check(add_1, points=2)", "Check(add_1, points=3)"),
    "not valid Python": ("1 + 1", "1 +"),
}


@pytest.mark.parametrize("said", BROKEN)
def test_rules_notice(said, lesson_file):
    edit = BROKEN[said]
    assert any(said in problem for problem in rules.problems(lesson_file(edit=edit)))


def test_rules_want_five_exercises_and_a_free_text(lesson_file):
    assert "4 exercises, fewer than 5" in rules.problems(lesson_file(exercises=3))
    source = lesson_file(exercises=5)
    source.write_text(source.read_text().split("\n# %% [markdown]\n# Why?")[0])
    assert rules.problems(source) == ["no exercise is a free text"]


def test_rules_notice_a_solution_that_the_student_sees(lesson_file):
    source = lesson_file()
    notebook, released = lesson.read(source), lesson.student(source)
    assert rules.leaks(notebook, released) == []
    for text in ("    secret_1 = n + 1", "check.equal(1000, expected=1000 + 2)", "### BEGIN SOLUTION"):
        leaky = nbformat.from_dict(released)
        leaky.cells[-1].source = text
        assert rules.leaks(notebook, leaky), text
        leaky.cells[-1].source = ""
    released.cells[1].outputs = [nbformat.v4.new_output("stream", text="x")]
    assert rules.leaks(notebook, released) == ["the student's notebook holds outputs or widget state"]


def test_rules_want_answers_to_try(lesson_file, tmp_path):
    source = lesson_file()
    assert "is missing" in rules.problems(source, tmp_path)[0]
    cells = [f"# %% add_{i} | right | {n}\nx = {n}\n" for i in range(1, 5) for n in range(2)]
    cells += [f"# %% add_{i} | wrong | {n}\nx = {n}\n" for i in range(1, 5) for n in range(4)]
    file = tmp_path / "01_try.py"
    file.write_text("".join(cells))
    assert rules.problems(source, tmp_path) == []
    file.write_text("".join(cells).replace("x = 3", "x = 2"))  # two answers that are the same count once
    assert "add_1 has 2 right and 3 wrong answers to try, not 2 and 4" in rules.problems(source, tmp_path)
    file.write_text("# %% add_9 | right | x\n")
    assert "01_try.py: there is no exercise 'add_9'" in rules.problems(source, tmp_path)


def test_answers_need_a_proper_head(tmp_path):
    file = tmp_path / "01_try.py"
    file.write_text("# %% add_1 | good | x\n")
    with pytest.raises(ValueError, match="right or wrong"):
        answers.read(file)


@settings(max_examples=30, deadline=None)
@given(lines=st.lists(st.sampled_from(["a = 1", "", "    b", "### BEGIN", "# END"]), max_size=6))
def test_regions_are_found_and_markers_go(lines):
    text = "\n".join(["before", "    ### BEGIN SOLUTION", *lines, "    ### END SOLUTION", "after"])
    assert lesson.regions(text) == [line.strip() for line in lines if line.strip()]
    assert lesson.without_markers(text) == "\n".join(["before", *lines, "after"])
