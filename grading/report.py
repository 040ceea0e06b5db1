"""What an instructor and a student get: marks.csv, Moodle's file, a page for each student, and a summary."""

from __future__ import annotations

import csv
import html
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from grading.tasks import Lesson

STYLE = """<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}
pre{background:#f5f5f5;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem}
table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.2rem .7rem;text-align:left}
td{overflow-wrap:anywhere}td:first-child{min-width:9rem}
.number{text-align:right}h2{margin-top:2rem}.note{color:#555}</style>"""

ABSENT, EARLIER = "not in this hand-in", "the marks are those of an earlier file"


@dataclass
class Row:
    """One student's marks."""

    student: str
    name: str
    number: str
    marks: dict[str, dict[str, Any]] = field(default_factory=dict)  # empty: not graded
    result: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    kept: str = ""  # not of this hand-in: for the instructor only

    @property
    def notes(self) -> list[str]:
        return [*filter(None, [self.kept]), *self.remarks]

    @property
    def open(self) -> list[str]:
        """The questions that somebody must still grade by hand."""
        return [name for name, mark in self.marks.items() if mark["score"] is None]

    @property
    def total(self) -> float:
        return sum(mark["score"] or 0.0 for mark in self.marks.values())


def write(folder: Path, course: Lesson, rows: list[Row], left: list[tuple[str, str]], protection: str) -> None:
    """Write everything that the grading of a lesson gives."""
    questions = course.questions
    head = ["student", "name", "number", *questions, "total", "of", "to grade by hand", "remarks"]
    lines = []
    for row in rows:
        marks = [_number(row.marks[q]["score"]) if row.marks else "" for q in questions]
        total = [_number(row.total), _number(sum(questions.values()))] if row.marks else ["", ""]
        lines.append(
            [
                *map(_cell, (row.student, row.name, row.number)),
                *marks,
                *total,
                " ".join(row.open),
                _cell("; ".join(row.notes)),
            ]
        )
    _csv(folder / "marks.csv", [head, *lines])
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"  # Moodle keeps a mark that was given there after this
    moodle = [["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]]
    for row in rows:
        if row.number and row.marks:
            grade = "" if row.open else _number(row.total)
            moodle.append(
                [
                    f"Participant {row.number}",
                    _cell(row.name),
                    grade,
                    _number(sum(questions.values())),
                    now,
                    _cell(_comments(row)),
                ]
            )
    _csv(folder / "moodle.csv", moodle)
    pages = folder / "feedback"
    pages.mkdir(parents=True, exist_ok=True)
    for row in rows:
        (pages / f"{row.student}.html").write_text(feedback(course, row), encoding="utf-8")
    with zipfile.ZipFile(folder / "feedback.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            if row.number:  # folders as Moodle names them: it finds the student by the number
                place = f"{row.student.replace('_', '-')}_{row.number}_assignsubmission_file_"
                archive.write(pages / f"{row.student}.html", f"{place}/feedback.html")
    (folder / "summary.html").write_text(summary(course, rows, left, protection), encoding="utf-8")


def feedback(course: Lesson, row: Row) -> str:
    """One student's page: no network, no hidden test."""
    parts = [
        f"<!doctype html><html lang=en><title>{_safe(course.name)}</title>{STYLE}",
        f"<h1>{_title(course)}</h1><p>{_safe(row.name)}</p>",
    ]
    if not row.marks:
        return "".join([*parts, f"<p>This could not be graded: {_safe('; '.join(row.remarks))}</p>"])
    still = f", and {len(row.open)} to be graded" if row.open else ""
    parts.append(f"<p><b>{_number(row.total)} of {_number(sum(course.questions.values()))} points{still}</b></p>")
    if row.remarks:
        parts.append(f"<p class=note>{_safe('; '.join(row.remarks))}</p>")
    for name, points in course.questions.items():
        mark = row.marks[name]
        score = "to be graded" if mark["score"] is None else f"{_number(mark['score'])} of {_number(points)}"
        parts.append(f"<h2>{_safe(name)}: {score}</h2>")
        untouched = name in row.result["untouched"]
        answer = f"<pre>{_safe(row.result['answers'].get(name, ''))}</pre>"
        parts.append("<p>Not attempted.</p>" if untouched else answer)
        if name in row.result["checks"] and not untouched:
            said = row.result["checks"][name]
            cell = row.result["cells"].get(name, {"output": "", "error": ""})
            text = "\n".join(
                filter(None, (cell["output"], cell["error"], said["printed"], said["output"], said["error"]))
            )
            parts.append(f"<p>What the check says:</p><pre>{_safe(text)}</pre>")
            if said["hidden_failed"]:
                parts.append(
                    "<p>The comparisons that you see hold. Some that you don't see, on other inputs, do not.</p>"
                )
            elif said["seen"] != said["score"]:
                parts.append("<p>The mark counts comparisons on other inputs, too, which you don't see.</p>")
        if mark["changed"] and name not in course.by_hand:
            parts.append("<p class=note>This mark was changed by hand.</p>")
        if mark["comment"]:
            parts.append(f"<p><b>Comment:</b> {_safe(mark['comment'])}</p>")
    return "".join(parts)


def summary(course: Lesson, rows: list[Row], left: list[tuple[str, str]], protection: str) -> str:
    """The class on one page."""
    graded, points = [row for row in rows if row.marks], sum(course.questions.values())
    parts = [
        f"<!doctype html><html lang=en><title>{_safe(course.name)}</title>{STYLE}<h1>{_title(course)}: the class</h1>"
    ]
    still = sum(len(row.open) for row in graded)
    parts.append(
        f"<p>{len(graded)} graded, {len(rows) - len(graded)} could not be. {still} answers to grade by hand.</p>"
    )
    parts.append(f"<p class=note>{_safe(protection)}</p>")
    if graded:
        parts.append(f"<h2>Totals: mean {mean(row.total for row in graded):.1f} of {_number(points)} points</h2>")
        parts.append("<p class=note>What is still to be graded by hand counts 0 here.</p>" if still else "")
        parts.append(_histogram(graded, points))
        rates = {}
        for name, most in course.questions.items():
            marks = [row.marks[name]["score"] for row in graded if row.marks[name]["score"] is not None]
            skipped = sum(name in row.result["untouched"] for row in graded)
            rates[name] = (mean(marks) / most if len(marks) == len(graded) else None, skipped, len(graded) - len(marks))
        parts.append(
            "<h2>Questions, the hardest first</h2><table><tr><th>question<th>mean<th>not attempted<th>to grade by hand"
        )
        for name, (rate, skipped, todo) in sorted(
            rates.items(), key=lambda item: 2.0 if item[1][0] is None else item[1][0]
        ):
            shown = "" if rate is None else f"{rate:.0%}"
            parts.append(
                f"<tr><td>{_safe(name)}<td class=number>{shown}<td class=number>{skipped}<td class=number>{todo}"
            )
        parts.append("</table>")
    failed = [(row.name, "; ".join(row.notes)) for row in rows if not row.marks]
    noted = [(row.name, "; ".join(row.remarks)) for row in graded if row.remarks]
    kept = [(row.name, row.kept) for row in graded if row.kept not in ("", ABSENT)]
    absent = sum(row.kept == ABSENT for row in graded)
    titles = ("Could not be graded", failed), ("Files that were not taken", left), ("Remarks", noted)
    for title, lines in (*titles, ("Marks of an earlier hand-in", kept)):
        if lines:
            body = "".join(f"<tr><td>{_safe(name)}<td>{_safe(why)}" for name, why in lines)
            parts.append(f"<h2>{title}</h2><table>{body}</table>")
    if absent:
        parts.append(f"<p class=note>Students who aren't in this hand-in, and whose marks are kept: {absent}.</p>")
    return "".join(parts)


def _histogram(rows: list[Row], points: float) -> str:
    """How many students have how many points: ten bars."""
    counts = [0] * 10
    for row in rows:
        counts[min(9, int(10 * row.total / points))] += 1
    bars = []
    for i, count in enumerate(counts):
        height = 120 * count / max(counts)
        bars.append(f'<rect x="{50 * i + 3}" y="{140 - height:.0f}" width="44" height="{height:.0f}" fill="#0072b2"/>')
        bars.append(f'<text x="{50 * i + 25}" y="{134 - height:.0f}" text-anchor="middle">{count or ""}</text>')
        bars.append(f'<text x="{50 * i + 3}" y="158" font-size="12">{points * i / 10:g}</text>')
    return f'<svg viewBox="0 0 500 162" role="img" aria-label="Students by total points">{"".join(bars)}</svg>'


def _comments(row: Row) -> str:
    return "; ".join(f"{name}: {mark['comment']}" for name, mark in row.marks.items() if mark["comment"])


def _title(course: Lesson) -> str:
    return _safe(course.released.cells[0].source.split("\n")[0].lstrip("# "))


def _safe(text: str) -> str:
    return html.escape(str(text))


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2):g}"


def _cell(text: str) -> str:
    """Text that a spreadsheet doesn't take for a formula."""
    text = " ".join(str(text).split())
    return f"'{text}" if text[:1] in "=+-@" and text else text


def _csv(path: Path, lines: list[list[str]]) -> None:
    part = path.with_name(path.name + ".part")
    with open(part, "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(lines)
    part.replace(path)
