"""Which names a cell reads, binds and changes, and so which cells an answer needs: from the text, nothing is run."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterator
from functools import partial

from helpers import checks

CHANGING = {"add", "append", "appendleft", "clear", "discard", "eval", "extend", "insert", "load_state_dict", "pop"}
CHANGING |= {"remove", "reverse", "setdefault", "sort", "train", "update"}  # methods; PyTorch's others end in "_"


def readable(source: str) -> str:
    """A cell without what only a notebook understands (``%timeit``, ``!pip``), when it is no Python with it."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    if _parse(source) is not None:
        return source
    lines = [re.sub(r"^(\s*)([%!].*|\S+\?+\s*)$", r"\1pass", line) for line in source.split("\n")]
    lines = [re.sub(r"^(\s*\w+\s*=\s*)[%!].*$", r"\1None", line) for line in lines]
    return "\n".join(lines) if _parse("\n".join(lines)) is not None else source


def chosen(cells: list[dict], known: set[str]) -> list[int]:
    """The cells to run: the answers, and those that define a name which they need and the set-up lacks, or change what
    such a name stands for (``steps.append(1)``)."""
    trees = [_parse(cell["source"]) or ast.Module([], []) for cell in cells]
    keep = {i for i, cell in enumerate(cells) if cell["answer"] or (cell["own"] and _imports_all(trees[i]))}
    known = known | set(dir(builtins))
    needed = [needs(cell["source"]) for cell in cells]  # each cell is looked at once: there may be many rounds
    bound, defined, changed = ([f(tree) for tree in trees] for f in (binds, partial(binds, imports=False), changes))
    while True:
        wanted = set().union(*(needed[i] for i in keep))
        own = wanted & set().union(*(defined[i] for i in keep if cells[i]["own"]))
        own |= set().union(*(defined[i] for i in keep if cells[i]["answer"]))
        more = {
            i
            for i in set(range(len(cells))) - keep
            if bound[i] & (wanted if cells[i]["own"] else wanted - known) or (cells[i]["own"] and changed[i] & own)
        }
        if not more:
            return sorted(keep)
        keep |= more


def needs(source: str) -> set[str]:
    """The names that code reads and doesn't define itself: globals, not what is local to its functions."""
    tree = _parse(source)
    if tree is None:
        return set()
    try:
        found, todo = set(), [symtable.symtable(source, "<cell>", "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # also of what can be parsed: a stray `nonlocal`
        return set()
    while todo:
        table = todo.pop()
        todo += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
                found.add(symbol.get_name())
    own, before = binds(tree), set()
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AugAssign)):  # step = 2 * step: it must have been there
            own -= (binds(node) & _read(node)) - before
        before |= binds(ast.Module([node], []))
    return found - own


def _read(node: ast.Assign | ast.AugAssign) -> set[str]:
    """The names whose old value an assignment takes."""
    read = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return read | ({node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set())


def _imports_all(tree: ast.AST) -> bool:
    """``from math import *``: nobody knows what that defines."""
    return any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in ast.walk(tree))


def changes(tree: ast.AST) -> set[str]:
    """The names whose objects code changes at its top level: ``d[k] = v``, ``o.a = v``, ``o.append(v)``."""
    found, todo = set(), list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        place = None
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            method = node.value.func
            if isinstance(method, ast.Attribute) and (method.attr in CHANGING or method.attr.endswith("_")):
                place = method
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            place = node
        while isinstance(place, (ast.Attribute, ast.Subscript, ast.Call)):
            place = place.func if isinstance(place, ast.Call) else place.value
        if isinstance(place, ast.Name):
            found.add(place.id)
        todo += ast.iter_child_nodes(node)
    return found


def binds(tree: ast.AST, imports: bool = True) -> set[str]:
    """The names that code defines at its top level."""
    found, todo = set(), list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            found.add(node.name)
        if imports and isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        todo += ast.iter_child_nodes(node)
    return found


def names_in(sources: list[str], function: str) -> set[str]:
    """As ``helpers.checks.names_used``, read from the text of the student's cells, in order: none is run here.

    Where a cell defines a name more than once, all that it may stand for counts; where none does, the whole cell that
    names it.
    """
    trees = [tree for tree in map(_parse, sources) if tree is not None]
    stands_for: dict[str, list[ast.AST]] = {}
    for tree in trees:
        here: dict[str, list[ast.AST]] = {}
        for name, node in _definitions(tree.body):
            here.setdefault(name, []).append(node)
        stands_for |= here  # a later cell's counts
    methods = {
        node.name
        for nodes in stands_for.values()
        for one in nodes
        if isinstance(one, ast.ClassDef)
        for node in ast.walk(one)
        if isinstance(node, ast.FunctionDef)
    }
    found, todo, seen = set(), list(stands_for.get(function, [])), {function}
    todo = todo or [tree for tree in trees if any(function == _word(node) for node in ast.walk(tree))]
    while todo:
        plain, others = _names(todo.pop())
        found |= others - methods
        for name in plain - seen:
            seen.add(name)
            meant = [node for node in stands_for.get(name, []) if not _computed(node, stands_for)]
            todo += meant
            found |= set() if stands_for.get(name) else {name}
    return found


def _word(node: ast.AST) -> str:
    """The name or text that a piece of code is."""
    return getattr(node, "id", None) or str(getattr(node, "value", ""))


def _computed(node: ast.AST, known: dict) -> bool:
    """Is that a mere result, as of ``F.conv2d(x, k)[0]``? ``partial(f)`` and an object of an own class aren't."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
        return False
    calls = [
        _word(one.func) if isinstance(one.func, ast.Name) else getattr(one.func, "attr", "")
        for one in ast.walk(node)
        if isinstance(one, ast.Call)
    ]
    return any(
        name != "partial" and not any(isinstance(d, ast.ClassDef) for d in known.get(name, [])) for name in calls
    )


def _definitions(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """(name, what it stands for) of a cell's statements, and of those inside its loops and conditions."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name, ast.Attribute(ast.Constant(0), alias.name.split(".")[-1], ast.Load())
            continue
        value = getattr(node, "value", None) or getattr(node, "iter", None)
        if isinstance(value, ast.AST):
            for name in binds(ast.Module([node], [])):
                yield name, value
        for part in ("body", "orelse", "finalbody"):
            yield from _definitions(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from _definitions(handler.body)


def _names(node: ast.AST) -> tuple[set[str], set[str]]:
    """The global names that a piece of code reads, and all others: attributes, and what it imports."""
    module = ast.Module([node if isinstance(node, ast.stmt) else ast.Expr(node)], [])
    module = node if isinstance(node, ast.Module) else ast.fix_missing_locations(module)
    try:
        return checks.names_read(compile(module, "<answer>", "exec"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(), set()


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
