"""Writes the notebooks of all lessons: ``python -m tools.build_notebooks`` (what ``make notebooks`` runs).

With ``--solved FOLDER`` it writes the solved ones there instead, which the tests execute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools import lesson


def build(lessons: Path, folder: Path, *, solved: bool = False) -> list[Path]:
    """Write one notebook a lesson, delete those of lessons that are gone, and return the files that changed."""
    make = lesson.solved if solved else lesson.student
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{source.stem}.ipynb": lesson.dump(make(source)) for source in lesson.sources(lessons)}
    changed = [path for path, data in files.items() if not path.exists() or path.read_bytes() != data]
    for path in changed:
        path.write_bytes(files[path])
    for path in set(folder.glob("[0-9][0-9]_*.ipynb")) - set(files):
        path.unlink()
        changed.append(path)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lessons", type=Path, default=lesson.LESSONS)
    parser.add_argument("--out", type=Path, default=lesson.NOTEBOOKS)
    parser.add_argument("--solved", type=Path, metavar="FOLDER", help="write the solved notebooks there instead")
    options = parser.parse_args()
    folder = options.solved or options.out
    changed = build(options.lessons, folder, solved=options.solved is not None)
    print(f"{folder}: {len(lesson.sources(options.lessons))} notebooks, {len(changed)} changed")


if __name__ == "__main__":
    main()
