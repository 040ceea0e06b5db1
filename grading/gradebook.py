"""nbgrader's gradebook: it keeps the marks, and its formgrader is where text is graded by hand."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Container
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import SaveCells

from grading.collect import Submission
from grading.tasks import Lesson, Work

CONFIG = """\
# Written by `make grade`. The formgrader is opened here by `make formgrader`.
c = get_config()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.db_url = {url!r}
c.CourseDirectory.course_id = "course"
c.Exchange.root = {root!r} + "/exchange"
"""


class Marks:
    """The gradebook of the course, open for one lesson."""

    def __init__(self, folder: Path, course: Lesson) -> None:
        here = str(Path(sys.executable).parent)
        if here not in os.environ.get("PATH", "").split(os.pathsep):  # nbgrader starts alembic, which lies there
            os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
        self._folder, self._course = folder.resolve(), course
        self._url = f"sqlite:///{self._folder}/gradebook.db"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "exchange").mkdir(exist_ok=True)  # unused, but formgrader complains where there is none
        (self._folder / "nbgrader_config.py").write_text(CONFIG.format(root=str(self._folder), url=self._url))
        source = self._folder / "source" / course.name / f"{course.name}.ipynb"
        source.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(course.full, source)
        with Gradebook(self._url) as book:
            book.update_or_create_assignment(course.name)
        logging.getLogger("traitlets").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="nbgrader.*")  # SQLAlchemy's, about code of nbgrader's
        where = {"assignment": course.name, "notebook": course.name, "db_url": self._url}
        try:
            SaveCells().preprocess(course.released, {"nbgrader": where})
        except RuntimeError:
            raise ValueError(
                f"{course.name} has gained or lost a question since marks were first given, and nbgrader can't follow. "
                "Changed points, checks and texts are fine. To begin this lesson anew, which loses its marks given by "
                f"hand: .venv/bin/python -m grading SUBMISSIONS --lesson {course.name} --anew"
            ) from None
        self._book = Gradebook(self._url)

    def __enter__(self) -> Marks:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.close()

    def save(self, submission: Submission, work: Work, result: dict[str, Any]) -> None:
        """Write the marks of the checks, and the notebook that formgrader shows. Marks given by hand stay."""
        lesson = self._course.name
        for cell in work.notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") in self._course.by_hand:
                cell.source = harmless(cell.source, cell.get("attachments", ()))
        self._book.update_or_create_student(submission.student, last_name=submission.name[:120])
        self._book.update_or_create_submission(lesson, submission.student, timestamp=submission.when)
        path = self._folder / "autograded" / submission.student / lesson / f"{lesson}.ipynb"
        before = _answers(path)
        for name in self._course.questions:
            by_hand = name in self._course.by_hand
            grade = self._book.find_grade(name if by_hand else f"{name}_check", lesson, lesson, submission.student)
            comment = self._book.find_comment(name, lesson, lesson, submission.student)
            comment.auto_comment = "No response." if name in work.untouched else None
            if not by_hand:
                grade.auto_score, grade.needs_manual_grade = result["checks"][name]["score"], False
            elif name in work.untouched:
                grade.auto_score, grade.needs_manual_grade = 0.0, False
                if before.get(name, "") != _text(work.notebook, name):  # what was marked is no longer there
                    grade.manual_score = None
            else:
                same = before.get(name) == _text(work.notebook, name)
                still = grade.manual_score is None or not same or bool(grade.needs_manual_grade)  # of an older text
                grade.auto_score, grade.needs_manual_grade = None, still
        self._book.db.commit()
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(_with_outputs(work.notebook, result), path)

    def read(self, student: str) -> dict[str, dict[str, Any]]:
        """Question -> its mark (``None``: to be graded by hand) and the grader's comment; empty when there is none."""
        found = {}
        for name in self._course.questions:
            cell = name if name in self._course.by_hand else f"{name}_check"
            try:
                grade = self._book.find_grade(cell, self._course.name, self._course.name, student)
                comment = self._book.find_comment(name, self._course.name, self._course.name, student).manual_comment
            except MissingEntry:
                return {}
            score = None if grade.needs_manual_grade else float(grade.score + (grade.extra_credit or 0))
            found[name] = {"score": score, "comment": comment or "", "changed": grade.manual_score is not None}
        return found


def forget(folder: Path, lesson: str) -> Path:
    """Remove a lesson from the gradebook, and its results and graded files; returns where a copy of all that lies."""
    copy = folder / "before" / f"{lesson} {datetime.now():%Y-%m-%d %H.%M.%S}"
    copy.mkdir(parents=True)
    if (folder / "gradebook.db").exists():
        shutil.copy2(folder / "gradebook.db", copy)
        url = f"sqlite:///{(folder / 'gradebook.db').resolve()}"
        with Gradebook(url) as book, contextlib.suppress(MissingEntry):
            book.remove_assignment(lesson)
    if (folder / lesson).exists():
        (folder / lesson).rename(copy / lesson)
    for graded in folder.glob(f"autograded/*/{lesson}"):
        (copy / "autograded").mkdir(exist_ok=True)
        graded.rename(copy / "autograded" / graded.parent.name)
    return copy


def harmless(text: str, pictures: Container[str] = ()) -> str:
    """Markdown in which no tag, entity or script address begins: formgrader runs them in the grader's browser.

    Nor does a picture that isn't among ``pictures``: formgrader can't show an unknown attachment, and one from
    elsewhere would tell there when it is looked at.
    """

    def attached(match: re.Match[str]) -> str:
        known = match[0] == f"attachment:{match[1]}" and match[1] in pictures
        return match[0] if known else match[0].replace("attachment", "attachment ")

    text = re.sub(r"([<&])(?=[A-Za-z/!?#])", r"\1 ", text)  # a space does no harm to math or code
    text = re.sub(r"!\[(?![^\[\]\\`<]*\]\(attachment:\w+[\s)])", "! [", text)
    text = re.sub(r"(?i)(script)[\s\\]*:", r"\1 :", text)
    return re.sub(r"attachment[\s\\]*:(?:(\w+)(?=[\s)]|$))?", attached, text)


def _text(notebook: NotebookNode, name: str) -> str:
    return next((c.source for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name), "")


def _answers(path: Path) -> dict[str, str]:
    """The answers in the notebook that was graded before; empty when there was none."""
    if not path.exists():
        return {}
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if "nbgrader" in cell.metadata]
    return {cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in cells}


def _with_outputs(notebook: NotebookNode, result: dict[str, Any]) -> NotebookNode:
    """The student's answers with what was printed and what the checks said."""
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if name in result["cells"]:
            entry = result["cells"][name]
            said = "\n".join(filter(None, (entry["output"], entry["error"])))
        elif name.removesuffix("_check") in result["checks"] and name.endswith("_check"):
            check = result["checks"][name.removesuffix("_check")]
            said = "\n".join(filter(None, (check["output"], check["error"], f"{check['score']:g} points")))
        else:
            continue
        cell.outputs = [new_output("stream", name="stdout", text=said)] if said else []
    return notebook
