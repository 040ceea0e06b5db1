"""What goes to students and to markers: ``python -m tools.release [09 ...]`` (what ``make release`` runs).

``build/release/students/`` has the notebooks, ``build/release/instructors/`` the solved ones with the marking scheme.
``--student-repo FOLDER`` writes the tree of a repository for students: notebooks, helpers, the data page and the
requirements, and nothing that holds an answer.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from nbformat.v4 import new_markdown_cell

from tools import lesson, remote

RELEASE = lesson.ROOT / "build" / "release"
# All that students need; a file that is new to the course stays private until it is named here.
PUBLIC = ("notebooks/*.ipynb", "helpers/*.py", "helpers/pages/*", "data/README.md", "LICENSE*")
PUBLIC += ("requirements.txt", "requirements-dev.txt", "environment.yml")
README = """# {title}

Open the notebooks in `notebooks/` with JupyterLab (`pip install -r requirements.txt`, then `jupyter lab`), or on Colab.
An exercise that you haven't done says *not attempted yet*. Hand in your `.ipynb` file; keep its name.
"""


def find_lesson(wanted: str, folder: Path = lesson.LESSONS) -> Path:
    """The lesson of a number or name.

    Raises:
        ValueError: there is none.
    """
    known = lesson.sources(folder)
    for path in known:
        if wanted in (path.stem, path.stem[:2], path.stem[:2].lstrip("0")):
            return path
    raise ValueError(f"There is no lesson {wanted!r}. LESSON is one of: {' '.join(path.stem[:2] for path in known)}")


def scheme(source: Path) -> str:
    """The points of each question of a lesson and how it is marked, as markdown."""
    rows, total = [], 0.0
    for name, (answer, check) in lesson.exercises(lesson.read(source)).items():
        cell = answer if check is None else check
        points = float(cell.metadata["nbgrader"]["points"])
        hidden = check is not None and "BEGIN HIDDEN TESTS" in check.source
        how = "by hand: see its answer" if check is None else "by its check" + (", hidden tests too" if hidden else "")
        rows.append(f"| `{name}` | {points:g} | {how} |")
        total += points
    head = f"# Marking scheme: {source.stem}, {total:g} points\n\n| question | points | marked |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def instructors(source: Path) -> bytes:
    """The solved notebook, its marking scheme first."""
    notebook = lesson.solved(source)
    cell = new_markdown_cell(scheme(source))
    cell.id = "marking-scheme"
    notebook.cells.insert(0, cell)
    return lesson.dump(notebook)


def write(sources: list[Path], folder: Path = RELEASE) -> list[Path]:
    """Write the release of some lessons, and return the files."""
    written = []
    for source in sources:
        student, teacher = folder / "students" / f"{source.stem}.ipynb", folder / "instructors" / f"{source.stem}.ipynb"
        for path, data in ((student, lesson.dump(lesson.student(source))), (teacher, instructors(source))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            written.append(path)
    return written


def student_repository(folder: Path, sources: list[Path]) -> list[Path]:
    """Write the tree of a public repository; files of an earlier release that are gone are deleted, others stay.

    README.md and .gitignore are written once: what became of them since stays.

    Raises:
        ValueError: the folder is the course itself, holds lessons with their solutions, or something else altogether.
    """
    folder = folder.resolve()
    if folder == lesson.ROOT or folder in lesson.ROOT.parents or (folder / "lessons").exists():
        raise ValueError(f"{folder} holds the course with its solutions: name another folder.")
    others = [path for path in folder.glob("*") if not path.name.startswith((".git", "README", "LICENSE"))]
    if others and not (folder / "helpers" / "checks.py").exists():
        raise ValueError(f"{folder} holds other files ({others[0].name}, ...): name a new folder, or an empty one.")
    shutil.rmtree(folder / "helpers", ignore_errors=True)
    names = {source.name for source in lesson.sources()}
    for old in (folder / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        if f"{old.stem}.py" not in names and '"nbgrader"' in old.read_text(encoding="utf-8", errors="replace"):
            old.unlink()
    written = []
    for pattern in PUBLIC:
        for path in sorted(lesson.ROOT.glob(pattern)):
            target = folder / path.relative_to(lesson.ROOT)
            if path.suffix != ".ipynb" and not path.is_symlink() and path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                written.append(target)
    address = _origin(folder)
    for source in sources:
        target = folder / "notebooks" / f"{source.stem}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(lesson.dump(lesson.student(source, address)))
        written.append(target)
    once = {"README.md": README.format(title="Transfer learning and data augmentation")}
    once[".gitignore"] = "data/*\n!data/README.md\n.ipynb_checkpoints/\n__pycache__/\n"
    for name, text in once.items():
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8")
    if not (folder / ".git").exists() and shutil.which("git"):
        subprocess.run(["git", "init", "--quiet", str(folder)], check=False)
    return written


def _origin(folder: Path) -> str:
    """Where Colab fetches the students' repository from: its own GitHub remote; empty when it has none yet."""
    if not (folder / ".git").exists() or not shutil.which("git"):
        return ""
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    return remote.https_form(subprocess.run(command, capture_output=True, text=True).stdout)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="lessons, by number or name (all of them)")
    parser.add_argument("--student-repo", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=RELEASE)
    options = parser.parse_args(arguments)
    try:
        sources = [find_lesson(wanted) for wanted in options.only] or lesson.sources()
        written = write(sources, options.out)
        if options.student_repo:
            written = student_repository(options.student_repo, sources)
    except ValueError as error:
        print(error)
        return 1
    print(f"{len(written)} files in {options.student_repo or options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
