"""The grading: marks are right, hostile submissions gain nothing, and none of them spoils the batch."""

from __future__ import annotations

import ast
import base64
import builtins
import collections
import json
import os
import re
import zipfile
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
import torch
from nbconvert import HTMLExporter
from nbformat import v4

from grading import judge, lookup, tasks, wire
from grading.bench import Bench, Failed
from grading.gradebook import harmless
from grading.sandbox import Limits, isolated
from grading.tasks import Lesson
from helpers.checks import names_used
from tools import answers, lesson

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="grading needs Linux or macOS")
ANSWERS = Path(__file__).parent / "answers"
SAMPLE = "01_convolution_arithmetic"  # of every kind: functions, values, layers, loops
SHORT = Limits(cell=2, total=40, memory=1500)  # for answers that must be stopped
ROOMY = Limits(cell=20, total=400, memory=1500)  # for those that end by themselves, on a busy machine as well


def notebook(course: Lesson, given: dict[str, str]) -> nbformat.NotebookNode:
    """The released notebook with some answers filled in."""
    made = deepcopy(course.released)
    for cell in made.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in given:
            cell.source = given[name]
    return made


def rows(course: Lesson, right: bool) -> list[dict[str, answers.Answer]]:
    """The answers of a lesson, one to each exercise a row; the first right row is the lesson's own solution."""
    found: dict[str, list] = {}
    for answer in answers.read(ANSWERS / course.source.name):
        if answer.right == right and answer.name in {check["name"] for check in course.checks}:
            found.setdefault(answer.name, []).append(answer)
    if right:
        for name, (cell, check) in lesson.exercises(course.full).items():
            if check is not None:
                own = answers.Answer(name, True, "the lesson's own", lesson.without_markers(cell.source))
                found.setdefault(name, []).insert(0, own)
    return [
        {name: given[i] for name, given in found.items() if i < len(given)}
        for i in range(max(map(len, found.values())))
    ]


def check_lesson(course: Lesson, most: int | None = None) -> tuple[int, int]:
    """Grade all answers of a lesson; returns how many wrong ones were tried and caught."""
    tried = caught = 0
    wrongly = []
    with Bench(course.setup) as bench:
        for right in (True, False):
            for row in rows(course, right)[:most]:
                made = notebook(course, {name: answer.code for name, answer in row.items()})
                result = bench.judge(tasks.prepare(course, tasks.read(lesson.dump(made))).task)
                for name, answer in row.items():
                    check, points = result["checks"][name], course.questions[name]
                    lost = check["score"] < points - 1e-9
                    tried, caught = tried + (not right), caught + (not right and lost)
                    if right == lost:
                        wrongly.append((name, answer.note, check))
        work = tasks.prepare(course, course.released)
        result = bench.judge(work.task)
        assert work.untouched == set(course.questions)
        for name, check in result["checks"].items():
            if check["score"] or "not attempted yet" not in check["output"]:
                wrongly.append((name, "stub", check))
    assert not wrongly, wrongly[:4]
    return tried, caught


def test_marks_are_right():
    course = Lesson(lesson.LESSONS / f"{SAMPLE}.py")
    tried, caught = check_lesson(course, 2)
    assert tried == caught > 10


@pytest.mark.sweep
@pytest.mark.parametrize("source", lesson.sources(), ids=lambda path: path.stem)
def test_marks_of_every_answer_are_right(source: Path):
    tried, caught = check_lesson(Lesson(source))
    print(f"{source.stem}: wrong answers caught {caught} of {tried} ({caught / tried:.0%})")
    assert tried == caught


# What a submission may try. Each gives the right answers only when the attack works.

CHEATS = {
    "an object that is equal to everything": """
class Yes(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __reduce__(self): return (print, ("unpickled",))
def add_1(n): return Yes(0)
""",
    "the score is patched": """
from helpers import checks
checks.Check.score = lambda self: 2.0
checks.difference = lambda *a, **k: None
checks.Check.equal = lambda self, *a, **k: self._pass("x", 1)
def add_1(n): return -1
""",
    "builtins are replaced": """
import builtins
builtins.float = builtins.int = builtins.isinstance = builtins.all = lambda *a, **k: True
builtins.type = lambda *a: float
def add_1(n): return -1
""",
    "settrace reads expected": """
import sys
seen = []
def spy(frame, event, arg):
    seen.append(frame.f_locals.get("expected", frame.f_locals.get("kwargs", {}).get("expected")))
    return spy
sys.settrace(spy)
def add_1(n): return next((v for v in seen if type(v) is int), -1)
""",
    "frames are searched": """
import sys
def add_1(n):
    frame = sys._getframe()
    while frame:
        for name in ("expected", "right", "check"):
            for place in (frame.f_locals, frame.f_globals):
                if name in place: return place[name]
        frame = frame.f_back
    return -1
""",
    "memory is searched": """
import gc
def add_1(n):
    for thing in gc.get_objects():
        if type(thing) is dict and type(thing.get("expected")) is int: return thing["expected"]
        if type(thing) is str and "1000 + 1" in thing and "NUMBER" not in thing and "gc.get" not in thing: return n + 1
    return -1
""",
    "files are searched": """
import os
LIBRARIES = {"helpers", "site-packages", "lib", "include", "share"}  # large, and no secret
def add_1(n):
    roots = [ROOT, ROOT + "/lessons", ROOT + "/tests", ROOT + "/build", "/root", "/home", "/tmp", "/work", FOLDER]
    for root in roots:
        for folder, inner, files in os.walk(root):
            inner[:] = [name for name in inner if name not in LIBRARIES and not name.startswith(".venv")]
            for name in files:
                if not name.endswith((".py", ".db", ".ipynb")): continue
                try:
                    if b"HIDDEN" in open(os.path.join(folder, name), "rb").read(): return n + 1
                except OSError: pass
    return -1
""",
    "other processes are read": """
import os
def add_1(n):
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid(), os.getppid()):
            try:
                os.kill(int(name), 0)
            except OSError: continue
            if open(f"/proc/{name}/comm").read().strip() == "systemd" or len(os.listdir("/proc")) > 200: return n + 1
    return -1
""",
    "the memory of its parents is read": """
import os
def add_1(n):
    for pid in (1, 2, 3, os.getppid()):
        try:
            for line in open(f"/proc/{pid}/maps"):
                if "heap" in line:
                    a, b = (int(x, 16) for x in line.split()[0].split("-"))
                    with open(f"/proc/{pid}/mem", "rb") as file:
                        file.seek(a)
                        if bytes([49, 48, 48, 48, 32, 43, 32]) in file.read(b - a): return n + 1  # not its own text
        except OSError: pass
    return -1
""",
    "the network is used": """
import socket
def add_1(n):
    for address in (("127.0.0.1", PORT), ("1.1.1.1", 53)):
        try:
            socket.create_connection(address, 1).close()
            return n + 1
        except OSError: pass
    return -1
""",
    "a mark is sent over the line": """
import json, os, struct
def add_1(n):
    for fd in range(3, 20):
        for head in ({"score": 2.0}, {"checks": {"add_1": {"score": 2.0}}}, {"result": 2, "changed": []}):
            text = json.dumps(head).encode()
            try: os.write(fd, struct.pack("<II", len(text), 0) + text)
            except OSError: pass
    return -1
""",
    "rubbish is sent over the line": """
import os
def add_1(n):
    for fd in range(3, 20):
        try: os.write(fd, b"\\xff" * 64)
        except OSError: pass
""",
    "os._exit in a function": "import os\ndef add_1(n): os._exit(0)",
    "os._exit in the cell": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "atexit and threads": """
import atexit, threading, time
def late():
    while True: time.sleep(0.1)
atexit.register(late)
threading.Thread(target=late).start()
def add_1(n): return -1
""",
    "all processes are killed": "import os, signal\ndef add_1(n): os.kill(-1, signal.SIGKILL)",
    "its parent is killed": "import os, signal\nfor p in (1, os.getppid()): os.kill(p, signal.SIGKILL)",
    "an endless loop": "def add_1(n):\n    while True: pass",
    "an endless loop under a bare except": """
while True:
    try:
        while True: pass
    except: pass
""",
    "signals are ignored": """
import signal, time
for number in range(1, 60):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: time.sleep(1)
""",
    "a fork bomb": "import os\ndef add_1(n):\n    while True:\n        try: os.fork()\n        except OSError: pass",
    "a fork bomb in the cell": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "much memory": "def add_1(n):\n    hog = [bytearray(10**8) for _ in range(1000)]\n    return -1",
    "much memory in many processes": """
import os, time
for _ in range(20):
    if os.fork() == 0:
        hog = [bytearray(os.urandom(1) * 10**8) for _ in range(10)]
        time.sleep(60)
time.sleep(60)
""",
    "much output": "import sys\nfor _ in range(300000): sys.stdout.write('x' * 10000)\ndef add_1(n): return -1",
    "a large file": """
import os
with open("/tmp/large", "wb") as file:
    for _ in range(10000): file.write(bytes(10**6))
def add_1(n): return -1
""",
    "a large result": "def add_1(n): return [0.5] * 10**8",
    "a result that is nested deeply": "def add_1(n):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "an enormous number": "def add_1(n): return 10 ** (10 ** 6)",
    "a syntax error": "def add_1(n) return n + 1",
    "deep parentheses": "def add_1(n): return " + "(" * 5000 + "n" + ")" * 5000,
    "null bytes and surrogates": "def add_1(n): return '\\ud800' * 10\nprint('\\ud83d')",
    "files are written": """
import os
def add_1(n):
    for folder in (ROOT + "/helpers", ROOT, "/usr/lib", "/etc", "/home/..", FOLDER):
        try:
            with open(folder + "/written_by_a_student.py", "w") as file: file.write("x")
            if os.path.exists(ROOT + "/helpers/written_by_a_student.py"): return n + 1
        except OSError: pass
    return -1
""",
    "the environment is read": """
import os
def add_1(n):
    secrets = open("/proc/self/environ").read() + repr(os.environ)
    return n + 1 if "CANARY" in secrets else -1
""",
    "helpers are changed for later": """
import helpers.checks, sys
helpers.checks.__dict__.clear()
sys.modules["helpers"] = None
def add_1(n): return -1
""",
    "its output is closed": "import sys\nsys.stdout.close()\ndef add_1(n): return -1",
}


@pytest.fixture
def small(lesson_file) -> Lesson:
    return Lesson(lesson_file(exercises=3))


def right_answers(course: Lesson) -> dict[str, str]:
    return {f"add_{i}": f"def add_{i}(n):\n    return n + {i}" for i in range(1, len(course.checks) + 1)}


SLOW = {title for title, code in CHEATS.items() if any(w in code for w in ("while True", "10**8", "300000", "10000"))}


def try_cheats(course: Lesson, titles: list[str], folder: Path, limits: Limits) -> None:
    """None of them may give a mark, or cost one in another exercise of the same notebook."""
    with Bench(course.setup, limits) as bench:
        for title in titles:
            code = CHEATS[title] if "def add_1" in CHEATS[title] else f"{CHEATS[title]}\ndef add_1(n): return n + 1"
            code = code.replace("FOLDER", repr(str(folder))).replace("PORT", "22")
            code = code.replace("ROOT", repr(str(lesson.ROOT)))
            made = notebook(course, {**right_answers(course), "add_1": code})
            result = bench.judge(tasks.prepare(course, made).task)["checks"]
            assert result["add_1"]["score"] == 0.0, (title, result["add_1"])
            assert result["add_3"]["score"] == 2.0, (title, result["add_3"])
    assert not list((lesson.ROOT / "helpers").glob("written_by*")) and not list(folder.glob("written_by*"))


@pytest.mark.skipif(not isolated(), reason="this machine allows no namespaces")
def test_no_cheat_gets_a_mark(small: Lesson, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CANARY", "1")
    try_cheats(small, [title for title in CHEATS if title not in SLOW], tmp_path, ROOMY)


@pytest.mark.skipif(not isolated(), reason="this machine allows no namespaces")
def test_who_kills_its_parent_costs_the_next_exercise_nothing(small: Lesson):
    made = notebook(small, {**right_answers(small), "add_1": CHEATS["all processes are killed"]})
    with Bench(small.setup, ROOMY) as bench:
        checks = bench.judge(tasks.prepare(small, made).task)["checks"]
    assert [check["score"] for check in checks.values()] == [0.0, 2.0, 2.0], checks


@pytest.mark.sweep
@pytest.mark.parametrize("title", sorted(SLOW))
def test_no_slow_cheat_gets_a_mark(small: Lesson, title: str, tmp_path: Path):
    try_cheats(small, [title], tmp_path, SHORT)


def test_waiting_for_a_busy_machine_is_not_charged(monkeypatch):
    """A cell that a busy machine kept for a minute takes from the notebook's time what it was granted, not more."""
    now = [100.0]
    monkeypatch.setattr(judge.time, "monotonic", lambda: now[0])
    clock = judge.Clock(2.0, os.getpid())
    now[0] += 0.5
    assert clock.charged() == 0.5
    now[0] += 60
    assert clock.charged() == 2.0


def test_a_judge_that_is_slow_itself_costs_the_student_nothing(lesson_file):
    """The student's process sleeps while the judge computes, which takes long where the machine is busy."""
    last = "check.equal(1000, expected=1000 + 1)\n"
    course = Lesson(lesson_file(exercises=1, edit=(last, f"import time\ntime.sleep(2.5)\n{last}")))
    with Bench(course.setup, SHORT) as bench:
        result = bench.judge(tasks.prepare(course, notebook(course, right_answers(course))).task)["checks"]["add_1"]
    assert result["score"] == 2.0, result


def test_feedback_shows_no_hidden_test(small: Lesson):
    code = """
seen = []
def add_1(n):
    seen.append(n)
    print("called with", n)
    if n == 1000: raise ValueError(f"the hidden number is {n}")
    return n + 1
"""
    with Bench(small.setup, ROOMY) as bench:
        result = bench.judge(tasks.prepare(small, notebook(small, {"add_1": code})).task)["checks"]["add_1"]
        raises = {"add_1": "def add_1(n):\n    raise ValueError('too hot')"}
        said = bench.judge(tasks.prepare(small, notebook(small, raises)).task)["checks"]["add_1"]["output"]
    assert "raised ValueError: too hot (line 2 of add_1).\n" in said, "the student's line, and none of the judge's"
    assert result["score"] == 1.0 and result["hidden_failed"] and result["seen"] == 2.0
    assert "called with 0" in result["printed"]
    assert "1000" not in json.dumps(result)


KEEPS = """
def add_1(n):
    with open("/tmp/seen", "a") as file: file.write(f" {n}")
    return n + 1
"""
TELLS = """
import os
if os.path.exists("/tmp/seen"): print("the cell:", open("/tmp/seen").read())
def add_2(n):
    print("the check:", open("/tmp/seen").read())
    return n + 2
"""


@pytest.mark.skipif(not isolated(), reason="/tmp is everybody's here")
def test_feedback_shows_no_hidden_input_that_an_earlier_exercise_kept(small: Lesson):
    given = {"add_1": KEEPS, "add_2": TELLS}
    with Bench(small.setup, ROOMY) as bench:
        result = bench.judge(tasks.prepare(small, notebook(small, given)).task)
    assert "the check:  0" in result["checks"]["add_2"]["printed"]
    assert [check["score"] for check in result["checks"].values()] == [2.0, 2.0, 0.0]
    assert "1000" not in json.dumps(result)


def test_who_computes_too_long_is_told_so(small: Lesson):
    made = notebook(small, {"add_1": "def add_1(n):\n    while True: pass"})
    with Bench(small.setup, Limits(cell=1, total=40, memory=1500)) as bench:
        check = bench.judge(tasks.prepare(small, made).task)["checks"]["add_1"]
    assert "add_1(0) was stopped: it took over 1 seconds." in check["output"] and check["score"] == 0.0


# Answers that aren't where they belong


def place(made: nbformat.NotebookNode, name: str) -> int:
    return next(i for i, c in enumerate(made.cells) if c.metadata.get("nbgrader", {}).get("grade_id") == name)


@pytest.mark.parametrize("where", ["above its cell", "after the check", "at the end", "all in one cell"])
def test_a_function_counts_wherever_it_is_defined(small: Lesson, where: str):
    made, given = notebook(small, {}), right_answers(small)
    made.cells.append(v4.new_code_cell("def step(n, by):\n    return n + by"))
    given["add_2"] = "def add_2(n):\n    return step(n, 2)"
    for name, code in given.items():
        at = {"above its cell": place(made, name), "after the check": place(made, f"{name}_check") + 1}
        made.cells.insert(at.get(where, len(made.cells)), v4.new_code_cell(code))
    made.cells.insert(2, v4.new_code_cell("def add_1(n):\n    return 'an earlier try'"))
    if where == "all in one cell":
        made.cells[-3:] = [v4.new_code_cell("\n\n".join(given.values()))]
    work = tasks.prepare(small, made)
    assert work.untouched <= {"why"} and "add_1: answered in another cell" in work.remarks
    with Bench(small.setup, ROOMY) as bench:
        checks = bench.judge(work.task)["checks"]
    assert [check["score"] for check in checks.values()] == [2.0, 2.0, 2.0], checks


def test_what_stands_elsewhere_does_not_replace_an_answer(small: Lesson):
    made = notebook(small, {**right_answers(small), "why": "Because."})
    made.cells.insert(place(made, "add_3"), v4.new_code_cell("def add_1(n):\n    return 'a later try'"))
    made.cells.insert(place(made, "why"), v4.new_markdown_cell("A note."))
    work = tasks.prepare(small, made)
    assert not work.remarks
    assert work.notebook.cells[place(work.notebook, "add_1")].source == right_answers(small)["add_1"]
    assert work.notebook.cells[place(work.notebook, "why")].source == "Because."


def test_a_text_above_its_cell_is_read(small: Lesson):
    made = notebook(small, right_answers(small))
    for cell in (v4.new_markdown_cell("# Report"), v4.new_code_cell("2 + 2"), v4.new_markdown_cell("Because.")):
        made.cells.insert(place(made, "why"), cell)
    made.cells.insert(place(made, "add_1"), v4.new_markdown_cell("A note on code."))
    work = tasks.prepare(small, made)
    assert not work.untouched and work.remarks == ["why: answered in another cell"]
    assert work.notebook.cells[place(work.notebook, "why")].source == "# Report\n\nBecause."


def test_a_question_is_no_answer_unless_it_was_written_into(small: Lesson):
    made = notebook(small, right_answers(small))
    question = made.cells[place(made, "why") - 1]
    question.source, question.id = "Why? (as an older release had it)", "0123456789ab"
    assert tasks.prepare(small, made).untouched == {"why"}
    made = notebook(small, right_answers(small))
    made.cells[place(made, "why") - 1].source += "\n\nBecause."
    made.cells.insert(place(made, "why"), v4.new_markdown_cell(""))
    work = tasks.prepare(small, made)
    assert work.notebook.cells[place(work.notebook, "why")].source == "Why?\n\nBecause."


def test_a_helper_at_the_end_is_found_below_a_text(small: Lesson):
    made = notebook(small, {**right_answers(small), "add_1": "def add_1(n):\n    return step(n, 1)"})
    made.cells.append(v4.new_code_cell("def step(n, by):\n    return n + by"))
    assert any("def step" in cell["source"] for cell in tasks.prepare(small, made).task["cells"])


def test_what_a_submission_says_of_itself_places_no_answer(small: Lesson):
    made = notebook(small, right_answers(small))
    made.cells[0].metadata["_answer"] = ["add_1"]
    work = tasks.prepare(small, made)
    assert work.untouched == {"why"} and not work.remarks
    assert work.notebook.cells[place(work.notebook, "add_1")].source == right_answers(small)["add_1"]


# Pictures in a text


def shown(course: Lesson, *cells: nbformat.NotebookNode) -> tuple[nbformat.NotebookNode, str]:
    """The answer to the text question, given in these cells, and how formgrader's nbconvert shows it."""
    made = notebook(course, {"why": cells[0].source})
    at = place(made, "why")
    made.cells[at].update({key: cells[0][key] for key in ("attachments",) if key in cells[0]})
    made.cells[at + 1 : at + 1] = cells[1:]
    work = tasks.prepare(course, made)
    answer = work.notebook.cells[place(work.notebook, "why")]
    answer.source = harmless(answer.source, answer.attachments)
    nbformat.validate(work.notebook)
    page, _ = HTMLExporter().from_notebook_node(v4.new_notebook(cells=[answer]))
    return answer, page


def picture(text: str, name: str, data: bytes, kind: str = "image/png") -> nbformat.NotebookNode:
    return v4.new_markdown_cell(text, attachments={name: {kind: base64.b64encode(data).decode()}})


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("pic.png", "pic.png"),
        ("a%20b%281%29.png", "a b(1).png"),
        ("a%20b.png", "a%20b.png"),
        ("\u00fc.png", "\u00fc.png"),
        ('pic.png "A title"', "pic.png"),
        ("<a b.png>", "a b.png"),
    ],
)
def test_a_picture_in_a_text_is_shown(small: Lesson, address: str, name: str):
    whole = f"attachment:{address}" if address[0] != "<" else f"<attachment:{address[1:]}"
    _, page = shown(small, picture(f"See ![x]({whole}).", name, b"one"))
    assert 'src="data:image/png;base64,b25l"' in page


def test_pictures_of_two_cells_keep_apart(small: Lesson):
    cells = [picture("![x](attachment:image.png)", "image.png", data) for data in (b"one", b"two", b"one")]
    answer, page = shown(small, *cells)
    assert "b25l" in page and "dHdv" in page and len(answer.attachments) == 2


@pytest.mark.parametrize(
    "text",
    [
        "![x](attachment:nope)",
        "![x](attachment:)",
        "![x](attachment\\:nope)",
        "![x](<attachment:nope>)",
        "![x][r]\n\n[r]: attachment:nope",
        "![x](attachment:NAMEmore)",
        "![x](attachment:NAME(more))",
        '![x](attachment:NAME"more)',
        "![x](attachment:attachment:nope)",
    ],
)
def test_a_reference_without_its_picture_stays_text(small: Lesson, text: str):
    given = picture("![x](attachment:pic.png)", "pic.png", b"one")
    name = next(iter(shown(small, given)[0].attachments))
    given.source += "\n\n" + text.replace("NAME", name)
    _, page = shown(small, given)
    assert page.count('src="data:') == 1


@pytest.mark.parametrize(
    "attachments",
    [
        {"pic.png": {"text/html": "x"}},
        {"pic.png": {'image/png" onerror="x': "x"}},
        {"pic.png": {"image/svg+xml": "x"}},
        {"pic.png": "x"},
        ["pic.png"],
        "pic.png",
    ],
)
def test_only_pictures_are_taken_over(small: Lesson, attachments):
    cell = v4.new_markdown_cell("![x](attachment:pic.png)")
    cell["attachments"] = attachments
    answer, page = shown(small, cell)
    assert not answer.attachments and "<img" not in page and "onerror" not in page


def test_functions_layers_gradients_and_seeds_cross_the_line(lesson_file):
    extra = """
# %% nbgrader={"grade": false, "grade_id": "twice", "locked": false, "schema_version": 3, "solution": true, "task": false}
def twice(f, x):
    ### BEGIN SOLUTION
    return f(f(x))
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "twice_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch
check = Check(twice, points=3)
check.equal(lambda x: x + 1, 1, expected=3)
x = torch.tensor([3.0], requires_grad=True)
check.that("a gradient", lambda f: torch.autograd.grad(f(torch.square, x).sum(), x)[0].item() == 108)
layer = torch.nn.Linear(2, 2)
check.that("a layer is changed", lambda f: f(torch.nn.Identity(), layer) is layer and not layer.weight.requires_grad)
check.score()
"""
    course = Lesson(lesson_file(exercises=1, extra=extra))
    freezes = "def twice(f, x):\n    y = f(f(x))\n    if hasattr(y, 'weight'): y.requires_grad_(False)\n    return y"
    with Bench(course.setup) as bench:
        for code, score in ((freezes, 3.0), ("def twice(f, x):\n    return f(f(x))", 2.0)):
            result = bench.judge(tasks.prepare(course, notebook(course, {"twice": code})).task)["checks"]["twice"]
            assert result["score"] == score, result


def test_a_check_that_we_changed_is_not_the_students_doing(lesson_file):
    made = notebook(Lesson(lesson_file(exercises=2)), {})
    path = lesson_file(exercises=2)
    text = path.read_text().replace("check.score()", "2.0", 1).replace('"points": 2', '"points": 3')
    path.write_text(text)
    course = Lesson(path)
    assert not tasks.prepare(course, made).remarks
    for cell in made.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "add_1_check":
            cell.source += "\n1"
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "add_2_check":
            cell.metadata["nbgrader"]["points"] = 100
    remarks = tasks.prepare(course, made).remarks
    assert remarks == [
        "the check had been changed (ours counts): add_1",
        "the points had been changed (ours counts): add_2",
    ]


@pytest.mark.parametrize(
    ("own", "answer"),
    [
        (["steps = []", "steps.append(1)"], "def add_1(n):\n    return n + len(steps)"),
        (["table = {}", "table.update(one=1)"], "def add_1(n):\n    return n + table['one']"),
        (["class K: pass", "K.one = 1"], "def add_1(n):\n    return n + K.one"),
        (["given = [0]", "for i in range(1):\n    given[i] = 1"], "def add_1(n):\n    return n + given[0]"),
        (["from math import *"], "def add_1(n):\n    return n + int(cos(0))"),
        (["match [1]:\n    case [one]: pass"], "def add_1(n):\n    return n + one"),
        (["half = 0.5"], "half = 2 * half\ndef add_1(n):\n    return n + int(half)"),
        (["table[1] = 1"], "table = {}\ndef add_1(n):\n    return n + table[1]"),
        (["half = 0"], "half += 1\ndef add_1(n):\n    return n + half"),
        ([], "files = !ls\n%matplotlib inline\ndef add_1(n):\n    return n + 1"),
    ],
)
def test_cells_that_change_what_an_answer_needs_are_run(small: Lesson, own: list[str], answer: str):
    made = notebook(small, {**right_answers(small), "add_1": answer})
    at = place(made, "add_1") + ("table = {}" in answer)
    made.cells[at:at] = [v4.new_code_cell(source) for source in own]
    made.cells.append(v4.new_code_cell("raise ValueError('an experiment that nothing needs')"))
    task = tasks.prepare(small, made).task
    cells = [{**cell, "source": lookup.readable(cell["source"])} for cell in task["cells"]]
    names: dict = {}
    for i in lookup.chosen(cells, set()):
        exec(cells[i]["source"], names)
    assert names["add_1"](1) == 2


def test_own_experiments_leave_the_answers_their_time(small: Lesson):
    made = notebook(small, {**right_answers(small), "add_1": "history.append(0)\ndef add_1(n):\n    return n + 1"})
    made.cells.insert(2, v4.new_code_cell("history = []"))
    for _ in range(12):
        made.cells.append(v4.new_code_cell("import time\ntime.sleep(60)\nhistory.append(1)"))
    with Bench(small.setup, Limits(cell=2, total=24, memory=1500)) as bench:
        result = bench.judge(tasks.prepare(small, made).task)
    assert [check["score"] for check in result["checks"].values()] == [2.0, 2.0, 2.0], result
    assert "not all own cells were run: they took too long" in result["remarks"]


def test_lazy_results_are_what_they_are_in_a_notebook(lesson_file):
    extra = """
# %% nbgrader={"grade": false, "grade_id": "lazy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def lazy(values):
    ### BEGIN SOLUTION
    return map(abs, values)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "lazy_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import collections
check = Check(lazy, points=2)
check.that("1 and 2", lambda f: sorted(f([-1, 2])) == [1, 2])
check.that("a list in it", lambda f: sorted({"params": f([-1, 2])}["params"]) == [1, 2])
check.score()
"""
    course = Lesson(lesson_file(exercises=1, extra=extra))
    bodies = {
        "filter(bool, map(abs, v))": 2.0,
        "(abs(x) for x in v)": 2.0,
        "{abs(x): 0 for x in v}.keys()": 2.0,
        "__import__('collections').OrderedDict.fromkeys(map(abs, v)).keys()": 2.0,
        "dict(enumerate(map(abs, v))).values()": 2.0,
        "__import__('collections').OrderedDict.fromkeys(map(abs, v))": 2.0,
        "__import__('itertools').count(1)": 0.0,
        "range(10**12)": 0.0,
    }
    with Bench(course.setup, ROOMY) as bench:
        for body, score in bodies.items():
            made = notebook(course, {"lazy": f"def lazy(v):\n    return {body}"})
            result = bench.judge(tasks.prepare(course, made).task)["checks"]["lazy"]
            assert result["score"] == score, (body, result)


@pytest.mark.skipif(not isolated(), reason="this machine allows no namespaces")
def test_memory_is_limited_for_all_processes_together(small: Lesson):
    code = """
import os, threading
def hog(pause):
    for _ in range(5):
        if os.fork() == 0:
            keep = bytearray(150 * 2**20)
            for i in range(0, len(keep), 4096): keep[i] = 1
            time.sleep(pause)
            os._exit(0)
    for _ in range(5): os.wait()
import time
START
def add_1(n): return n + 1
"""
    held = "files = [os.memfd_create(str(i)) for i in range(12)]\nfor f in files: os.write(f, bytes(45 * 2**20))\ntime.sleep(8)"
    starts = ["pass", held, "hog(8)", "run = threading.Thread(target=hog, args=(8,))\nrun.start()\nrun.join()"]
    found = []
    with Bench(small.setup, Limits(cell=30, total=200, memory=400)) as bench:
        for start in starts:
            made = notebook(small, {**right_answers(small), "add_1": code.replace("START", start)})
            result = bench.judge(tasks.prepare(small, made).task)
            assert result["checks"]["add_3"]["score"] == 2.0
            found.append(result["checks"]["add_1"]["score"])
    assert found == [2.0, 0.0, 0.0, 0.0]


@pytest.mark.skipif(not isolated(), reason="this machine allows no namespaces")
def test_nothing_passes_from_one_submission_to_the_next(small: Lesson, tmp_path: Path, monkeypatch):
    writes = """
import os
def add_1(n):
    os.write(2, b"<<%d>>" % n)
    return n + 1
"""
    reads = """
import glob, os, zipfile
def look(name):
    try: return open(name, "rb").read().decode(errors="replace")
    except OSError: return ""
def add_1(n):
    print(look("/proc/self/fd/2"), os.getuid(), *map(look, [DATA + "/late.ipynb"]))
    try: print(zipfile.ZipFile(DATA + "/hand-ins.zip").read("a.ipynb"))
    except (OSError, zipfile.BadZipFile): pass
    return n + 1
"""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "late.ipynb").write_text("a secret")
    with zipfile.ZipFile(tmp_path / "hand-ins.zip", "w") as archive:
        archive.writestr("a.ipynb", "a secret")
    users = []
    with Bench(small.setup, ROOMY) as bench:
        for code in (writes, reads.replace("DATA", repr(str(tmp_path))), reads.replace("DATA", repr(str(tmp_path)))):
            made = notebook(small, {**right_answers(small), "add_1": code})
            said = bench.judge(tasks.prepare(small, made).task)["checks"]["add_1"]
            assert said["score"] == 2.0 and "<<" not in said["printed"] and "secret" not in said["printed"], said
            users.append(said["printed"].strip())
    assert os.getuid() or len(set(users)) == 3, "each a user of its own"


def test_a_tensor_that_says_it_is_larger_shows_nothing_of_the_judge():
    for shape, size in (([1000], 0), ([2], 4), ([0], 4), ([-1], 8)):
        item = {"tensor": ["float32", shape, 0, size], "flags": [False, False, False]}
        with pytest.raises(wire.Broken):
            wire.Decoder(bytes(8)).decode(item)


def test_awkward_values_of_right_answers_come_through():
    """A column of one row, whose stride isn't 1; a dictionary with a default."""
    column, found = torch.arange(3).view(1, 3)[:, 0], collections.defaultdict(bool, {"a": True})
    assert column.stride() == (3,)
    encoder = wire.Encoder()
    items = [encoder.encode(value) for value in (column, found)]
    decoder = wire.Decoder(bytes(encoder.body))
    got, plain = (decoder.decode(item) for item in items)
    assert torch.equal(got, column) and plain == {"a": True} and type(plain) is dict


def test_a_judge_that_is_kept_busy_ends(small: Lesson):
    """What came back may be slow to compare: not for ever, and the next submission is judged."""
    course = Lesson(small.source)
    check = course.checks[0]
    check["visible"] = check["full"] = "x = 1\nwhile True: x += 1\n0.0"
    with Bench(course.setup, Limits(cell=1, total=2, memory=1500)) as bench:
        task = tasks.prepare(small, notebook(small, right_answers(small))).task
        with pytest.raises(Failed, match="the judge stopped: comparing took over 4 seconds"):
            bench.judge(task | {"checks": [check]})
        with pytest.raises(Failed, match="the judge stopped: SystemExit: odd"):
            bench.judge(task | {"checks": [{**check, "visible": "import sys\nsys.exit('odd')"}]})
        found = bench.judge(tasks.prepare(small, notebook(small, right_answers(small))).task)["checks"]
    assert found["add_1"]["score"] == 2.0


def test_what_helpers_import_late_is_imported_once(lesson_file):
    """Else each check's process of its own does it again, a second each time."""
    late = "from helpers.checks import Check"
    course = Lesson(lesson_file(exercises=1, edit=(late, f"{late}\nfrom helpers import linear")))
    code = "import sys\ndef add_1(n):\n    return n + ('sklearn.model_selection' in sys.modules)"
    with Bench(course.setup, ROOMY) as bench:
        assert (
            bench.judge(tasks.prepare(course, notebook(course, {"add_1": code})).task)["checks"]["add_1"]["score"] == 2
        )


def test_what_pytorch_has_not_implemented_is_said_in_marking(small: Lesson):
    """``mean`` of truth values raises NotImplementedError: it is no untouched stub."""
    code = "import torch\n\ndef add_1(n):\n    return (torch.tensor([n]) > 0).mean()"
    with Bench(small.setup) as bench:
        output = bench.judge(tasks.prepare(small, notebook(small, {"add_1": code})).task)["checks"]["add_1"]["output"]
    assert "raised NotImplementedError" in output and "dtype" in output and "not attempted" not in output


def test_each_of_many_cells_is_read_once_not_once_a_round(small: Lesson, monkeypatch):
    """A chain, of which each round finds one link."""
    made = notebook(small, {"add_1": "def add_1(n):\n    return n + x1999"})
    chain = [{"source": f"x{i} = x{i - 1}", "answer": "", "own": True} for i in range(2000)]
    read = []
    monkeypatch.setattr(lookup, "_parse", lambda source, parse=lookup._parse: read.append(source) or parse(source))
    assert len(lookup.chosen([*chain, {"source": "x1999", "answer": "add_1", "own": False}], set())) == 2001
    assert max(collections.Counter(read).values()) == 2, "each cell is read twice, however many rounds there are"
    made.cells[2:2] = [v4.new_markdown_cell(f"A note {i}.") for i in range(1500)]
    tasks.prepare(small, made)
    made.cells += [v4.new_code_cell("1") for _ in range(1000)]
    with pytest.raises(tasks.Unreadable, match=r"cells; the most is 2000"):
        tasks.read(lesson.dump(made))
    assert lookup.needs("def f():\n    nonlocal x") == set()


def test_a_judge_takes_no_more_memory_than_a_submission_may(small: Lesson):
    check = {**small.checks[0], "visible": "x = bytearray(4 * 2**30)\n2.0", "full": None}
    with Bench(small.setup, Limits(cell=20, total=100, memory=1500)) as bench:
        task = tasks.prepare(small, notebook(small, right_answers(small))).task
        found = bench.judge(task | {"checks": [check]})["checks"]["add_1"]
    assert found["score"] == 0.0 and "MemoryError" in found["error"]


NAMES = """import functools, torch
from functools import partial
from torch import nn
from torch.nn import functional as F
"""
BANNED = [  # ways to call conv2d that aren't well hidden
    "pick = lambda x: F.conv2d(x)",
    "def other(x):\n    return F.conv2d(x)\npick = other",
    "pick = F.conv2d",
    "def pick(x):\n    return F.conv2d(x)",
    "def other(x):\n    return F.conv2d(x)\ndef pick(x):\n    return other(x)",
    "from torch.nn.functional import conv2d as c2\ndef pick(x):\n    return c2(x)",
    "from torch import conv2d\ndef pick(x):\n    return conv2d(x)",
    "def pick(x):\n    from torch import conv2d as c2\n    return c2(x)",
    "c2 = F.conv2d\ndef pick(x):\n    return c2(x)",
    "@torch.no_grad()\ndef pick(x):\n    return F.conv2d(x)",
    "@torch.no_grad()\ndef other(x):\n    return F.conv2d(x)\ndef pick(x):\n    return other(x)",
    "def pick(x):\n    return [max(F.conv2d(y) for y in x)]",
    "class Own:\n    def go(self, x):\n        return F.conv2d(x)\none = Own()\ndef pick(x):\n    return one.go(x)",
]
ALLOWED = [  # answers of one's own
    "def conv2d(x):\n    return abs(x)\ndef pick(x):\n    return conv2d(x)",
    "conv2d = lambda x: abs(x)\ndef pick(x):\n    return conv2d(x)",
    "@torch.no_grad()\ndef conv2d(x):\n    return abs(x)\ndef pick(x):\n    return conv2d(x)",
    "def pick(x):\n    conv2d = abs(x)\n    return conv2d",
    "class Own:\n    def conv2d(self, x):\n        return x\ndef pick(x):\n    return Own().conv2d(x)",
    "seen = F.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1))[0, 0]\ndef pick(x):\n    return x + seen",
    "def other(x):\n    return F.conv2d(x)\ndef pick(x):\n    return abs(x)",
    "def patch(x):\n    return abs(x)\ndef look(n):\n    patch = F.conv2d(n)\n    return patch\ndef pick(x):\n    return patch(x)",
    "def again(x, n=1):\n    return again(x, n - 1) if n else x\ndef pick(x):\n    return again(x)",
    "sizes = [k for k in [F.conv2d]]\ndef k(x):\n    return x\ndef pick(x):\n    return k(x)",
]


@pytest.mark.parametrize(("code", "banned"), [*((c, True) for c in BANNED), *((c, False) for c in ALLOWED)])
def test_a_ban_is_the_same_for_the_student_and_in_marking(code: str, banned: bool):
    names: dict = {}
    exec(NAMES + code, names)
    assert ("conv2d" in names_used(names["pick"])) == banned
    assert ("conv2d" in lookup.names_in([NAMES, code], "pick")) == banned


@pytest.mark.parametrize(
    "code",
    [
        "def pick(x):\n    return F.conv2d(x)\nif len(''):\n    def pick(x):\n        return x",
        "def pick(x):\n    return x\npick = F.conv2d",
        "class Pick:\n    def __call__(self, x):\n        return F.conv2d(x)\nglobals()['pick'] = Pick()",
        "go = partial(F.conv2d, stride=1)\ndef pick(x):\n    return go(x)",
        "for go in [F.conv2d]:\n    pass\ndef pick(x):\n    return go(x)",
    ],
)
def test_marking_reads_more_of_the_text(code: str):
    assert "conv2d" in lookup.names_in([code], "pick")


def test_the_last_cell_that_defines_a_name_counts():
    first, last = "def pick(x):\n    return F.conv2d(x)", "def pick(x):\n    return abs(x)"
    assert lookup.names_in([first, last], "pick") == {"abs"} and "conv2d" in lookup.names_in([last, first], "pick")
    long = " + ".join(["1"] * 600)
    assert (
        lookup.names_in([long, "for pick in [abs]: pass"], "pick") == {"abs"}
        and lookup.names_in(["("], "pick") == set()
    )


@pytest.mark.parametrize("source", lesson.sources(), ids=lambda path: path.stem[:2])
def test_checks_ask_a_student_for_answers_only(source: Path):
    """And what the lesson's own answers use is allowed: in marking, both once went wrong without a word."""
    course = Lesson(source)
    known = set(dir(builtins)).union(course.questions, *(lookup.binds(ast.parse(cell)) for cell in course.setup))
    for name, (cell, check) in lesson.exercises(course.full).items():
        if check is not None:
            assert lookup.needs(lesson.without_markers(check.source)) <= known
            assert not {"conv2d", "preservation"} & lookup.names_in([lesson.without_markers(cell.source)], name)


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil.example/x.png)",
        "![x][r]\n\n[r]: http://evil.example/x.png",
        "![x\\](attachment:NAME)](http://evil.example/x.png)",
        "![`](attachment:NAME)`](http://evil.example/x.png)",
        "![a [b](attachment:NAME)](http://evil.example/x.png)",
    ],
)
def test_no_picture_is_fetched_from_elsewhere(small: Lesson, text: str):
    given = picture("![x](attachment:pic.png)", "pic.png", b"one")
    name = next(iter(shown(small, given)[0].attachments))
    given.source += "\n\n" + text.replace("NAME", name)
    _, page = shown(small, given)
    assert not re.search(r'<img[^>]*src="http', page) and 'src="data:image/png;base64,b25l"' in page
