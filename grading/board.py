"""What the lab's board said in notebooks that were run again: ``python -m grading.board 4711 build/rerun/*.ipynb``.

4711 is the ``COURSE_LAB_SEED`` they were run with. A line for each notebook: the score of the last classifier that the
exercise's cell submitted, the first score above it (the tiny images'), how often anything was submitted, and words in
the student's answers that an honest one seldom needs: read those.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat

CELL = "leaderboard"
WORDS = r"\b_ladder|\b_labels|Leaderboard\(|Ladder\(|datasets\.load\(|COURSE_LAB_SEED|elpv|\bsources\b"


def told(notebook: nbformat.NotebookNode, seed: str) -> str:
    """One line on an executed notebook."""
    own, above, number, why, words = [], [], 0, "nothing was submitted there", set()
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        said = "".join(output.text for output in outputs if output.get("name") == "stdout")
        lines = re.findall(rf"submission (\d+): the board [^\n\r]*; division {seed}, its own score: ([\d.]+%)", said)
        number = max([number, *(int(n) for n, _ in lines)])
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
            words |= set(re.findall(WORDS, cell.source))
        if cell.metadata.get("nbgrader", {}).get("grade_id") == CELL:
            own += [score for _, score in lines]
            why = next((f"{o.ename}: {o.evalue}"[:100] for o in outputs if o.output_type == "error"), why)
        elif not own:
            above += [score for _, score in lines]
    tiny = f", tiny images {above[0]}" if above else ""
    look = f", look at: {', '.join(sorted(words))}" if words else ""
    return f"{own[-1] if own else f'no score ({why})'}{tiny}, submissions: {number}{look}"


def main(arguments: list[str] | None = None) -> int:
    seed, *files = sys.argv[1:] if arguments is None else arguments or [""]
    if not seed.isdecimal() or not files:
        print("Say the number and the notebooks: python -m grading.board 4711 build/rerun/*.ipynb")
        return 1
    for file in map(Path, files):
        try:
            print(f"{file.name}: {told(nbformat.read(file, 4), seed)}")
        except Exception as error:  # the others are told all the same
            print(f"{file.name}: can't be read ({type(error).__name__})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
