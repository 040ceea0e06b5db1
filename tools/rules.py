"""What every lesson must keep to. The tests call `problems`; so does an author: ``python -m tools.rules``."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections import Counter
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from tools import answers, lesson
from tools.coverage import ITEMS

LINES, MEDIAN, EXERCISES, RIGHT, WRONG = 25, 5, 5, 2, 4


def problems(source: Path, answer_folder: Path | None = None) -> list[str]:
    """Everything in a lesson that breaks a rule, a sentence each; empty when it keeps to all of them.

    Args:
        source: the lesson's file.
        answer_folder: where its right and wrong answers are; ``None`` leaves them out.
    """
    notebook = lesson.read(source)
    ids = Counter(cell.metadata["nbgrader"]["grade_id"] for cell in notebook.cells if "nbgrader" in cell.metadata)
    if twice := [f"the grade_id {name} stands {count} times" for name, count in ids.items() if count > 1]:
        return twice  # nbgrader takes nothing of it
    released = lesson.student(source)
    found = [*_form(source, notebook), *_exercises(notebook), *leaks(notebook, released), *_stubs(released)]
    if answer_folder is not None:
        found += _answers(notebook, answer_folder / source.name)
    return found


def _form(source: Path, notebook: NotebookNode) -> list[str]:
    found = []
    header = source.read_text(encoding="utf-8").split("# %%")[0]
    if "kernelspec" not in header or "format_name: percent" not in header:
        found.append("the YAML header must name the percent format and the kernelspec")
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \d+ · \S", first.source):
        found.append("the first cell must be markdown and begin with a title such as '# 1 · Convolution arithmetic'")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or code[0].source != lesson.setup_text():
        found.append("the first code cell must be lessons/_setup.py, word for word")
    elif "setup" not in code[0].metadata.get("tags", ()):
        found.append("the set-up cell must have the tag 'setup'")
    lengths = [len(lesson.without_markers(cell.source).strip().split("\n")) for cell in code[1:]]
    for cell, length in zip(code[1:], lengths, strict=True):
        if length > LINES:
            found.append(f"a code cell has {length} lines, over {LINES}: {_first_line(cell)}")
    if lengths and statistics.median(lengths) > MEDIAN:
        found.append(f"the median code cell has {statistics.median(lengths):g} lines, over {MEDIAN}")
    for tag in (tag for cell in notebook.cells for tag in cell.metadata.get("tags", ()) if tag.startswith("item")):
        if not re.fullmatch(r"item-[1-9]\d?", tag) or int(tag[5:]) not in ITEMS:
            found.append(f"the tag {tag!r} names no item of 1 to {max(ITEMS)}")
    return found


def _exercises(notebook: NotebookNode) -> list[str]:
    found: list[str] = []
    exercises = lesson.exercises(notebook)
    if len(exercises) < EXERCISES:
        found.append(f"{len(exercises)} exercises, fewer than {EXERCISES}")
    if not any(cell.cell_type == "markdown" for cell, _ in exercises.values()):
        found.append("no exercise is a free text")
    for name, (cell, check) in exercises.items():
        if not lesson.regions(cell.source):
            found.append(f"{name} has no solution")
        if check is not None and not lesson.regions(check.source):
            found.append(f"{name}_check has no hidden tests")
        if check is not None and not check.source.rstrip().endswith(".score()"):
            found.append(f"{name}_check must end with its score")
        if (check or cell).metadata["nbgrader"].get("points", 0) <= 0:
            found.append(f"{name} has no points")
        if check is not None and f"points={check.metadata['nbgrader']['points']:g}" not in check.source:
            found.append(f"{name}_check: the points of the Check aren't those of the cell's metadata")
    return found


def leaks(notebook: NotebookNode, released: NotebookNode) -> list[str]:
    """What the student's notebook shows of solutions and hidden tests.

    A line counts when it stands in solutions or hidden tests only, and is longer than a few characters.
    """
    hidden = {line for cell in notebook.cells for line in lesson.regions(cell.source)}
    text = "\n".join(cell.source for cell in released.cells)
    shown = {line for cell in notebook.cells for line in lesson.regions(cell.source, between=False)}
    seen = sorted(line for line in hidden - shown if len(line) > 6 and line in text)
    found = [f"the student sees this line of a solution: {line}" for line in seen]
    for word in ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN", "END HIDDEN", "MARK SCHEME"):
        if word in text:
            found.append(f"the student sees a marker: {word}")
    if any(cell.get("outputs") for cell in released.cells) or "widgets" in released.metadata:
        found.append("the student's notebook holds outputs or widget state")
    return found


def _stubs(released: NotebookNode) -> list[str]:
    """Cells of the student's notebook that aren't valid Python."""
    found = []
    for cell in released.cells:
        if cell.cell_type != "code":
            continue
        try:
            ast.parse(TransformerManager().transform_cell(cell.source))
        except SyntaxError as error:
            found.append(f"not valid Python as the student gets it ({error}): {_first_line(cell)}")
    return found


def _answers(notebook: NotebookNode, file: Path) -> list[str]:
    wanted = [name for name, (_, check) in lesson.exercises(notebook).items() if check is not None]
    if not file.exists():
        return [f"{file.name} has no answers to try: {file} is missing"]
    given = answers.read(file)
    found = [f"{file.name}: there is no exercise {name!r}" for name in sorted({a.name for a in given} - set(wanted))]
    for name in wanted:
        right = len({answer.code for answer in given if answer.name == name and answer.right})
        wrong = len({answer.code for answer in given if answer.name == name and not answer.right})
        if right < RIGHT or wrong < WRONG:
            found.append(f"{name} has {right} right and {wrong} wrong answers to try, not {RIGHT} and {WRONG}")
    return found


def _first_line(cell: NotebookNode) -> str:
    return cell.source.strip().split("\n")[0]


def main() -> int:
    failed = 0
    for source in lesson.sources():
        try:
            found = problems(source, lesson.ROOT / "tests" / "answers")
        except Exception as error:  # a lesson that can't even be made into a notebook
            found = [f"can't be read: {error!r}"]
        for problem in found:
            failed += 1
            print(f"{source.name}: {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
