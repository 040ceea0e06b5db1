"""A class of 100 with broken and hostile notebooks in it, as Moodle hands it over: the others get what they earned."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import subprocess
import zipfile
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat import v3, v4
from test_grading import CHEATS, notebook

from grading import __main__ as grading
from grading import collect, report, tasks
from grading.bench import Bench, Failed
from grading.gradebook import Marks, harmless
from grading.sandbox import Limits, isolated
from grading.tasks import Lesson
from tools import lesson, release

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="grading needs Linux or macOS")
GOOD = 80
HALF = "def add_{0}(n):\n    return {0}"  # right for 0, wrong for the hidden 1000


def answers(code: int) -> dict[str, str]:
    """Four answers: each bit of ``code`` makes one right; the others are half right, or missing."""
    found = {}
    for i in range(1, 5):
        if code >> (i - 1) & 1:
            found[f"add_{i}"] = f"def add_{i}(n):\n    return n + {i}"
        elif (code + i) % 3:
            found[f"add_{i}"] = HALF.format(i)
    return found


def expected(code: int) -> list[float]:
    given = answers(code)
    return [
        0.0 if f"add_{i}" not in given else 1.0 if given[f"add_{i}"] == HALF.format(i) else 2.0 for i in range(1, 5)
    ]


def _cells(made: nbformat.NotebookNode, name: str) -> int:
    return next(i for i, c in enumerate(made.cells) if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def broken(course: Lesson) -> dict[str, tuple[bytes, list[float] | None]]:
    """Student -> (file, the marks that it must get; ``None``: it can't be graded)."""
    full, right = [2.0] * 4, answers(15)

    def made() -> nbformat.NotebookNode:
        return notebook(course, right)

    found = {"Empty": (b"", None), "Corrupt": (lesson.dump(made())[:700], None), "Json": (b'{"a": 1}', None)}
    found["Binary"] = (bytes(range(256)) * 10, None)
    deep = b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b', "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'
    found["Deep"] = (deep, None)
    other = made()
    for cell in other.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"]["grade_id"] = "x" + cell.metadata["nbgrader"]["grade_id"]
            cell.source, cell.id = "1", "x" + cell.id
    found["Otherlesson"] = (lesson.dump(other), None)

    def edit(name: str, change, marks: list[float] | None = None) -> None:
        book = made()
        data = change(book)
        found[name] = (data if isinstance(data, bytes) else lesson.dump(book), marks or full)

    def deleted(book):
        del book.cells[_cells(book, "add_2")], book.cells[_cells(book, "add_3_check")]

    def duplicated(book):
        book.cells.insert(0, book.cells[_cells(book, "add_2")].copy())
        book.cells.append(book.cells[_cells(book, "add_1_check")].copy())

    def split(book):
        place = _cells(book, "add_2")
        second = v4.new_code_cell("# the second half\nhalf_way = 2", metadata=book.cells[place].metadata)
        book.cells.insert(place + 1, second)

    def below(book):
        for name, text in (
            ("add_1", course.released.cells[_cells(book, "add_1")].source),
            ("add_2", "def add_2(n):\n    return 0"),
        ):
            book.cells.insert(_cells(book, name) + 1, v4.new_code_cell(right[name]))
            book.cells[_cells(book, name)].source = text

    def tampered(book):
        for cell in book.cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                cell.metadata["nbgrader"]["points"] = 100
                cell.source = "100.0"
        book.cells[_cells(book, "add_1")].source = "def add_1(n): return -1"

    def stripped(book):
        for cell in book.cells:
            cell.metadata = {}
            cell.pop("id")
        book.nbformat_minor = 2

    def colab(book):
        book.metadata["colab"] = {"provenance": []}
        for cell in book.cells:
            cell.metadata = {**cell.metadata, "id": "Xy" + cell.id, "colab": {"base_uri": "https://localhost:8080/"}}
            cell.pop("id")
        book.nbformat_minor = 0

    def old(book):
        cells = [v3.new_code_cell(c.source, metadata=c.metadata) for c in book.cells if c.cell_type == "code"]
        return nbformat.writes(v3.new_notebook(worksheets=[v3.new_worksheet(cells=cells)])).encode()

    def windows(book):
        for cell in book.cells:
            cell.source = cell.source.replace("\n", "\r\n")
        return b"\xef\xbb\xbf" + lesson.dump(book).replace(b"\n", b"\r\n")

    def emoji(book):
        book.cells[_cells(book, "add_1")].source = "def add_1(n):\n    print('🎉 ünï \u202e')\n    return n + 1"
        book.cells[_cells(book, "add_2")].source += "\n# 🙈"

    def helper(book):
        book.cells[_cells(book, "add_1")].source = "def add_1(n):\n    return own(n, 1)"
        book.cells.insert(3, v4.new_code_cell("%matplotlib inline\ndef own(a, b):\n    return a + b"))

    def magic(book):
        book.cells[_cells(book, "add_1")].source = "!pip install something\n%timeit 1\ndef add_1(n):\n    return n + 1"

    def raw(book):
        book.cells[_cells(book, "add_3_check")].cell_type = "raw"
        del (
            book.cells[_cells(book, "add_3_check")]["outputs"],
            book.cells[_cells(book, "add_3_check")]["execution_count"],
        )

    edit("Deleted", deleted, [2.0, 0.0, 2.0, 2.0])
    edit("Tampered", tampered, [0.0, 2.0, 2.0, 2.0])
    edit("Reordered", lambda book: book.cells.reverse())
    for change in (duplicated, split, below, stripped, colab, old, windows, emoji, helper, magic, raw):
        edit(change.__name__.title(), change)
    titles = ["an endless loop", "an endless loop under a bare except", "a fork bomb in the cell", "much memory"]
    titles += ["much output", "os._exit in the cell", "all processes are killed", "the score is patched"]
    for i, title in enumerate(titles):
        book = notebook(course, {**right, "add_1": CHEATS[title]})
        found[f"Hostile {i} <script>alert(1)</script>"[: 10 if i else None]] = (lesson.dump(book), [0.0, 2.0, 2.0, 2.0])
    return found


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    from made import lesson_text

    folder = tmp_path_factory.mktemp("lessons")
    (folder / "01_try.py").write_text(lesson_text(4), encoding="utf-8")
    return Lesson(folder / "01_try.py")


def _zip(path: Path, course: Lesson, good: int, bad: dict) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(good):
            name = f"Zoë Müller{i}_{1000 + i}_assignsubmission_file_/01_try{' (1)' if i % 7 == 0 else ''}.ipynb"
            archive.writestr(name, lesson.dump(notebook(course, answers(i % 16))))
        for i, (name, (data, _)) in enumerate(bad.items()):
            file = "renamed by me.ipynb" if i % 2 else "01_try.ipynb"
            archive.writestr(f"{name.replace('/', '')}_{5000 + i}_assignsubmission_file_/{file}", data)
        archive.writestr("../../climbs_1_assignsubmission_file_/01_try.ipynb", b"{}")
        archive.writestr("__MACOSX/._01_try.ipynb", b"{}")
        link = zipfile.ZipInfo("Link_2_assignsubmission_file_/01_try.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("Report_3_assignsubmission_file_/report.pdf", b"%PDF")
    return path


def _grade(course: Lesson, path: Path, folder: Path, *more: str) -> dict[str, dict[str, str]]:
    options = [str(path), "--lesson", "01", "--folder", str(folder), "--lessons", str(course.source.parent)]
    assert grading.main([*options, *more, "--seconds", "2", "--memory", "1500"]) == 0
    with open(folder / "01_try" / "marks.csv", encoding="utf-8-sig", newline="") as file:
        return {line["number"]: line for line in csv.DictReader(file)}


def _marks(line: dict[str, str]) -> list[float] | None:
    return [float(line[f"add_{i}"]) for i in range(1, 5)] if line["total"] else None


@pytest.mark.skipif(not isolated(), reason="this machine allows no namespaces")
def test_batch_survives(course: Lesson, tmp_path: Path, capsys):
    bad = broken(course)
    assert len(bad) >= 24
    lines = _grade(course, _zip(tmp_path / "class.zip", course, GOOD, bad), tmp_path / "all")
    assert len(lines) == GOOD + len(bad) + 3, "and a row for each whose file isn't taken"
    assert "not a notebook (report.pdf)" in lines["3"]["remarks"] and not lines["3"]["total"]
    wrong = {f"good {i}": lines[str(1000 + i)] for i in range(GOOD) if _marks(lines[str(1000 + i)]) != expected(i % 16)}
    wrong |= {
        n: lines[str(5000 + i)]
        for i, (n, (_, marks)) in enumerate(bad.items())
        if _marks(lines[str(5000 + i)]) != marks
    }
    assert not wrong
    said = capsys.readouterr().out
    assert "climbs out" in said and "links aren't followed" in said and "report.pdf: not a notebook" in said
    pages = {path.stem: path.read_text() for path in (tmp_path / "all" / "01_try" / "feedback").glob("*.html")}
    assert len(pages) == len(lines)
    for page in [*pages.values(), (tmp_path / "all" / "01_try" / "summary.html").read_text()]:
        assert "<script" not in page and "http" not in page and "equal(1000" not in page and "1001" not in page
    alone = _grade(course, _zip(tmp_path / "some.zip", course, 3, {}), tmp_path / "alone")
    assert all(_marks(line) == _marks(lines[number]) for number, line in alone.items())


def test_own_cells_right_below_an_answer_belong_to_it(course: Lesson):
    book = notebook(course, {})
    book.cells.insert(_cells(book, "why") + 1, v4.new_markdown_cell("Because."))
    book.cells.insert(_cells(book, "add_1") + 1, v4.new_code_cell("add_1(3)"))
    book.cells.insert(_cells(book, "add_2_check") + 1, v4.new_code_cell("def add_2(n):\n    return n + 2"))
    work = tasks.prepare(course, book)
    assert work.untouched == set(course.questions) - {"why", "add_2"}, "what defines nothing is no answer"
    assert work.remarks == ["add_2: answered in another cell", "why: 2 cells, taken together"]
    assert work.notebook.cells[_cells(work.notebook, "why")].source == "Because."


def test_an_interrupted_run_goes_on_and_only_changed_files_are_graded_again(
    course: Lesson, tmp_path: Path, monkeypatch
):
    judged = []

    def judge(course, submission, bench, limits, real=grading._judge):
        if len(judged) == 2 and not (tmp_path / "go on").exists():
            raise KeyboardInterrupt
        judged.append(submission.number)
        return real(course, submission, bench, limits)

    monkeypatch.setattr(grading, "_judge", judge)
    path = _zip(tmp_path / "some.zip", course, 4, {})
    options = [str(path), "--lesson", "1", "--folder", str(tmp_path / "g"), "--lessons", str(course.source.parent)]
    assert grading.main(options) == 130
    (tmp_path / "go on").touch()
    assert grading.main(options) == 0 and sorted(judged) == ["1000", "1001", "1002", "1003"]
    assert grading.main(options) == 0 and len(judged) == 4
    _zip(path, course, 3, {"Fourth": (lesson.dump(notebook(course, answers(15))), None)})
    assert grading.main(options) == 0 and judged[4:] == ["5000"]


def test_marks_given_by_hand_are_merged(course: Lesson, tmp_path: Path):
    given = {**answers(15), "why": "Because."}
    path = _zip(tmp_path / "one.zip", course, 0, {"Ann": (lesson.dump(notebook(course, given)), None)})
    line = _grade(course, path, tmp_path / "g")["5000"]
    assert line["to grade by hand"] == "why" and line["why"] == "" and line["total"] == "8"
    with Marks(tmp_path / "g", course) as marks:  # as the formgrader does it
        grade = marks._book.find_grade("why", "01_try", "01_try", "ann")
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        marks._book.find_comment("why", "01_try", "01_try", "ann").manual_comment = "Short, but right."
        marks._book.db.commit()
    line = _grade(course, path, tmp_path / "g")["5000"]
    assert line["why"] == "1.5" and line["total"] == "9.5" and line["to grade by hand"] == ""
    assert "Short, but right." in (tmp_path / "g" / "01_try" / "feedback" / "ann.html").read_text()
    with open(tmp_path / "g" / "01_try" / "moodle.csv", encoding="utf-8-sig", newline="") as file:
        (line,) = csv.DictReader(file)  # Moodle's importer refuses a file without these columns, as it spells them
    assert (line["Identifier"], line["Grade"], line["Feedback comments"]) == (
        "Participant 5000",
        "9.5",
        "why: Short, but right.",
    )
    assert datetime.fromisoformat(line["Last modified (grade)"].removesuffix(" UTC"))
    with zipfile.ZipFile(tmp_path / "g" / "01_try" / "feedback.zip") as pages:
        assert "ann_5000_assignsubmission_file_/feedback.html" in pages.namelist()


def test_a_mark_for_another_text_never_counts_unseen(course: Lesson, tmp_path: Path):
    folder = tmp_path / "g"
    _grade(course, _class(tmp_path / "a.zip", course, "Ann_1"), folder)
    _hand_mark(course, folder, "ann", 2.0)
    other = _class(tmp_path / "b.zip", course, "Ann_1", why="Another text.")
    assert _grade(course, other, folder)["1"]["to grade by hand"] == "why"
    line = _grade(course, other, folder, "--seconds", "3")["1"]  # graded once more
    assert line["to grade by hand"] == "why" and line["why"] == "", "still nobody has read it"
    _hand_mark(course, folder, "ann", 1.0)
    assert _grade(course, other, folder, "--seconds", "4")["1"]["why"] == "1"
    line = _grade(course, _class(tmp_path / "c.zip", course, "Ann_1", why=""), folder)["1"]
    assert line["why"] == "0" and line["to grade by hand"] == "", "an empty answer has no mark of an earlier one"
    assert _grade(course, other, folder)["1"]["why"] == "", "and the earlier text is read again"


def test_a_file_that_nobody_thought_of_costs_the_others_nothing(course: Lesson, tmp_path: Path, monkeypatch):
    good = lesson.dump(notebook(course, answers(15)))
    huge, without = (json.loads(good) for _ in range(2))
    check = next(c for c in huge["cells"] if c["metadata"].get("nbgrader", {}).get("grade"))
    check["metadata"]["nbgrader"]["points"] = 10**400
    del without["cells"][0]["cell_type"]
    bad = {"Huge": (json.dumps(huge).encode(), None), "Without": (json.dumps(without).encode(), None)}
    lines = _grade(course, _zip(tmp_path / "a.zip", course, 2, bad), tmp_path / "g")
    assert _marks(lines["1000"]) == expected(0) and _marks(lines["1001"]) == expected(1)
    assert _marks(lines["5000"]) == expected(15) and "cell_type" in lines["5001"]["remarks"]

    def prepare(course, made, real=tasks.prepare):
        if any("n + 1" in cell.source for cell in made.cells):
            raise ZeroDivisionError("nobody thought of it")
        return real(course, made)

    monkeypatch.setattr(tasks, "prepare", prepare)
    lines = _grade(course, _zip(tmp_path / "b.zip", course, 2, {}), tmp_path / "h")
    assert {"nobody thought of it" in line["remarks"] for line in lines.values()} == {True, False}


def test_make_hands_on_the_pattern_as_it_was_written():
    pattern = "(?P<student>[a-z]+)(it's|-x$)"
    show = "show:\n\t@printenv PATTERN\n"
    command = ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "show", f"PATTERN={pattern}"]
    made = subprocess.run(command, input=show, capture_output=True, text=True, cwd=lesson.ROOT)
    assert made.stdout == pattern + "\n", made.stderr


def test_only_a_number_on_its_own_at_the_end_of_a_check_gives_it_to_everybody():
    found = {source: grading._given(source) for source in ("1\n2.0", "2", "x = 2.0", "2.0\ncheck.score()", "")}
    assert list(found.values()) == [2.0, 2.0, None, None, None]


def test_a_check_can_give_everybody_the_points(lesson_file, tmp_path: Path):
    score = "check.equal(1000, expected=1000 + 1)\n### END HIDDEN TESTS\ncheck.score()"
    changed = Lesson(lesson_file(edit=(score, score.replace("check.score()", "2.0"))))
    made = {
        n: lesson.dump(notebook(changed, {"add_1": n, "add_2": "1"})) for n in ("", "def f(", "import sys; sys.exit()")
    }
    bad = {f"Ann {i}": (data, None) for i, data in enumerate(made.values())}
    lines = _grade(changed, _zip(tmp_path / "one.zip", changed, 0, bad), tmp_path / "g")
    assert [_marks(lines[str(5000 + i)]) for i in range(3)] == [[2.0, 0.0, 0.0, 0.0]] * 3


@pytest.mark.parametrize(
    "text",
    [
        "<script>x</script>",
        "a <img src=x onerror=x>",
        "<!-- --><b onclick=x>",
        "[a](javascript:x)",
        "[a](java&#115;cript:x)",
        "[a](JavaScript\\:x)",
        "[a][b]\n\n[b]: javascript&colon;x",
        "<javascript:x>",
    ],
)
def test_a_text_runs_nothing_in_the_graders_browser(text: str):
    page = HTMLExporter().markdown2html({}, harmless(text))
    assert set(re.findall(r"<([^/ >]+)", page)) == {"p"}, page


def test_math_and_code_stay_what_they_are():
    text = "> $x_1 < 2$, `a < b`, *R & D*"
    assert harmless(text) == text


def test_a_dask_cluster_gives_the_same_marks(course: Lesson, tmp_path: Path):
    distributed = pytest.importorskip("distributed")
    path = _zip(tmp_path / "some.zip", course, 12, {})
    here = _grade(course, path, tmp_path / "here")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = _grade(course, path, tmp_path / "there", "--dask", cluster.scheduler_address)
    assert list(map(_marks, here.values())) == list(map(_marks, there.values())) and len(here) == 12 + 3


def test_without_a_dask_scheduler_it_is_told(course: Lesson, tmp_path: Path, capsys):
    path = _zip(tmp_path / "some.zip", course, 1, {})
    options = [str(path), "--lesson", "1", "--folder", str(tmp_path / "g"), "--lessons", str(course.source.parent)]
    assert grading.main([*options, "--dask", "nonsense"]) == 1
    assert "Dask" in capsys.readouterr().out


def _hand_mark(course: Lesson, folder: Path, student: str, score: float) -> None:
    with Marks(folder, course) as marks:  # as the formgrader does it
        grade = marks._book.find_grade("why", course.name, course.name, student)
        grade.manual_score, grade.needs_manual_grade = score, False
        marks._book.db.commit()


def _class(path: Path, course: Lesson, *names: str, why: str = "Because.") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            data = lesson.dump(notebook(course, {"add_1": answers(15)["add_1"], "why": why}))
            archive.writestr(f"{name}_assignsubmission_file_/01_try.ipynb", data)
    return path


def test_marks_by_hand_survive_a_second_student_of_the_same_name(course: Lesson, tmp_path: Path):
    path = _class(tmp_path / "a.zip", course, "Quin Old_1019")
    assert _grade(course, path, tmp_path / "g")["1019"]["student"] == "quin_old"
    _hand_mark(course, tmp_path / "g", "quin_old", 1.5)
    old = tmp_path / "g" / "01_try" / "results" / "quin_old.json"
    result = json.loads(old.read_text())
    old.write_text(json.dumps({k: v for k, v in result.items() if k not in ("name", "number")}))  # of an older version
    lines = _grade(course, _class(path, course, "Quin Old_1050", "Quin Old_1019"), tmp_path / "g")
    assert {n: line["student"] for n, line in lines.items()} == {"1019": "quin_old", "1050": "quin_old_1050"}
    assert lines["1019"]["total"] == "3.5" and lines["1050"]["to grade by hand"] == "why"


def test_a_zip_with_one_resubmission_keeps_the_class(course: Lesson, tmp_path: Path, capsys):
    folder = tmp_path / "g" / "01_try"
    _grade(course, _class(tmp_path / "a.zip", course, "Ana_1", "Bo_2", "Cy_3"), tmp_path / "g")
    _hand_mark(course, tmp_path / "g", "bo", 2.0)
    result = json.loads((folder / "results" / "bo.json").read_text())
    (folder / "results" / "bo.json").write_text(json.dumps({**result, "key": "of-before"}))
    with zipfile.ZipFile(_class(tmp_path / "b.zip", course, "Ana_1", why="New."), "a") as archive:
        archive.writestr("Cy_3_assignsubmission_file_/report.pdf", b"%PDF")
    lines = _grade(course, tmp_path / "b.zip", tmp_path / "g")
    assert {n: line["total"] for n, line in lines.items()} == {"1": "2", "2": "4", "3": "2"}
    assert "not in this hand-in; graded before the lesson or" in lines["2"]["remarks"]
    assert "report.pdf" in lines["3"]["remarks"]
    assert (
        "1 more students" in capsys.readouterr().out and "Marks of an earlier" in (folder / "summary.html").read_text()
    )
    assert {page.stem for page in (folder / "feedback").glob("*.html")} == {"ana", "bo", "cy"}
    assert "hand-in" not in (folder / "feedback" / "bo.html").read_text()
    assert len(zipfile.ZipFile(folder / "feedback.zip").namelist()) == 3
    assert len((folder / "moodle.csv").read_text().splitlines()) == 4


def test_a_newer_file_that_cannot_be_judged_costs_no_mark(course: Lesson, tmp_path: Path, monkeypatch, capsys):
    folder = tmp_path / "g" / "01_try"
    good = _class(tmp_path / "a.zip", course, "Ana_1", "Bo_2")
    _grade(course, good, tmp_path / "g")
    _hand_mark(course, tmp_path / "g", "ana", 2.0)
    for name, data in (("b", lesson.dump(course.released)[:700]), ("c", lesson.dump(notebook(course, answers(1))))):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("Ana_1_assignsubmission_file_/01_try.ipynb", data)

    def judge(bench, task):
        raise Failed("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(Bench, "judge", judge)
        for name, why in (("b", "it is no notebook, or damaged"), ("c", "the judge broke off: out of memory")):
            line = _grade(course, tmp_path / f"{name}.zip", tmp_path / "g")["1"]
            assert line["total"] == "4" and f"those of an earlier file: {why}" in line["remarks"]
            assert f"not graded anew: Ana (the marks are those of an earlier file: {why}" in capsys.readouterr().out
    assert len((folder / "moodle.csv").read_text().splitlines()) == 3
    assert "<h2>add_1: 2 of 2</h2>" in (folder / "feedback" / "ana.html").read_text()
    said = (folder / "summary.html").read_text()
    assert "aren't in this hand-in, and whose marks are kept: 1." in said and "<td>not in this hand-in" not in said
    lines = _grade(course, good, tmp_path / "g")
    assert lines["1"]["total"] == "4" and not lines["1"]["remarks"] and "2 of 2 are graded" in capsys.readouterr().out
    assert (tmp_path / "g" / "exchange").is_dir(), "formgrader complains without it"


def test_an_answer_that_cannot_be_checked_has_a_remark(course: Lesson, tmp_path: Path):
    given = {"add_1": "def renamed(n):\n    return n + 1", "add_2": "1 / 0\ndef add_2(n):\n    return n + 2"}
    given |= {"add_3": "def add_3(n):\n    return 0", "add_4": "import os\nos._exit(0)"}
    path = _zip(tmp_path / "a.zip", course, 0, {"Ann": (lesson.dump(notebook(course, given)), None)})
    said = _grade(course, path, tmp_path / "g")["5000"]["remarks"]
    assert "add_1: could not be checked (`add_1` isn't defined)" in said
    assert "add_2: could not be checked (ZeroDivisionError: division by zero" in said
    assert "add_3" not in said and said.count("add_4") == 1


def test_a_mark_by_hand_for_an_empty_answer_is_on_the_page(course: Lesson):
    marks = {name: {"score": 0.0, "comment": "", "changed": False} for name in course.questions}
    marks |= {"add_1": {"score": 1.0, "comment": "You told me.", "changed": True}}
    result = {"untouched": list(course.questions), "answers": {}, "checks": {"add_1": {}}, "cells": {}}
    page = report.feedback(course, report.Row("ann", "Ann", "1", marks, result))
    assert page.count("Not attempted") == 5 and "add_1: 1 of 2" in page
    assert "You told me." in page and page.count("changed by hand") == 1


def test_who_stops_it_does_not_wait_for_the_judges(course: Lesson):
    slow = lesson.dump(notebook(course, {"add_1": "def add_1(n):\n    while True: pass"}))
    quick = lesson.dump(notebook(course, answers(15)))
    todo = [collect.Submission(f"s{i}", "", "", "x", data) for i, data in enumerate([quick, slow, slow, slow])]
    limits = Limits(cell=100_000, total=100_000)  # a judge that is waited for hangs, and pytest ends the test
    benches = [Bench(course.setup, limits) for _ in range(2)]
    judged = grading._judged(course, todo, limits, benches)
    assert next(judged)[1]
    judged.close()
    assert all(bench._process.returncode is not None for bench in benches)


def test_a_gradebook_that_was_deleted_is_filled_again(course: Lesson, tmp_path: Path, capsys):
    path = _class(tmp_path / "a.zip", course, "Ana_1", "Bo_2")
    _grade(course, path, tmp_path / "g")
    (tmp_path / "g" / "gradebook.db").unlink()
    lines = _grade(course, _class(path, course, "Ana_1"), tmp_path / "g")
    assert lines["1"]["total"] == "2" and "grade the file again" in lines["2"]["remarks"]
    assert "grade the file again" in capsys.readouterr().out


def test_a_lesson_that_lost_a_question_begins_anew_without_the_others(lesson_file, tmp_path: Path, capsys):
    folder = tmp_path / "g"
    course, other = Lesson(lesson_file()), Lesson(lesson_file("02_other"))
    path = _class(tmp_path / "a.zip", course, "Ana_1", "Bo_2", "Cy_3")
    options = ["--folder", str(folder), "--lessons", str(course.source.parent)]
    for number in "12":
        assert grading.main([str(path), "--lesson", number, *options]) == 0
    _hand_mark(other, folder, "ana", 1.5)
    lesson_file(exercises=3)
    capsys.readouterr()
    assert grading.main([str(path), "--lesson", "1", *options]) == 1
    assert "--lesson 01_try --anew" in capsys.readouterr().out
    assert grading.main([str(tmp_path / "none.zip"), "--lesson", "1", "--anew", *options]) == 1
    assert (folder / "01_try").exists(), "nothing is forgotten when there is nothing to grade"
    assert grading.main([str(path), "--lesson", "1", "--anew", *options]) == 0
    with Marks(folder, Lesson(course.source)) as marks:
        assert {one: marks.read(one)["add_1"]["score"] for one in ("ana", "bo", "cy")} == dict.fromkeys(
            ("ana", "bo", "cy"), 2.0
        )
        assert len(marks.read("ana")) == 4
    with Marks(folder, other) as marks:
        assert marks.read("ana")["why"]["score"] == 1.5
    assert list((folder / "before").glob("*/gradebook.db")) and list((folder / "before").glob("*/01_try/marks.csv"))


# Names


@pytest.mark.parametrize(
    ("file", "student", "number"),
    [
        ("Ana-Lucía O'Neil_123_assignsubmission_file_/09_lab.ipynb", "ana-lucia_o_neil", "123"),
        ("Ana Lima_77_assignsubmission_file_my lab.ipynb", "ana_lima", "77"),
        ("limaana_123_456_09_lab.ipynb", "limaana", "123"),
        ("limaana_LATE_123_456_09_lab-1.ipynb", "limaana", "123"),
        ("TP 3/Łukasz Żak/09_lab (2).ipynb", "ukasz_zak", ""),
        ("ana lima 09_lab (1).ipynb", "ana_lima", ""),
        ("Zoe 09_lab.IPYNB", "zoe", ""),
        ("09_lab_Ana.ipynb", "09_lab_ana", ""),
        ("g1/Ana Lima 09_lab.ipynb", "ana_lima", ""),
        ("g1/09_lab.ipynb", "g1", ""),
        ("Cy Ott/last 09_lab.ipynb", "cy_ott", ""),
        ("王小明_9_assignsubmission_file_/x.ipynb", "student_9", "9"),
        ("王小明/x.ipynb", "student_acf979cc", ""),
    ],
)
def test_names(tmp_path: Path, file: str, student: str, number: str):
    path = tmp_path / "in" / file
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    for given in (tmp_path / "in", path) if "/" not in file else (tmp_path / "in",):  # one notebook alone, too
        (one,), left = collect.collect(given)
        assert (one.student, one.number, left) == (student, number, [])


def test_the_last_version_counts(tmp_path: Path):
    for i, name in enumerate(["a_1_2_x.ipynb", "a_1_3_x-1.ipynb", "b_4_5_x.ipynb"]):
        (tmp_path / name).write_text(json.dumps({"cells": [], "n": i}))
        os.utime(tmp_path / name, (1e9 + i, 1e9 + i))
    found, left = collect.collect(tmp_path)
    assert [one.file for one in found] == ["a_1_3_x-1.ipynb", "b_4_5_x.ipynb"]
    assert "an older version" in left[0][1] and "several files" in found[0].remarks[0]


def test_a_newer_file_that_is_damaged_is_not_called_older(course: Lesson, tmp_path: Path):
    ids, good = {course.name: tasks.grade_ids(course.full)}, lesson.dump(course.released)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for day, data in ((1, good), (2, good[:700])):
            archive.writestr(zipfile.ZipInfo(f"Ana/x ({day}).ipynb", (2026, 1, day, 0, 0, 0)), data)
    (one,), left = collect.collect(tmp_path / "a.zip", lessons=ids)
    assert one.data == good and one.remarks == [
        "several files: the last one can't be used, and an earlier one was graded"
    ]
    why = "newer, but no notebook, damaged, or without 01_try's cells: Ana/x (1).ipynb was graded"
    assert left == [("Ana/x (2).ipynb", why)]


def test_same_names_and_a_pattern(tmp_path: Path):
    for name in ("Li Wei_1_assignsubmission_file_", "Li Wei_2_assignsubmission_file_"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.ipynb").write_text("{}")
    assert [one.student for one in collect.collect(tmp_path)[0]] == ["li_wei_1", "li_wei_2"]
    (tmp_path / "tp-x7-final.ipynb").write_text("{}")
    found, _ = collect.collect(tmp_path, r"tp-(?P<student>\w+)-")
    assert "x7" in [one.student for one in found]
    with pytest.raises(ValueError, match="group"):
        collect.collect(tmp_path, "tp")


def _hand_in(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{}")
    return folder


def test_different_people_are_not_merged(tmp_path: Path):
    found, left = collect.collect(_hand_in(tmp_path / "a", "Jose Lima/09_lab.ipynb", "José Lima/09_lab.ipynb"))
    assert (
        {one.name for one in found} == {"Jose Lima", "José Lima"}
        and len({one.student for one in found}) == 2
        and not left
    )
    known = {"jose_lima": ("José Lima", "")}
    found, _ = collect.collect(tmp_path / "a", known=known)
    assert {one.name: one.student for one in found} == {"José Lima": "jose_lima", "Jose Lima": "jose_lima_1"}
    group = [f"groupA/{name} 09_lab{end}" for name in ("Ana Lima", "Bo Ek") for end in (".ipynb", " (1).ipynb")]
    one = ["Cy Ott/08_how_transferable.ipynb", "Cy Ott/09_lab.ipynb", "Cy Ott/last 09_lab.ipynb"]
    found, left = collect.collect(_hand_in(tmp_path / "b", *group, *one))
    assert [one.name for one in found] == ["Ana Lima", "Bo Ek", "Cy Ott"] and len(left) == 4


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["Ana Lima/notebooks/x.ipynb", "Bo Ek/notebooks/x.ipynb"], ["Ana Lima", "Bo Ek"]),
        (["Jose\u0301/notebooks/x.ipynb", "Jose\u0301/a.png", "Bo Ek/notebooks/x.ipynb"], ["Bo Ek", "Jos\u00e9"]),
        (["Ana Lima/notebooks/x.ipynb", "Bo Ek/x.ipynb", "Bo Ek/data/1.png"], ["Ana Lima", "Bo Ek"]),
        (["Ana Lima/course/mine/x.ipynb", "Bo Ek/course/mine/x.ipynb"], ["Ana Lima", "Bo Ek"]),
        (["Ana Lima/x.ipynb", "Bo Ek/Ana Lima/x.ipynb"], ["Ana Lima", "Ana Lima"]),  # Bo can't take Ana's place
        (["A/Ana Lima/x.ipynb", "A/Bo/x.ipynb", "B/Ana Lima/x.ipynb", "B/Cy/x.ipynb"], ["Ana Lima"] * 2 + ["Bo", "Cy"]),
        (["Ana Lima/old/x.ipynb", "Ana Lima/new/x.ipynb"], ["new", "old"]),  # versions or a group: nothing is lost
        (["notebooks/Ana Lima 09_lab.ipynb"], ["Ana Lima"]),
        (["submissions/Ana Lima.ipynb", "submissions/Bo Ek.ipynb"], ["Ana Lima", "Bo Ek"]),
        (["09_lab/Ana Lima.ipynb", "09_lab/Bo Ek.ipynb"], ["Ana Lima", "Bo Ek"]),
        (["Ana Lima/09_lab/09_lab.ipynb"], ["Ana Lima"]),
        (["Ana/mine/x.ipynb", "Ana/data/i.png", "Bo/mine/x.ipynb", "Cy/mine/x.ipynb"], ["Ana", "Bo", "Cy"]),
        (["Ana/09_lab.ipynb", "Ana/loss_lab.png", "Ana/accuracy_lab.png", "Bo/x.ipynb"], ["Ana", "Bo"]),
    ],
)
def test_folders_are_told_apart(tmp_path: Path, files: list[str], names: list[str]):
    found, left = collect.collect(_hand_in(tmp_path, *files))
    assert sorted(one.name for one in found) == names and not any(one.why for one in found), found
    assert len({one.student for one in found}) == len(names)
    assert {file for file, _ in left} == {file for file in files if file.endswith(".png")}
    known = {one.student: (one.name, one.number, one.file) for one in found}
    again, _ = collect.collect(tmp_path, known=known)
    assert {one.file: one.student for one in again} == {one.file: one.student for one in found}, "marks hang on it"
    twice = [one for one in found if names.count(one.name) > 1]
    assert all("several students or folders of this name" in one.remarks[0] for one in twice)


def test_who_was_graded_keeps_the_marks_whoever_takes_the_name(tmp_path: Path):
    known = {"ana_lima": ("Ana Lima", "", "Ana Lima/x.ipynb"), "bo_ek": ("Bo Ek", "", "Bo Ek/x.ipynb")}
    files = ["Ana Lima/x (1).ipynb", "Bo Ek/x.ipynb", "Bo Ek/Ana Lima/x.ipynb"]
    found, _ = collect.collect(_hand_in(tmp_path, *files), known=known)
    assert {one.file: one.student for one in found} == dict(
        zip(files, ["ana_lima", "bo_ek", "ana_lima_1"], strict=True)
    )


def test_zips_of_windows_and_names_that_are_no_text(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for name in ("Ana Lima\\09_lab.ipynb", "Bo Ek\\notebooks\\x.ipynb", "__MACOSX\\Bo\\x.ipynb"):
            archive.writestr(name, "{}")
    assert [one.name for one in collect.collect(tmp_path / "class.zip")[0]] == ["Ana Lima", "Bo Ek"]
    for name in (b"Jos\xe9", b"Jos\xe8"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name))
        folder.mkdir(parents=True)
        (folder / "x.ipynb").write_text("{}")
    assert len(collect.collect(tmp_path / "in")[0]) == 2


def test_zips_in_the_folders_of_students(tmp_path: Path):
    for name in ("Ana Lima/lab.zip", "Bo Ek/lab final.zip", "Cy Ott.zip", "Gus Zip 09_lab.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.ipynb", "{}")
    assert [one.name for one in collect.collect(tmp_path)[0]] == ["Ana Lima", "Bo Ek", "Cy Ott", "Gus Zip"]


def test_zips_in_a_zip(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(collect, "LARGEST_INNER", 2000)

    def zipped(**files: bytes) -> bytes:
        with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
            for name, data in files.items():
                archive.writestr(name.replace("_", "."), data)
        return made.getvalue()

    deep = zipped(lab_zip=zipped(x_ipynb=b"{}"), x_ipynb=b"{}")
    given = {
        "Ana": deep,
        "Bo": b"PK",
        "Cy": zipped(x_ipynb=bytes(3000)),
        "Di": zipped(x_ipynb=b"", **{"../y_ipynb": b""}),
    }
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for i, (name, data) in enumerate(given.items()):
            archive.writestr(f"{name}_{i}_assignsubmission_file_/lab.zip", data)
    found, left = collect.collect(tmp_path / "class.zip")
    assert {one.name: bool(one.why) for one in found} == {"Ana": False, "Bo": True, "Cy": True, "Di": False}
    assert found[0].file == "Ana_0_assignsubmission_file_/lab.zip/x.ipynb"
    reasons = ["not a notebook", "it is no zip, or damaged", "a zip of over 0 MB", "its path climbs out of the zip"]
    assert all(said.startswith(why) for (_, said), why in zip(left, reasons, strict=True)), left


def test_what_names_nobody_or_is_too_large_is_told(tmp_path: Path, monkeypatch, capsys):
    assert grading.main([str(_hand_in(tmp_path / "in", "09_lab.ipynb")), "--lesson", "09"]) == 1
    said = capsys.readouterr().out
    assert f"no notebook found in {tmp_path}/in" in said and "09_lab.ipynb: no student's name" in said
    (tmp_path / "none").mkdir()
    assert grading.main([str(tmp_path / "none"), "--lesson", "09", "--folder", str(tmp_path / "g")]) == 1
    assert not (tmp_path / "g").exists()
    monkeypatch.setattr(tasks, "LARGEST", 1)
    assert "Clear Outputs" in collect.collect(_hand_in(tmp_path / "big", "Ana/x.ipynb"))[0][0].why


def test_a_pattern_leaves_out_what_it_does_not_fit(tmp_path: Path):
    mine = ["ana/course-students/notebooks/09_lab.ipynb", "bo/course-students/notebooks/09_lab.ipynb"]
    other = ["bo/ana/09_lab.ipynb", "bo/thesis/plots.ipynb", "bo/thesis lab1.docx"]
    found, left = collect.collect(_hand_in(tmp_path, *mine, *other), r"(?P<student>[^/]+)/course-students/")
    assert [(one.student, one.file) for one in found] == [("ana", mine[0]), ("bo", mine[1])]
    assert {file for file, _ in left} == set(other)


def test_attachments_and_odd_files_cost_nobody_a_mark(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(collect, "LARGEST_ZIP", 1000)
    with zipfile.ZipFile(tmp_path / "class.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Ana/model.pt", bytes(10_000))
        for i in range(30):
            archive.writestr(f"Ana/images/{i}.png", "")
        archive.writestr("Ana/" + "long" * 5000 + ".ipynb", "{}")
        late = zipfile.ZipInfo("Bo/x.ipynb", (2026, 11, 30, 12, 0, 60))
        archive.writestr(late, "{}")
    monkeypatch.setattr(collect, "MOST_FILES", 20)
    found, left = collect.collect(tmp_path / "class.zip")
    assert [one.name for one in found] == ["Ana", "Bo"] and found[1].data == b"{}" and not found[1].why
    assert found[0].why and len(left) == 32
    folder = tmp_path / "in"
    (folder / "Bo").mkdir(parents=True)
    (folder / "Bo" / "x.ipynb").write_text("{}")
    for name, data in ((b"Jos\xe9", b"{}"), (b"Cy", b"")):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).mkdir()
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name + b"/x.ipynb")).write_bytes(data)
    broken = bytearray((tmp_path / "class.zip").read_bytes())
    for at in [i for i in range(len(broken)) if broken[i : i + 4] == b"PK\x01\x02"]:
        broken[at + 6] = 99  # a version that no program knows
    (folder / "Bo" / "other.zip").write_bytes(broken)
    found, left = collect.collect(folder)
    assert [one.name for one in found] == ["Bo", "Cy", "Jos\\xe9"] and "damaged" in dict(left)["Bo/other.zip"]


def test_who_hands_in_something_else_is_in_the_list(tmp_path: Path):
    course, other = (Lesson(lesson.LESSONS / f"{name}.py") for name in ("09_lab", "08_how_transferable"))
    ids = {one.name: tasks.grade_ids(one.full) for one in (course, other)}
    files = ["Ana/report.pdf", "Bo/x.ipynb", "Bo/data/1.png", "Cy Ott 09_lab.docx", "list.csv", "Uli Wrong/x.ipynb"]
    folder = _hand_in(tmp_path / "in", *files)
    (folder / "Uli Wrong" / "x.ipynb").write_bytes(lesson.dump(other.released))
    found, left = collect.collect(folder, lessons=ids)
    assert {one.name: one.why for one in found} == {
        "Ana": "not a notebook (report.pdf)",
        "Bo": "",
        "Cy Ott": "not a notebook (Cy Ott 09_lab.docx)",
        "Uli Wrong": "it is the notebook of another lesson, 08_how_transferable",
    }
    assert ("Uli Wrong/x.ipynb", "it is the notebook of another lesson, 08_how_transferable") in left


def test_a_tilde_and_a_number_are_understood(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert grading.main(["~/none.zip", "--lesson", "09"]) == 1 and f"no {tmp_path}/none.zip" in capsys.readouterr().out
    assert release.main(["9", "--out", str(tmp_path / "r")]) == 0
    assert release.main(["99", "--out", str(tmp_path / "r")]) == 1 and "no lesson '99'" in capsys.readouterr().out


def test_links_are_not_followed(tmp_path: Path):
    (tmp_path / "secret.ipynb").write_text("{}")
    folder = tmp_path / "in"
    (folder / "Ann").mkdir(parents=True)
    (folder / "Ann" / "x.ipynb").symlink_to(tmp_path / "secret.ipynb")
    found, left = collect.collect(folder)
    assert "link" in left[0][1] and found[0].why and not found[0].data


@pytest.mark.parametrize("path", ["no such folder", "text.txt", "bad.zip"])
def test_what_is_no_hand_in_is_told(tmp_path: Path, path: str, capsys):
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "bad.zip").write_text("x")
    code = (
        grading.main([str(tmp_path / path), "--lesson", "09", "--folder", str(tmp_path / "g")])
        if path != "bad.zip"
        else 0
    )
    if path == "bad.zip":
        assert collect.collect(tmp_path / path)[1] == [("bad.zip", "it is no zip, or damaged")]
    else:
        assert code == 1 and "Not graded" in capsys.readouterr().out
