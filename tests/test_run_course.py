"""Lessons are executed, measured, kept, and shown without a network; a failing one says where and why."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from tools import lesson, readme, run_course, site

COUNT = """
# %%
with open({file!r}, "a") as file:
    file.write("x")
"""
FIGURE = """
# %%
import matplotlib.pyplot as plt
plt.plot([1, 2]);
"""

SLEEP = "\n# %%\nimport time\nopen({file!r}, 'w').close()\ntry:\n    time.sleep(1000)\n{end}\n\n# %%\n1\n"
ENDS = {"the cell stops": "finally:\n    pass", "the cell takes it": "except KeyboardInterrupt:\n    pass"}


class Ran:
    """What a run printed, and its exit status."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the course of a small lesson's folder, as the shell does."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # the notebooks must find helpers/ by themselves

    def go(source: Path, *arguments: str) -> Ran:
        folders = ["--lessons", str(source.parent), "--build", str(source.parent.parent / "build")]
        status = run_course.main([*folders, *arguments])
        out = capsys.readouterr()
        assert "Traceback" not in out.out + out.err
        return Ran(status, out.out)

    return go


def test_course_runs_is_measured_and_is_not_run_again(lesson_file, tmp_path, run, monkeypatch):
    runs = tmp_path / "runs"
    source = lesson_file(extra=FIGURE + COUNT.format(file=str(runs)))
    build, first = tmp_path / "build", run(source)
    assert first.status == 0, first.text
    assert re.search(r"^01_try  \d+ cells · 0:\d\d · at most [\d,]+ MB$", first.text, re.MULTILINE)
    figures = json.loads((build / "measured.json").read_text())["quick"]["lessons"]["01_try"]
    assert 50 < figures["peak_mb"] < 5000
    assert len(figures["cells"]) == 13 and figures["seconds"] >= sum(figures["cells"])

    again = run(source)
    assert "1 of 1 lessons are done already" in again.text and runs.read_text() == "x"
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    run(source)
    assert runs.read_text() == "xx", "other data, other results"
    run(source, "--force")
    assert runs.read_text() == "xxx"

    page, index = (build / "site" / "01_try.html").read_text(), (build / "site" / "index.html").read_text()
    for text in (page, index):
        assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", text), "asks something of the network"
        assert "cdnjs" not in text and "unpkg" not in text
    assert "<math" in page and "secret_1" in page
    assert "data:image/png;base64," in index and "minutes" in index and "quick budget" in index

    index = site.write(build, students=True, lessons=source.parent)
    page = (index.parent / "01_try.html").read_text()
    assert "data:image/png;base64," in page, "the figures stay"
    for secret in ("secret_1", "check.equal(1000", "Because of this long reason", "2 of 2"):
        assert secret not in page, "an answer shows"
    source.write_text(source.read_text() + "\n# %%\n3\n")
    assert site.unsolve(nbformat.read(build / "executed" / "01_try.ipynb", 4), lesson.student(source)) is None
    source.write_text(source.read_text().replace("1 + 1", "2 + 1"))
    with pytest.raises(ValueError, match="run make course"):
        site.write(build, students=True, lessons=source.parent)


@pytest.mark.fault("Training", "a lesson fails in `make course`", outcome="where and why; the other lessons stay")
def test_failing_lesson_says_where_and_why_and_the_others_stay(lesson_file, tmp_path, run):
    lesson_file()
    source = lesson_file("02_fail", extra="\n# %%\nwidth = 0\n1 / width\n")
    for expected in ("01_try  11 cells", "1 of 2 lessons are done already"):
        out = run(source, "--at-once=1")
        assert out.status == 1
        assert expected in out.text
        end = out.text.split("02_fail stopped in ")[1]
        assert end == "code cell 12 of 12:\n    width = 0\n    1 / width\nZeroDivisionError: division by zero\n"
    assert [path.name for path in (tmp_path / "build" / "executed").glob("*.ipynb")] == ["01_try.ipynb"]


def test_failing_lesson_stops_the_one_beside_it(lesson_file, tmp_path, run):
    begun = tmp_path / "begun"
    lesson_file(extra=SLEEP.format(file=str(begun), end=ENDS["the cell takes it"]))
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(begun)!r}).exists():\n    time.sleep(0.1)\n1 / 0"
    out = run(lesson_file("02_fail", extra=f"\n# %%\n{wait}\n"), "--at-once=2")
    assert out.status == 1 and "02_fail stopped in code cell 12 of 12" in out.text and "ZeroDivisionError" in out.text
    assert not [*(tmp_path / "build" / "executed").glob("*.ipynb")]


def test_lessons_beside_each_other_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 2, 0}, raising=False)
    monkeypatch.setattr(run_course.psutil, "virtual_memory", lambda: SimpleNamespace(available=13 * 10**9))
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert run_course.cores_of_each(9) == [[0, 3], [1], [2]], "memory for three"
    assert run_course.cores_of_each(2) == run_course.cores_of_each(9, 2) == [[0, 2], [1, 3]]
    assert run_course.cores_of_each(1) == run_course.cores_of_each(9, 1) == [[]], "alone: as whoever opens it"
    monkeypatch.setenv("COURSE_DEVICE", "cuda")
    assert run_course.cores_of_each(9) == [[]]


CORES = """
# %%
import torch
print(len(os.sched_getaffinity(0)), torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or os.cpu_count() < 2, reason="two cores that can be chosen")
def test_lessons_beside_each_other_keep_to_a_core(lesson_file, tmp_path, run):
    lesson_file(extra=CORES)
    count = len(os.sched_getaffinity(0))
    assert run(lesson_file("02_other", extra=CORES), f"--at-once={min(count, 2)}").status == 0
    for path in (tmp_path / "build" / "executed").glob("*.ipynb"):
        said = nbformat.read(path, 4).cells[-1].outputs[0].text.split()
        assert said[0] == said[1] and int(said[0]) <= (count + 1) // 2


@pytest.mark.fault("Training", "a lesson's kernel dies", outcome="told; the other lessons stay")
def test_dead_kernel_is_told(lesson_file, run):
    out = run(lesson_file(extra="\n# %%\nimport os\nos._exit(1)\n"))
    assert out.status == 1
    assert "01_try stopped in code cell 12 of 12" in out.text and "no memory left" in out.text


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("slow", [1, 2])
def test_interrupt_keeps_what_is_done(slow, end, lesson_file, tmp_path):
    lesson_file()
    begun = [tmp_path / f"begun{i}" for i in range(slow)]
    for i, file in enumerate(begun):
        source = lesson_file(f"02_slow{i}", extra=SLEEP.format(file=str(file), end=ENDS[end]))
    build, folders = tmp_path / "b", ["--lessons", str(source.parent), "--build", str(tmp_path / "b")]
    command = [sys.executable, "-m", "tools.run_course", *folders, f"--at-once={slow}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=lesson.ROOT, start_new_session=True, **pipes)
    while not all(file.exists() for file in begun) and process.poll() is None:  # minutes, on a busy machine
        time.sleep(0.1)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    try:
        out, _ = process.communicate(timeout=600)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, out
    assert "The lessons that are done are kept" in out and "Traceback" not in out
    assert [path.name for path in (build / "executed").glob("*.ipynb")] == ["01_try.ipynb"]


def test_lessons_can_be_chosen(lesson_file, run):
    lesson_file()
    source = lesson_file("02_other")
    out = run(source, "02")
    assert "02_other" in out.text and "01_try" not in out.text
    assert "There is no lesson 07" in run(source, "07").text


def test_key_changes_with_lesson_budget_and_nothing_else(lesson_file, monkeypatch):
    source = lesson_file()
    before = run_course.key(source)
    assert run_course.key(source) == before
    monkeypatch.setenv("COURSE_BUDGET", "full")
    assert run_course.key(source) != before
    monkeypatch.undo()
    assert run_course.key(lesson_file(extra="\n# %%\n2\n")) != before


def test_progress_tells_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    before = {"01_try": {"seconds": 95.0, "cells": [60.0, 30.0, 5.0]}, "02_next": {"seconds": 120.0}}

    def line(*cells: tuple, known: dict = before, at_once: int = 1) -> str:
        progress = run_course.Progress(known, ["01_try", "02_next"], at_once)
        for cell in cells:
            progress.cell(*cell)
        return capsys.readouterr().out.split("\r\033[K")[-1]

    assert line(("01_try", 2, 3)) == "01: cell 2 of 3 · 0:00 · about 2:35 left"
    assert line(("01_try", 2, 4)).endswith("about 3:34 left"), "cells were added: the lesson's seconds"
    both = ("01_try", 2, 3), ("02_next", 1, 9)
    assert line(*both, at_once=2) == "01: cell 2 of 3 · 02: cell 1 of 9 · 0:00 · about 1:59 left", "the longer one's"
    assert line(both[0], at_once=2).endswith("about 1:17 left")
    assert line(both[0], known={"01_try": before["01_try"]}) == "01: cell 2 of 3 · 0:00", "nothing is promised"
    monkeypatch.setenv("COLUMNS", "20")
    assert len(line(*both)) == 19, "a longer line could not be rewritten"


FORMULAS = {
    "the area $x^2$ of": True,
    "$$\\frac{a}{b}$$": True,
    "as $\\sqrt{v +\n\\epsilon}$ says": True,
    "`$x$` and ``$y$``": False,
    "```\n$x$\n```": False,
    "from 3$ to 4$ or $5": False,
    "costs $5 and $6": False,
    "costs $5\n\nand that is $x dear": False,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_mathml_but_code_and_prices_dont(text):
    assert ("<math" in site.with_formulas(text)) == FORMULAS[text]
    if not FORMULAS[text]:
        assert site.with_formulas(text) == text


@pytest.mark.parametrize("source", lesson.sources(), ids=lambda path: path.stem)
def test_every_formula_of_a_lesson_is_drawn(source):
    for cell in lesson.student(source).cells:
        if cell.cell_type == "markdown":
            left = re.sub(r"(`+)(?:.(?!\1))*.\1", "", site.with_formulas(cell.source), flags=re.S)
            assert not re.search(r"\$[^$]*\\[a-zA-Z]", left), left


def test_first_figure_is_the_thumbnail():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("2")])
    assert site.thumbnail(notebook) is None
    notebook.cells[1].outputs = [nbformat.v4.new_output("display_data", data={"image/png": "QUJD\n"})]
    assert site.thumbnail(notebook) == "data:image/png;base64,QUJD"


# The README's table


def test_table_has_minutes_and_badges(lesson_file):
    figures = {"seconds": 90, "peak_mb": 1, "cells": [1]}
    measured = readme.take({"quick": {"machine": "a machine", "lessons": {"01_try": figures}}}, {})
    text = readme.table([lesson_file()], measured, "https://github.com/someone/course")
    assert "| [1 · A try](notebooks/01_try.ipynb) | 1.5 | [![Open in Colab]" in text
    assert "/github/someone/course/blob/main/notebooks/01_try.ipynb" in text and "Quick: a machine." in text
    assert "Colab" not in readme.table([lesson_file()], measured, "")


def test_measured_figures_of_one_budget_leave_the_other():
    before = {"full": {"machine": "gpu", "lessons": {}}}
    figures = {"seconds": 1, "peak_mb": 1, "cells": []}
    after = readme.take({"quick": {"machine": "cpu", "lessons": {"01_try": figures}}}, before)
    assert after["full"]["machine"] == "gpu" and "cells" not in after["quick"]["lessons"]["01_try"]


def test_readme_without_marks_is_refused():
    with pytest.raises(ValueError, match="lost the marks"):
        readme.filled("# A readme", "lessons", "table")


def test_readme_shows_the_means_and_spreads_of_the_results():
    rows = [
        {"data": "solar-cells", "backbone": net, "method": "extract", "accuracy": a, "weighted_accuracy": a, "auc": a}
        for net, a in (("small", 0.8), ("small", 0.9), ("large", 0.75))
    ]
    table = readme.accuracies(rows).splitlines()
    assert "| solar-cells, accuracy |  | large | 75.0 ± 0.0 |  |" in table  # no fine-tuned runs: an empty cell
    assert "|  |  | small | 85.0 ± 7.1 |  |" in table


def test_readme_lists_the_fastest_first():
    where = {"chip": "a chip", "torch": "2.9"}
    figures = {"a net": {"slow": [1.0, 3.0, 2.0], "fast": [9.0, 7.0, 8.0]}}
    assert "fast 8 · slow 2" in readme.speeds("codes", {"unit": "images/s", "figures": figures, "where": where})
    figures["a net"]["never there"] = [math.inf] * 3
    seconds = readme.speeds("heads", {"unit": "seconds", "figures": figures, "where": where})
    assert "slow 2 · fast 8 · never there not reached" in seconds


def test_readme_compares_with_the_fastest_other_and_with_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    arms = {
        "ours": [9.0, 9.0],
        "Lightning": [2.0],
        "plain loop": [4.5],
        "ceiling": [10.0],
        "Lightning, memory kept": [6.0],
    }
    where = {"chip": "a chip", "fastai": "not installed"}
    result = {"unit": "images/s", "figures": {"a net": arms}, "where": where}
    (tmp_path / "training-cpu.json").write_text(json.dumps(result))
    seconds = {"a map": {"ours": [2.0], "openTSNE, 500 steps": [8.0]}, "nobody else's": {"ours": [2.0]}}
    (tmp_path / "maps.json").write_text(json.dumps(result | {"unit": "seconds", "figures": seconds}))
    table = readme.ratios().splitlines()
    theirs = "4.5 images/s (plain loop; without fastai, not installed)"
    assert f"| training-cpu: a net | a chip | 9 images/s | {theirs} | 2.0 × | 1.5 × | 0.90 |" in table
    assert "| maps: a map (one round) | a chip | 2 s | 8 s (openTSNE, 500 steps) | 4.0 × |  |  |" in table
    assert len(table) == 4
    unreached = {"a score": {"ours, codes + SVM": [2.0], "PyTorch's codes + LinearSVC": [math.inf]}}
    (tmp_path / "time.json").write_text(json.dumps(result | {"unit": "seconds", "figures": unreached}))
    assert "| not reached (PyTorch's codes + LinearSVC) |  |" in readme.ratios()
