"""Every lesson where nothing can be written, and after its kernel was killed: ``make test-lessons``, half an hour."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from tools import lesson

pytestmark = pytest.mark.sweep
LESSONS = pytest.mark.parametrize("source", lesson.sources(), ids=lambda path: path.stem)
# To root every folder is open, until it gives up what makes it root.
AS_ANYBODY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if hasattr(os, "getuid") and not os.getuid() else []


@pytest.mark.fault(
    "Caches", "a whole lesson where data/ can't be written", outcome="runs to its end; one line says what isn't kept"
)
@pytest.mark.skipif(bool(AS_ANYBODY) and not shutil.which("setpriv"), reason="root without setpriv writes everywhere")
@LESSONS
def test_a_lesson_where_nothing_can_be_written(source, tmp_path, monkeypatch):
    for folder in ("helpers", "lessons", "notebooks", "tools", "docs"):
        shutil.copytree(lesson.ROOT / folder, tmp_path / "course" / folder)
    course = tmp_path / "course"
    for file in ("pyproject.toml", "requirements.txt"):
        shutil.copy(lesson.ROOT / file, course)
    (course / "data").mkdir()
    for path in [course, *course.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o555)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    command = [*AS_ANYBODY, sys.executable, "-m", "tools.run_course", source.stem, f"--build={tmp_path}/build"]
    ran = subprocess.run(
        command, cwd=course, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert not any((course / "data").iterdir())
    notebook = nbformat.read(tmp_path / "build" / "executed" / f"{source.stem}.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    lines = [line for output in outputs for line in output.get("text", "").splitlines()]
    said = [line for line in lines if "ermission" in line or "written" in line]
    assert len(said) == len(list(tmp_path.glob("course-cache-*"))) <= 1, said


@pytest.mark.fault(
    "Caches",
    "kill -9 half-way through a lesson",
    outcome="run again, the lesson ends; what was kept before is used as it is",
)
@LESSONS
def test_a_lesson_whose_kernel_was_killed(source, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    notebook = lesson.solved(source)
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def kill(cell, cell_index) -> None:
        if cell_index == code[len(code) // 2]:
            process = client.km.provisioner.process
            threading.Timer(1, lambda: os.kill(process.pid, signal.SIGKILL)).start()

    client = _client(notebook, on_cell_start=kill)
    with pytest.raises(DeadKernelError):
        client.execute()
    kept = _kept(tmp_path)
    _client(lesson.solved(source)).execute()
    assert {path: _kept(tmp_path).get(path) for path in kept} == kept


def _client(notebook, **options) -> NotebookClient:
    resources = {"metadata": {"path": str(lesson.NOTEBOOKS)}}
    return NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources, **options)


def _kept(folder: Path) -> dict[str, tuple[int, int]]:
    """The whole files of a cache: when each was written, and its size."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".part", ".rows", ".lock")]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}
