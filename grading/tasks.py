"""What of a submission is graded: the student's answers, put into the released notebook, and our own checks."""

from __future__ import annotations

import hashlib
import json
import re
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import compute_checksum

from tools import lesson

LARGEST, MOST_CELLS = 30 * 2**20, 2000
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")  # no SVG: it may hold scripts
OUR_ID = re.compile(r"[0-9a-f]{12}(-\d+)?")  # of a cell of any release (tools.lesson.read)


class Unreadable(Exception):
    """This is no notebook; the message says why."""


@dataclass
class Lesson:
    """One lesson, as the grading needs it."""

    source: Path

    @property
    def name(self) -> str:
        return self.source.stem

    @cached_property
    def full(self) -> NotebookNode:
        """With solutions and hidden tests."""
        return lesson.read(self.source)

    @cached_property
    def released(self) -> NotebookNode:
        """As students got it."""
        return lesson.student(self.source)

    @cached_property
    def setup(self) -> list[str]:
        return [cell.source for cell in lesson.setup_cells(self.released)]

    @cached_property
    def questions(self) -> dict[str, float]:
        """grade_id of the answer -> points, in the order of the lesson."""
        found = {}
        for name, (answer, check) in lesson.exercises(self.full).items():
            found[name] = float((check or answer).metadata["nbgrader"]["points"])
        return found

    @cached_property
    def by_hand(self) -> set[str]:
        return {name for name, (_, check) in lesson.exercises(self.full).items() if check is None}

    @cached_property
    def checks(self) -> list[dict[str, Any]]:
        """Each check as students see it, and with its hidden tests (``None`` when it has none)."""
        seen = {
            cell.metadata["nbgrader"]["grade_id"]: cell for cell in self.released.cells if "nbgrader" in cell.metadata
        }
        found = []
        for name, (_, check) in lesson.exercises(self.full).items():
            if check is not None:
                visible, full = seen[f"{name}_check"].source, lesson.without_markers(check.source)
                full = None if full.split() == visible.split() else full
                found.append({"name": name, "points": self.questions[name], "visible": visible, "full": full})
        return found


@dataclass
class Work:
    """A submission made fit for grading."""

    notebook: NotebookNode
    task: dict[str, Any]
    untouched: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)


def read(data: bytes) -> NotebookNode:
    """A submitted file as a notebook of today's format.

    Raises:
        Unreadable: it is none.
    """
    if not data.strip():
        raise Unreadable("the file is empty")
    if len(data) > LARGEST:
        raise Unreadable(too_large(len(data)))
    try:
        text = data.decode("utf-8-sig")
        raw = json.loads(text)
        if not isinstance(raw, dict) or not ("cells" in raw or "worksheets" in raw):
            raise Unreadable("it is JSON, but no notebook")
        sheets = [raw] if "cells" in raw else raw["worksheets"]
        if (count := sum(len(sheet.get("cells", ())) for sheet in sheets)) > MOST_CELLS:
            raise Unreadable(f"it has {count} cells; the most is {MOST_CELLS}: have the spare ones deleted")
        notebook = nbformat.reads(text, as_version=4)
        for cell in notebook.cells:
            if not isinstance(cell.get("cell_type"), str):
                raise Unreadable("it has a cell that is none (without a cell_type)")
            cell.source = "".join(cell.source)
            cell.metadata = NotebookNode(cell.get("metadata") or {})
            if not isinstance(cell.metadata.get("nbgrader"), dict):
                cell.metadata.pop("nbgrader", None)
        return notebook
    except Unreadable:
        raise
    except (Exception, RecursionError) as error:
        raise Unreadable(f"it is no notebook, or damaged ({type(error).__name__})") from None


def too_large(size: int) -> str:
    """Why a file of that many bytes isn't taken, and what to do."""
    return (
        f"the file has {size / 2**20:.0f} MB; the most is {LARGEST // 2**20} MB: "
        "have it saved once more after 'Clear Outputs of All Cells'"
    )


def grade_ids(notebook: NotebookNode) -> set[str]:
    """The exercises that a notebook has cells of."""
    return {str(cell.metadata["nbgrader"].get("grade_id")) for cell in notebook.cells if "nbgrader" in cell.metadata}


def prepare(course: Lesson, submitted: NotebookNode) -> Work:
    """Take the answers out of a submission, whatever has become of its other cells."""
    clean, remarks, untouched, used = deepcopy(course.released), [], set(), set()
    gives: dict[int, list[str]] = {}  # cell -> the questions that it answers
    positions = {
        cell.metadata["nbgrader"]["grade_id"]: i for i, cell in enumerate(clean.cells) if "nbgrader" in cell.metadata
    }
    for name in course.questions:
        place = positions[name]
        stub, kind = clean.cells[place].source, clean.cells[place].cell_type
        found = _find(course.released, place, name, submitted, used)
        left = all(_plain(cell.source).split() in ([], stub.split()) for cell in found)
        above = _own_above(found[0], course, kind, submitted, used) if found and left else []
        found = _with_own_below(found, course, name, submitted, used)
        used |= {id(cell) for cell in found if kind == "code" or cell.cell_type != "code"}  # code may be needed as well
        if not found:
            remarks.append(f"{name}: its cell is missing")
            untouched.add(name)
            continue
        answers = [cell for cell in found if _plain(cell.source).split() not in ([], stub.split())]
        elsewhere = []
        if name in course.by_hand:
            elsewhere = above
            used |= {id(cell) for cell in above if cell.cell_type != "code"}
        elif not answers:
            elsewhere = _own_anywhere(course, name, submitted, used)
        answers = elsewhere + answers
        if not answers:
            untouched.add(name)
            continue
        if elsewhere:
            remarks.append(f"{name}: answered in another cell")
        elif len(found) > 1:
            remarks.append(f"{name}: {len(found)} cells, taken together")
        for cell in answers:
            gives.setdefault(id(cell), []).append(name)
        texts = [_plain(cell.source) for cell in answers]
        if kind == "markdown":
            pictures = clean.cells[place].attachments = NotebookNode()
            texts = [_with_pictures(cell, pictures) for cell in answers]
        clean.cells[place].source = "\n\n".join(dict.fromkeys(texts))
    changes = {"the check was missing": [], "the check had been changed": [], "the points had been changed": []}
    missing, edited, points = changes.values()
    for name in [name for name in course.questions if name not in course.by_hand]:
        check = clean.cells[positions[f"{name}_check"]]
        theirs = [c for c in submitted.cells if c.metadata.get("nbgrader", {}).get("grade_id") == f"{name}_check"]
        altered = [c for c in theirs if not _as_released(c)]  # ours may have changed since
        if not theirs:
            missing.append(name)
        elif any(_plain(c.source).split() != check.source.split() for c in altered):
            edited.append(name)
        elif any(c.metadata["nbgrader"].get("points") != check.metadata["nbgrader"]["points"] for c in altered):
            points.append(name)
    remarks += [f"{what} (ours counts): {', '.join(names)}" for what, names in changes.items() if names]
    cells = _cells(course, clean, submitted, used, gives)
    return Work(clean, {"cells": cells, "checks": course.checks}, untouched, remarks)


def _cells(
    course: Lesson, clean: NotebookNode, submitted: NotebookNode, used: set[int], gives: dict[int, list[str]]
) -> list[dict]:
    """All code cells that may matter, in the student's order: answers, the lesson's, and the student's own."""
    ours = {" ".join(cell.source.split()) for cell in course.released.cells}
    setup = {" ".join(source.split()) for source in course.setup}
    answers = {c.metadata["nbgrader"]["grade_id"]: c.source for c in clean.cells if "nbgrader" in c.metadata}
    answers = {k: v for k, v in answers.items() if k in course.questions and k not in course.by_hand}
    cells, placed = [], set()
    for cell in submitted.cells:
        names = [name for name in gives.get(id(cell), []) if name in answers]
        text = " ".join(_plain(cell.source).split())
        if names:
            cells += [{"source": answers[n], "answer": n, "own": False} for n in names if n not in placed]
            placed.update(names)
        elif cell.cell_type == "code" and id(cell) not in used and text not in setup:
            graded = cell.metadata.get("nbgrader", {}).get("grade")
            if text and not graded:
                cells.append({"source": _plain(cell.source), "answer": "", "own": text not in ours})
    cells += [{"source": answers[n], "answer": n, "own": False} for n in answers if n not in placed]
    return cells


def _find(released: NotebookNode, place: int, name: str, submitted: NotebookNode, used: set[int]) -> list[NotebookNode]:
    """The cells of a submission that answer one question: by metadata, by cell id, by what they define, by place."""
    free = [cell for cell in submitted.cells if id(cell) not in used]
    ways = [
        [cell for cell in free if cell.metadata.get("nbgrader", {}).get("grade_id") == name],
        [cell for cell in free if cell.get("id") == released.cells[place].id],
        [
            cell
            for cell in free
            if cell.cell_type == "code" and not cell.metadata.get("nbgrader") and _defines(cell.source, name)
        ],
        _after(released.cells[place - 1], submitted, free) if place else [],
    ]
    return next((way for way in ways if way), [])


def _with_own_below(
    found: list[NotebookNode], course: Lesson, name: str, submitted: NotebookNode, used: set[int]
) -> list[NotebookNode]:
    """And the student's own cells right below: a text goes on there, and a later definition counts."""
    own = {id(cell) for cell in _own(course, submitted, used)}
    cells, below = [], False
    for cell in submitted.cells:
        if any(cell is one for one in found):
            cells.append(cell)
            below = True
        elif id(cell) not in own:
            below = False
        elif below and (name in course.by_hand or (cell.cell_type == "code" and _defines(cell.source, name))):
            cells.append(cell)
    return cells


def _own_above(
    answer: NotebookNode, course: Lesson, kind: str, submitted: NotebookNode, used: set[int]
) -> list[NotebookNode]:
    """The student's own cells between the lesson's cell before an answer and the answer."""
    own = {id(cell) for cell in _own(course, submitted, used)}
    cells = []
    for cell in submitted.cells:
        if cell is answer:
            break
        cells.append(cell) if id(cell) in own else cells.clear()
    return [cell for cell in cells if cell.cell_type == kind and cell.source.strip()]


def _own_anywhere(course: Lesson, name: str, submitted: NotebookNode, used: set[int]) -> list[NotebookNode]:
    """The last of the student's own cells that defines a name; it may define those of other exercises, too."""
    own = [cell for cell in _own(course, submitted, used) if cell.cell_type == "code"]
    return [cell for cell in own if _defines(cell.source, name)][-1:]


def _own(course: Lesson, submitted: NotebookNode, used: set[int]) -> list[NotebookNode]:
    """The cells that the lesson hasn't, or not with this text, and that are no answer yet."""
    ours = {" ".join(cell.source.split()) for cell in course.released.cells}
    ids = {cell.id for cell in course.released.cells}
    free = [cell for cell in submitted.cells if "nbgrader" not in cell.metadata and id(cell) not in used]
    free = [cell for cell in free if cell.get("id") in ids or not OUR_ID.fullmatch(str(cell.get("id")))]
    return [cell for cell in free if " ".join(_plain(cell.source).split()) not in ours]


def _with_pictures(cell: NotebookNode, pictures: dict[str, dict[str, str]]) -> str:
    """A text, its pictures put into ``pictures`` under names that no two of them share and that need no escapes."""
    given = cell.get("attachments")
    given = given if isinstance(given, dict) else {}

    def renamed(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        picture = given.get(name) or given.get(unquote(name))
        kinds = [kind for kind in PICTURES if isinstance(picture, dict) and kind in picture]
        if not kinds:
            return match[0]  # without a picture: gradebook.harmless makes it text
        data = picture[kinds[0]]
        data = "".join(re.findall(r"[A-Za-z0-9+/=]+", "".join(map(str, data)) if isinstance(data, list) else str(data)))
        name = hashlib.sha256(data.encode()).hexdigest()[:12]
        pictures[name] = NotebookNode({kinds[0]: data})
        return f"attachment:{name}"

    return re.sub(r"<attachment:([^<>\n]+)>|attachment:([^\s()<>\"'\\]+)", renamed, _plain(cell.source))


def _after(before: NotebookNode, submitted: NotebookNode, free: list[NotebookNode]) -> list[NotebookNode]:
    for one, two in zip(submitted.cells, submitted.cells[1:], strict=False):
        same = before.source.strip() and one.source.split() == before.source.split()
        if same and "nbgrader" not in two.metadata and any(two is cell for cell in free):
            return [two]
    return []


def _defines(source: str, name: str) -> bool:
    """Does a cell that begins a line with the name's definition; no parser: the text may be anything."""
    return any(line.startswith((f"def {name}(", f"{name} =", f"{name}=")) for line in _plain(source).split("\n"))


def _as_released(cell: NotebookNode) -> bool:
    """Has a cell the checksum that nbgrader gave it when it was handed out?"""
    same = deepcopy(cell)
    same.source = _plain(cell.source)
    try:
        return cell.metadata["nbgrader"].get("checksum") == compute_checksum(same)
    except Exception:  # its metadata were edited
        return False


def _plain(text: str) -> str:
    """Text with plain line ends, and nothing that can't be written."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
