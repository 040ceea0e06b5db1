"""Reads a lesson, and makes the two notebooks out of it: the student's and the solved one.

A lesson is one text file, ``lessons/NN_topic.py`` (jupytext py:percent with nbgrader's cell metadata). The student's
notebook is made by nbgrader's own preprocessors, in the order of ``nbgrader generate_assignment``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from copy import deepcopy
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ROOT / "lessons"
NOTEBOOKS = ROOT / "notebooks"
CODE_STUB = "# YOUR CODE HERE\n..."
TEXT_STUB = "*Your answer here.*"
REGION = re.compile(r"^[ \t]*###? ?(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)[ \t]*$")
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(folder: Path = LESSONS) -> list[Path]:
    """The lessons of a folder, in order: every ``NN_topic.py``."""
    return sorted(path for path in Path(folder).glob("*.py") if re.match(r"\d\d_", path.name))


def repository() -> str:
    """Where students fetch the course from (``[tool.course]`` of pyproject.toml); empty when nobody has said."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["tool"]["course"]["repository"]


def setup_text(address: str | None = None) -> str:
    """The set-up cell of every notebook: lessons/_setup.py with the course's address in it."""
    address = repository() if address is None else address
    text = (LESSONS / "_setup.py").read_text(encoding="utf-8").strip()
    return text.replace('REPOSITORY = ""', f'REPOSITORY = "{address}"')


def read(source: Path, address: str | None = None) -> NotebookNode:
    """A lesson as a notebook, solutions and hidden tests inside, with cell ids that don't change from run to run.

    The set-up cell gets the course's address here, so that no lesson holds it.

    Raises:
        ValueError: the file has no cells.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    if not notebook.cells:
        raise ValueError(f"{source} has no cells: a lesson is a jupytext py:percent file.")
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.cell_type + cell.source
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        cell.id = f"{digest}-{seen[digest]}" if seen[digest] else digest
        seen[digest] += 1
        cell.metadata.pop("lines_to_next_cell", None)  # jupytext's own note, which its next version may not write
        if cell.cell_type == "code" and cell.source == setup_text(""):
            cell.source = setup_text(address)
    notebook.metadata = NotebookNode(deepcopy(_METADATA))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def student(source: Path, address: str | None = None) -> NotebookNode:
    """The notebook that students open: no solutions, hidden tests, outputs or widget state."""
    notebook, resources = read(source, address), {}
    for step in (
        LockCells(),
        ClearSolutions(code_stub={"python": CODE_STUB}, text_stub=TEXT_STUB),
        ClearOutput(),
        ClearHiddenTests(),
        ClearMarkScheme(),
        ComputeChecksums(),
        CheckCellMetadata(),
    ):
        notebook, resources = step.preprocess(notebook, resources)
    return notebook


def solved(source: Path) -> NotebookNode:
    """The notebook with solutions and hidden tests, without the lines that mark where they begin and end."""
    notebook = read(source)
    for cell in notebook.cells:
        cell.source = without_markers(cell.source)
    return notebook


def without_markers(text: str) -> str:
    """The text without the BEGIN and END lines of solutions and hidden tests."""
    return "\n".join(line for line in text.split("\n") if not REGION.match(line))


def regions(text: str, between: bool = True) -> list[str]:
    """The lines between BEGIN and END markers, or all the others, without outer spaces or empty lines."""
    inside, found = False, []
    for line in text.split("\n"):
        if marker := REGION.match(line):
            inside = marker[1] == "BEGIN"
        elif inside == between and line.strip():
            found.append(line.strip())
    return found


def dump(notebook: NotebookNode) -> bytes:
    """The notebook's file: the same bytes for the same lesson."""
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def exercises(notebook: NotebookNode) -> dict[str, tuple[NotebookNode, NotebookNode | None]]:
    """grade_id -> (solution cell, check cell); the check is ``None`` for what is graded by hand.

    Raises:
        ValueError: an exercise that is not graded by hand without its ``<grade_id>_check`` cell.
    """
    by_id = {cell.metadata["nbgrader"]["grade_id"]: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    found = {}
    for name, cell in by_id.items():
        if not cell.metadata["nbgrader"]["solution"]:
            continue
        check, by_hand = by_id.get(f"{name}_check"), cell.metadata["nbgrader"]["grade"]
        if check is None and not by_hand:
            raise ValueError(f"The exercise {name} has no cell with the grade_id {name}_check.")
        found[name] = (cell, None if by_hand else check)
    return found


def setup_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells tagged ``setup``: all that an exercise and its check may stand on."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and "setup" in cell.metadata.get("tags", ())]
