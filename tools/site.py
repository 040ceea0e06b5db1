"""Executed notebooks as pages that need no network: ``python -m tools.site`` (what ``make site`` runs).

``--students`` writes build/site-students instead: the same pages and figures, with the exercises unsolved.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
from pathlib import Path

import nbformat
from latex2mathml.converter import convert as mathml
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from tools import lesson

BUILD = lesson.ROOT / "build"
_FORMULA = re.compile(
    r"(`+)(?:.(?!\1))*.\1|\$\$(?P<block>.+?)\$\$|"
    r"(?<![\\$\w])\$(?P<line>[^\s$](?:[^$\n]|\n(?!\n))*?)(?<!\s)\$(?!\d)",  # it may go on in the next line
    re.S,
)
_STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
a{color:#0b5cad;text-decoration:none}.lesson{display:flex;gap:1.2rem;align-items:center;padding:.8rem 0;
border-top:1px solid #ddd}.lesson img,.lesson i{width:11rem;height:7rem;object-fit:contain;flex:none;background:#f6f6f6}
h2{margin:.2rem 0;font-size:1.15rem}p{margin:.2rem 0}.small{color:#555;font-size:.9rem}
@media(max-width:30rem){.lesson img,.lesson i{width:6rem;height:4.5rem}h1{font-size:1.5rem}}
@media screen and (prefers-color-scheme:dark){body{background:#111;color:#e6e6e6}a{color:#7db8f0}.small{color:#aaa}
.lesson{border-color:#444}.lesson img{background:#fff}.lesson i{background:#222}}"""

# Sections that hold every word, those with a word in their heading first.
_SEARCH = """
document.getElementById("search").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean), list = document.getElementById("found");
  const hits = words.length ? SECTIONS.filter(s => words.every(w => s.join(" ").toLowerCase().includes(w))) : [];
  const heading = s => words.filter(w => s[3].toLowerCase().includes(w)).length;
  hits.sort((a, b) => heading(b) - heading(a));
  list.replaceChildren(...hits.slice(0, 20).map(([title, page, anchor, head]) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = `${page}#${encodeURIComponent(anchor)}`;
    link.textContent = head === title ? title : `${title}: ${head}`;
    item.append(link);
    return item;
  }));
  if (words.length && !hits.length) list.textContent = "Nothing found.";
});"""


def write(build: Path = BUILD, students: bool = False, lessons: Path = lesson.LESSONS) -> Path:
    """Write ``build/site`` from what is in ``build/executed`` and return the index page.

    students: write ``build/site-students``, with the exercises as ``lessons`` gives them to students.
    """
    site, measured = build / ("site-students" if students else "site"), read_json(build / "measured.json")
    site.mkdir(parents=True, exist_ok=True)
    exporter = HTMLExporter(extra_template_basedirs=[str(Path(__file__).parent / "templates")], template_name="course")
    # Not embed_images: it takes inline HTML apart tag by tag, and formulas with it.
    entries, sections, pages = [], [], sorted((build / "executed").glob("*.ipynb"))
    for path in pages:
        notebook = nbformat.read(path, as_version=4)
        if students:
            unsolve(notebook, lesson.student(lessons / f"{path.stem}.py"))
        notebook.metadata["title"] = title(notebook)
        entries.append(_entry(path.stem, notebook, notebook.metadata.get("course", {})))
        sections += [[notebook.metadata["title"], f"{path.stem}.html", *found] for found in headings(notebook)]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = with_formulas(cell.source)
        body, _ = exporter.from_notebook_node(notebook)
        (site / f"{path.stem}.html").write_text(body, encoding="utf-8")
    for page in set(site.glob("*.html")) - {site / f"{path.stem}.html" for path in pages}:
        page.unlink()
    index = site / "index.html"
    index.write_text(_index(entries, measured, sections, students), encoding="utf-8")
    return index


def unsolve(executed: NotebookNode, student: NotebookNode) -> None:
    """Exercises and their checks as students get them, without outputs, in an executed notebook; in place.

    Raises:
        ValueError: a cell that students don't get: the lesson has changed since it was executed.
    """
    given = {cell.id: cell for cell in student.cells}
    for cell in executed.cells:
        if cell.id not in given:
            raise ValueError("The lesson has changed since it was executed: run make course first.")
        if "nbgrader" in cell.metadata:
            cell.source = given[cell.id].source
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None


def title(notebook: NotebookNode) -> str:
    """The text of the first heading."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    return first.split("\n")[0].lstrip("# ").strip()


def headings(notebook: NotebookNode) -> list[tuple[str, str, str]]:
    """(anchor, heading, its text) of each section of a lesson, for the search."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    parts = re.split(r"^#{1,4} (.+)$", text, flags=re.M)[1:]
    return [
        (re.sub(r"[`*]", "", head).strip().replace(" ", "-"), head.strip(), " ".join(body.split()))
        for head, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def with_formulas(text: str) -> str:
    """TeX between dollar signs as MathML, which browsers draw by themselves; code is left alone."""

    def replace(match: re.Match) -> str:
        tex = match["block"] or match["line"]
        if tex is None:
            return match[0]
        try:
            return mathml(tex.strip(), display="block" if match["block"] else "inline")
        except Exception:  # a formula that the converter doesn't know is shown as it was typed
            return match[0]

    parts = re.split(r"(^```.*?^```[^\n]*$)", text, flags=re.S | re.M)
    return "".join(part if i % 2 else _FORMULA.sub(replace, part) for i, part in enumerate(parts))


def thumbnail(notebook: NotebookNode) -> str | None:
    """The first figure of a notebook as a data address, or ``None``."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for kind in ("image/png", "image/jpeg"):
                if kind in data:
                    return f"data:{kind};base64," + "".join(data[kind].split())
            if "image/svg+xml" in data:
                return "data:image/svg+xml;base64," + base64.b64encode(data["image/svg+xml"].encode()).decode()
    return None


def read_json(path: Path) -> dict:
    """A JSON file, or an empty dictionary when it isn't there or was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _entry(name: str, notebook: NotebookNode, run: dict) -> str:
    picture = thumbnail(notebook)
    first = f'<img src="{picture}" alt="">' if picture else "<i></i>"
    cost = ""
    if run:
        cost = f"{run['seconds'] / 60:.1f} minutes · at most {run['peak_mb']:,.0f} MB · {run['budget']} budget"
    words = html.escape(title(notebook))
    return (
        f'<div class="lesson">{first}<div><h2><a href="{name}.html">{words}</a></h2>'
        f'<p class="small">{cost}</p></div></div>'
    )


def _index(entries: list[str], measured: dict, sections: list[list[str]], students: bool) -> str:
    which = "executed; the exercises are yours" if students else "solved and executed"
    machines = "".join(
        f'<p class="small">{html.escape(budget)} budget: {html.escape(run["machine"])}</p>'
        for budget, run in sorted(measured.items())
    )
    found = json.dumps(sections).replace("</", "<\\/")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>The course</title>'
        f"<style>{_STYLE}</style></head><body><h1>Transfer learning and data augmentation</h1>"
        f"<p>The lessons, {which}.</p>{machines}"
        '<p><label>Search <input type="search" id="search"></label></p><ul id="found" aria-live="polite"></ul>'
        f"{''.join(entries)}<script>const SECTIONS = {found};{_SEARCH}</script>"
        "</body></html>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", action="store_true", help="the exercises unsolved")
    print(write(students=parser.parse_args().students))


if __name__ == "__main__":
    main()
