"""Nothing of a solution or a hidden test is in what students get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tools import answers, lesson, release


def _private_lines() -> set[str]:
    """Lines that stand in solutions and hidden tests and nowhere in what is public."""
    private = set()
    for source in lesson.sources():
        for cell in lesson.read(source).cells:
            private |= {line for line in lesson.regions(cell.source) if len(line) > 12}
    public = {line.strip() for s in lesson.sources() for c in lesson.student(s).cells for line in c.source.split("\n")}
    helpers = {line.strip() for p in (lesson.ROOT / "helpers").glob("*.py") for line in p.read_text().split("\n")}
    return private - public - helpers


def test_student_repository_has_no_answers(tmp_path: Path):
    folder = tmp_path / "students"
    release.student_repository(folder, lesson.sources())
    names = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if ".git" not in path.parts}
    allowed = {"notebooks", "helpers", "data", "requirements.txt", "requirements-dev.txt", "environment.yml"}
    assert names <= allowed | {"README.md", "LICENSE", "LICENSE-text", ".gitignore"}
    ours, theirs = (
        {path.relative_to(top) for path in (top / "helpers").rglob("*") if path.is_file() and path.suffix != ".pyc"}
        for top in (lesson.ROOT, folder)
    )
    assert ours == theirs, "everything of helpers, with the explorers' pages"
    private = _private_lines()
    assert len(private) > 100
    for path in folder.rglob("*"):
        if path.is_file() and ".git" not in path.parts and path.suffix != ".png":
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
            assert not {line.strip() for line in text.split("\n")} & private, path
            assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text, path


def test_student_repository_is_not_written_over_the_course(tmp_path: Path):
    with pytest.raises(ValueError, match="solutions"):
        release.student_repository(lesson.ROOT, [])
    (tmp_path / "lessons").mkdir()
    with pytest.raises(ValueError, match="solutions"):
        release.student_repository(tmp_path, [])


def test_what_else_lies_in_the_students_folder_stays(tmp_path: Path):
    mine = {
        "notebooks/thesis.ipynb": "{}",
        "notebooks/10_my_own.ipynb": "{}",
        "README.md": "mine",
        ".gitignore": "secret",
        "slides.md": "mine",
    }
    with pytest.raises(ValueError, match=r"slides\.md"):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "slides.md").write_text("mine")
        release.student_repository(tmp_path / "other", lesson.sources())
    folder = tmp_path / "students"
    release.student_repository(folder, lesson.sources())
    for name, text in mine.items():
        (folder / name).write_text(text)
    (folder / "helpers" / "gone.py").write_text("")
    shutil.copy(folder / "notebooks" / "01_convolution_arithmetic.ipynb", folder / "notebooks" / "03_renamed.ipynb")
    release.student_repository(folder, lesson.sources()[:1])
    assert {name: (folder / name).read_text() for name in mine} == mine
    assert not (folder / "helpers" / "gone.py").exists() and not (folder / "notebooks" / "03_renamed.ipynb").exists()
    notebooks = {f"notebooks/{path.name}" for path in (folder / "notebooks").glob("*.ipynb")}
    assert notebooks - {*mine} == {f"notebooks/{source.stem}.ipynb" for source in lesson.sources()}


def test_instructors_get_the_marking_scheme(tmp_path: Path):
    source = next(s for s in lesson.sources() if s.stem == "09_lab")
    written = release.write([source], tmp_path)
    first = json.loads(written[1].read_text())["cells"][0]["source"]
    assert "20 points" in "".join(first) and "by hand" in "".join(first)
    assert "Marking, one point each" in written[1].read_text() and "Marking, one point" not in written[0].read_text()


def test_answers_are_not_in_the_release(tmp_path: Path):
    release.student_repository(tmp_path / "s", lesson.sources())
    text = "".join(path.read_text() for path in (tmp_path / "s" / "notebooks").glob("*.ipynb"))
    for source in lesson.sources():
        for answer in answers.read(lesson.ROOT / "tests" / "answers" / source.name):
            assert json.dumps(answer.code)[1:-1] not in text
