"""Fills the table of lessons of README.md: ``python -m tools.readme`` (``make notebooks`` runs it).

``python -m tools.readme build/measured.json`` first takes the figures of a run over into docs/measured.json, and its
picture, the figure of the cell tagged ``picture``, into docs/picture.png.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import nbformat

from tools import lesson, site

README = lesson.ROOT / "README.md"
MEASURED = lesson.ROOT / "docs" / "measured.json"
PICTURE = lesson.ROOT / "docs" / "picture.png"
BEGIN, END = "<!-- lessons: written by tools/readme.py -->", "<!-- end of lessons -->"


def table(lessons: list[Path], measured: dict, address: str, branch: str = "main") -> str:
    """The lessons with the measured minutes of each budget, and Colab badges when the course has an address."""
    budgets = [name for name in ("quick", "full") if name in measured]
    head = ["Lesson", *(f"Minutes ({name})" for name in budgets), *(["Colab"] if address else [])]
    rows = [head, ["---"] * len(head)]
    for source in lessons:
        notebook = lesson.read(source)
        row = [f"[{site.title(notebook)}](notebooks/{source.stem}.ipynb)"]
        for name in budgets:
            run = measured[name]["lessons"].get(source.stem)
            row.append(f"{run['seconds'] / 60:.1f}" if run else "")
        if address:
            path = address.removeprefix("https://github.com/")
            link = f"https://colab.research.google.com/github/{path}/blob/{branch}/notebooks/{source.stem}.ipynb"
            row.append(f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})")
        rows.append(row)
    notes = [f"{name.capitalize()}: {measured[name]['machine']}." for name in budgets]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), *(["", *notes] if notes else [])])


def filled(readme: str, text: str) -> str:
    """The README with its table replaced.

    Raises:
        ValueError: the two marks aren't in it.
    """
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"README.md has lost the marks of its table: {BEGIN} and {END}.")
    head, tail = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{head}{BEGIN}\n{text}\n{END}{tail}"


def take(run: dict, into: dict) -> dict:
    """The committed figures with those of a run in place of older ones; the seconds of each cell are left out."""
    for name, part in run.items():
        kept = into.setdefault(name, {"machine": "", "lessons": {}})
        kept["machine"] = part["machine"]
        for title, figures in part["lessons"].items():
            kept["lessons"][title] = {key: figures[key] for key in ("seconds", "peak_mb", "libraries_mb")}
    return into


def expected() -> str:
    """What README.md should hold now."""
    text = table(lesson.sources(), site.read_json(MEASURED), lesson.repository())
    return filled(README.read_text(encoding="utf-8"), text)


def picture(executed: Path) -> bytes | None:
    """The PNG that the cell tagged ``picture`` shows in one of the executed lessons; ``None`` if none ran."""
    for path in sorted(executed.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "picture" in cell.metadata.get("tags", ()):
                for output in cell.outputs:
                    if found := output.get("data", {}).get("image/png"):
                        return base64.b64decode(found)
    return None


def main() -> None:
    if len(sys.argv) > 1:
        if found := picture(Path(sys.argv[1]).parent / "executed"):
            PICTURE.write_bytes(found)
        figures = take(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), site.read_json(MEASURED))
        MEASURED.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    README.write_text(expected(), encoding="utf-8")


if __name__ == "__main__":
    main()
