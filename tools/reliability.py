"""What goes wrong, and what then happens: ``python -m tools.reliability`` writes docs/reliability.md.

A test that injects a fault says so itself: ``@pytest.mark.fault("Downloads", "the file is truncated", outcome="...")``,
several times if it injects several (``case=`` is then the id of its parameter). This only gathers the marks.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import lesson

TESTS = lesson.ROOT / "tests"
PAGE = lesson.ROOT / "docs" / "reliability.md"
AREAS = ("Downloads", "Archives and images", "Training", "Caches", "The same numbers")


NOTES = {
    "The same numbers": "On one machine, with one number of PyTorch's CPU threads: with another number the last bits\n"
    "of sums differ, and so do the weights. From machine to machine, and on a GPU, the same bits aren't promised.",
}


@dataclass(frozen=True)
class Fault:
    """A row: what is injected, what follows, and the test that does it."""

    area: str
    what: str
    outcome: str
    test: str
    case: str | None = None


def faults(folder: Path = TESTS) -> list[Fault]:
    """All marks of the tests in ``folder``, in the order of its files.

    Raises:
        ValueError: an unknown area, an empty text, or a case that isn't among the test's parameters.
    """
    found = []
    for path in sorted(folder.glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        values = {name: node for node in tree.body if isinstance(node, ast.Assign) for name in _names(node)}
        for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
            known = set(_strings(function.decorator_list, values))
            for mark in (node for node in function.decorator_list if _is_fault(node)):
                fault = _read(mark, path.name, function.name)
                if fault.case is not None and fault.case not in known:
                    raise ValueError(f"{fault.test} has no parameter {fault.case!r}.")
                found.append(fault)
    return found


def _is_fault(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault"


def _read(mark: ast.Call, file: str, function: str) -> Fault:
    texts = [ast.literal_eval(value) for value in mark.args]
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in mark.keywords}
    if len(texts) != 2 or not all(texts) or texts[0] not in AREAS or not named.get("outcome"):
        raise ValueError(f"{file}, {function}: fault(area, what, outcome=...) with an area of {', '.join(AREAS)}.")
    return Fault(*texts, named["outcome"], f"{file}::{function}", named.get("case"))


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _strings(decorators: list[ast.expr], values: dict[str, ast.Assign]) -> Iterator[str]:
    """The strings in the parameters of a test, and in the module's values that they name."""
    for decorator in (node for node in decorators if not _is_fault(node)):
        for node in ast.walk(decorator):
            if isinstance(node, ast.Name) and node.id in values:
                yield from (n.value for n in ast.walk(values[node.id]) if isinstance(n, ast.Constant))
            elif isinstance(node, ast.Constant):
                yield node.value


def page(folder: Path = TESTS) -> str:
    """The text of docs/reliability.md."""
    rows = defaultdict(list)
    for fault in faults(folder):
        name = fault.test.partition("::")[2].removeprefix("test_") + (
            f"[{fault.case}]" if fault.case and " " not in fault.case else ""
        )
        link = f"[{name}](../tests/{fault.test.partition('::')[0]})"
        rows[fault.area].append(f"| {fault.what} | {fault.outcome} | {link} |")
    lines = [
        "# What goes wrong, and what then happens",
        "",
        "Written by `python -m tools.reliability` from the tests that inject the faults: each row is a test of",
        "`make test` (those of whole lessons: of `make test-lessons`), and holds as long as",
        "it passes. What is trusted and what isn't: [SECURITY.md](../SECURITY.md).",
    ]
    for area in AREAS:
        lines += [
            "",
            f"## {area}",
            "",
            *([NOTES[area], ""] if area in NOTES else []),
            "| fault | outcome | test |",
            "|---|---|---|",
            *rows[area],
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(lesson.ROOT)}: {len(faults())} faults")
