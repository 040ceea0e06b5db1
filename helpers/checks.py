"""Feedback for a student and points for nbgrader: one mechanism.

A check cell of a lesson reads::

    check = Check(output_size, points=2)
    check.equal(7, 3, expected=5)
    check.equal(7, 3, stride=2, expected=3, slips={5: "did you forget the stride?"})
    check.score()

Each line prints what was given, what came out and what was expected. The last one is the cell's value, a
float, which nbgrader takes as the mark. An exercise that still holds ``...`` is *not attempted yet*: no
error, no mark, and later cells don't need it.
"""

from __future__ import annotations

import dis
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch

_LIBRARIES = (sys.prefix, sys.base_prefix, str(Path(__file__).parent))  # no line there is a student's
_NUMBERS = (int, float, np.integer, np.floating)


class Check:
    """Compares one answer with what is expected, and counts the points.

    Args:
        answer: the student's function or value; ``...`` (or a function that returns ``...`` or ``None``)
            means "not attempted yet".
        points: the mark when everything passes; a part of it when some comparisons fail.
        name: what to call a value in the messages (a function has its own name).
    """

    def __init__(self, answer: Any, *, points: float, name: str = "your answer") -> None:
        self._answer = answer
        self._points = points
        self._name = getattr(answer, "__name__", name) if callable(answer) else name
        self._passed = self._total = 0.0
        self._failed = self._changed = False
        self._attempted = answer is not ...
        if not self._attempted:
            self._say_not_attempted()

    def equal(
        self,
        *args: Any,
        expected: Any,
        slips: Mapping[Any, str] | Sequence[tuple[Any, str]] = (),
        hint: str = "",
        rtol: float = 1e-4,
        atol: float = 1e-6,
        weight: float = 1.0,
        show: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Call the answer with the arguments (or take the value) and compare the result with ``expected``.

        It gets copies of arrays, tensors, lists and dictionaries, so one that changes them spoils no later comparison.
        Arguments of the names below can't be given by name.

        Args:
            slips: (wrong result, what probably happened) pairs, said when the result is that one.
            hint: said for any other wrong result.
            rtol, atol: how near numbers must be, as in ``numpy.isclose``.
            weight: the share of the points, relative to the other comparisons.
            show: text for the arguments when they are long (an image, say).
        """
        expected, given = _kept(expected, learning=False), _kept((args, kwargs))
        call = f"{self._name}({show})" if show is not None else _call_text(self._name, args, kwargs)
        text = call if callable(self._answer) else self._name
        ask = (lambda: self._answer(*given[0], **given[1])) if callable(self._answer) else (lambda: self._answer)
        ok, result = self._run(text, ask, weight)
        changed = not _same(given, (args, kwargs))
        self._changed |= changed
        if not ok:
            return
        problem = difference(result, expected, rtol=rtol, atol=atol)
        if problem is None:
            self._pass(f"{text} is {_short(expected)}", weight)
            return
        pairs = slips.items() if isinstance(slips, Mapping) else slips
        hints = [said for wrong, said in pairs if difference(result, wrong, rtol=rtol, atol=atol) is None]
        if changed and not hints:
            hint = f"{hint} It also changed what it was given: work on copies.".strip()
        self._fail(f"{text}: expected {_short(expected)}, but {problem}.", hints[0] if hints else hint, weight)

    def unchanged(self, *, hint: str = "Work on copies.", weight: float = 1.0) -> None:
        """No comparison so far has seen the answer change what it was given, and one of them at least has passed.

        (In marking the answer runs in another process: only what it does to tensors is seen there.)
        """
        if not self._attempted or not self._total:
            return
        text = "what was given is unchanged"
        if self._changed:
            self._fail(f"not so: {text}.", hint, weight)
        elif self._passed:
            self._pass(text, weight)
        else:
            self._fail(f"“{text}” counts once a result is right.", "", weight)

    def that(self, text: str, test: Callable[[Any], bool], *, hint: str = "", weight: float = 1.0) -> None:
        """A property of the answer: ``test(answer)`` must be ``True`` (exactly: nothing that only acts like it)."""
        ok, result = self._run(f"“{text}”: the test", lambda: test(self._answer), weight, hint)
        if ok:
            passed = type(result) in (bool, np.bool_) and bool(result)
            self._pass(text, weight) if passed else self._fail(f"not so: {text}.", hint, weight)

    def refuse(self, reason: str) -> None:
        """The answer breaks a rule of the task: say so, and count nothing from here on. An empty reason is none."""
        if reason and self._attempted:
            print(f"✗ {reason} Until then nothing counts.")
            self._attempted = False

    def score(self) -> float:
        """Print the summary and return the points: the last line of a check cell."""
        if not self._attempted or not self._total:
            return 0.0
        points = self._points * self._passed / self._total
        more = " 🎉 (marking tries further cases)" if points == self._points and not self._failed else ""
        print(f"→ {points:g} of {self._points:g} points here{more}")
        return float(points)

    def _run(self, text: str, call: Callable[[], Any], weight: float, hint: str = "") -> tuple[bool, Any]:
        """(True, result), or (False, None) when there is nothing to compare. hint: said if it fails elsewhere."""
        if not self._attempted:
            return False, None
        try:
            try:
                result = call()
            except NotImplementedError as error:
                if str(error):  # PyTorch's own: "mean(): could not infer output dtype"
                    raise
                result = ...
        except (KeyboardInterrupt, SystemExit) as error:
            self._fail(f"{text} stopped with {type(error).__name__}.", "", weight)
            return False, None
        except Exception as error:  # whatever a student's function raises is feedback, not a crash
            where = getattr(error, "where", None)  # one that comes from another process has said it
            where = _line(error, self._answer) if where is None else where
            self._fail(f"{text} raised {type(error).__name__}: {error}{where}.", "" if where else hint, weight)
            return False, None
        if (result is ... or result is None) and not self._total:  # later on it's an answer that misses a case
            self._attempted = False
            self._say_not_attempted()
            return False, None
        return True, result

    def _say_not_attempted(self) -> None:
        print(
            f"○ {self._name}: not attempted yet. Replace the `...` or fill in the body, run that cell, then this one. "
            "(You have? Then it returns nothing: look for a missing `return`.)"
        )

    def _pass(self, text: str, weight: float) -> None:
        self._passed += weight
        self._total += weight
        print(f"✓ {text}")

    def _fail(self, text: str, hint: str, weight: float) -> None:
        self._total += weight
        self._failed = True
        first = hint.split(" ")[0].strip(",.:?!")
        if first == "a" or (first.isalpha() and len(first) > 1):  # a word; names stay as they are: p, w1, dL/dx
            hint = hint[0].upper() + hint[1:]
        print(f"✗ {text}" + (f" {hint}" if hint else ""))


def _line(error: Exception, answer: Any) -> str:
    """Where in a student's function it went wrong; "" when that is not known: a value, or one that the check called."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    start = [i for i, (frame, _) in enumerate(traceback.walk_tb(error.__traceback__)) if frame.f_code is code]
    own = [frame for frame in frames[start[0] :] if not frame.filename.startswith(_LIBRARIES)] if start else []
    named = [frame for frame in own if not frame.name.startswith("<")]
    return f" (line {named[-1].lineno} of {named[-1].name})" if named else ""


def names_used(function: Any) -> set[str]:
    """The names that a function uses: globals, attributes and what it imports. What the notebook itself defines counts
    by what that uses, whatever its name; so a task can forbid ``conv2d`` and allow a helper of one's own."""
    if (known := getattr(function, "names_used", None)) is not None:  # the grader's stand-in, which has no code
        return known
    first = inspect.unwrap(function) if callable(function) else function
    home = first.__globals__ if isinstance(first, FunctionType) else {}
    classes = {id(value): value for value in home.values() if isinstance(value, type) and _own(vars(value), home)}
    methods = {name for one in classes.values() for name in vars(one)}
    found, todo, seen = {getattr(first, "__name__", "")}, [first], set()
    while todo:
        seen.add(id(one := todo.pop()))
        for own in _own(vars(one) if id(one) in classes else {"": one}, home):
            plain, others = names_read(own.__code__)
            found |= others - methods
            for name in plain:
                value = home.get(name)
                value = inspect.unwrap(value) if callable(value) else value
                value = type(value) if id(type(value)) in classes else value  # an object of an own class
                if id(value) not in classes and not _own({"": value}, home):
                    found |= {name, getattr(value, "__name__", type(value).__name__)}
                elif id(value) not in seen:
                    todo.append(value)
    return found - {""}


def names_read(code: CodeType) -> tuple[set[str], set[str]]:
    """The global names that a piece of code and the functions in it read, and all others: attributes, and imports."""
    plain, others, codes = set(), set(), [code]
    for code in codes:
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                plain.add(step.argval)
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_NAME", "IMPORT_FROM"):
                others.add(step.argval)
    return plain, others


def _own(named: Mapping[str, Any], home: dict) -> list[FunctionType]:
    """Of these values, the functions that the notebook defines."""
    return [value for value in named.values() if isinstance(value, FunctionType) and value.__globals__ is home]


def difference(result: Any, expected: Any, *, rtol: float = 1e-4, atol: float = 1e-6) -> str | None:
    """What differs between two results, in words; ``None`` when they agree.

    Arrays and tensors must have the same shape and near values (NaN never passes); numbers of any numeric type
    compare by value; strings ignore case and outer spaces; sequences and dictionaries compare element by element.
    Types are read with ``type``, and values with NumPy, so an object whose ``__eq__`` always agrees doesn't pass.
    """
    if isinstance(expected, (torch.Tensor, np.ndarray)):
        return _array_difference(result, expected, rtol, atol)
    if isinstance(expected, (bool, np.bool_)):
        if type(result) not in (bool, np.bool_):
            return f"got {_short(result)}, which is not True or False"
        return None if bool(result) == bool(expected) else f"got {result}"
    if isinstance(expected, _NUMBERS):
        value = _as_number(result)
        if value is None:
            return f"got {_short(result)}, which is not a number"
        near = math.isclose(value, float(expected), rel_tol=rtol, abs_tol=atol)
        return None if near else f"got {_short(value)}"
    if isinstance(expected, str):
        same = type(result) in (str, np.str_) and result.strip().casefold() == expected.strip().casefold()
        return None if same else f"got {_short(result)}"
    if isinstance(expected, Mapping):
        if type(result) is not dict or set(result) != set(expected):
            return f"got {_short(result)}"
        return _first_difference(((f"at {key!r} ", result[key], expected[key]) for key in expected), rtol, atol)
    if isinstance(expected, (set, frozenset)):
        same = type(result) in (set, frozenset, list, tuple) and set(result) == set(expected)
        return None if same else f"got {_short(result)}"
    if isinstance(expected, Sequence):
        result = _plain(result)
        known = type(result) in (list, tuple, torch.Size, torch.Tensor, np.ndarray) and getattr(result, "ndim", 1) > 0
        if not known or len(result) != len(expected):
            return f"got {_short(result)}"
        items = ((f"at position {i} ", a, b) for i, (a, b) in enumerate(zip(result, expected, strict=True)))
        return _first_difference(items, rtol, atol)
    return None if result is expected else f"got {_short(result)}"


def _first_difference(items: Iterable[tuple[str, Any, Any]], rtol: float, atol: float) -> str | None:
    for where, result, expected in items:
        if problem := difference(result, expected, rtol=rtol, atol=atol):
            return where + problem
    return None


def _array_difference(result: Any, expected: Any, rtol: float, atol: float) -> str | None:
    result = _plain(result)
    if type(result) not in (torch.Tensor, torch.nn.Parameter, np.ndarray, list, tuple, *_NUMBERS):
        return f"got a {type(result).__name__}, not a tensor"
    try:
        got, want = _as_array(result), _as_array(expected)
    except Exception as error:  # NumPy and PyTorch have many ways to say so
        return f"got something that isn't a tensor of numbers ({error})"
    if got.shape != want.shape:
        return f"got the shape {tuple(got.shape)} and not {tuple(want.shape)}"
    if np.isnan(got).any() and not np.isnan(want).any():
        return "got NaN (not a number) in it"
    wrong = ~np.isclose(got, want, rtol=rtol, atol=atol)
    if not wrong.any():
        return None
    worst = np.unravel_index(np.argmax(np.abs(got - want) * wrong), got.shape) if got.shape else ()
    place = f" at {tuple(int(i) for i in worst)}" if got.shape else ""
    share = f"{wrong.mean():.0%}" if wrong.mean() >= 0.01 else "less than 1%"
    digits = 4 if f"{got[worst]:.4g}" != f"{want[worst]:.4g}" else 9
    return f"{share} of the values differ, most{place}: got {got[worst]:.{digits}g}, expected {want[worst]:.{digits}g}"


def _plain(value: Any) -> Any:
    """A named tuple as a plain one, whatever its class says of itself."""
    return tuple(tuple.__iter__(value)) if isinstance(value, tuple) else value


def _kept(value: Any, learning: bool = True) -> Any:
    """A copy of the arrays, tensors, lists and dictionaries in a value; ``learning``: what learns stays itself."""
    if isinstance(value, torch.Tensor):
        return value if learning and value.requires_grad else value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(_kept(item, learning) for item in value)
    if type(value) is dict:
        return {key: _kept(item, learning) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _same(value: Any, before: Any) -> bool:
    """Is a copy that ``_kept`` made still like what it was made of? (Yes, where that can't be told.)"""
    if value is before:
        return True
    if type(value) is not type(before):
        return False
    try:
        if isinstance(before, torch.Tensor):
            alike = value.shape == before.shape and value.dtype == before.dtype
            return alike and torch.equal(value.nan_to_num(), before.nan_to_num())
        if isinstance(before, np.ndarray):
            return np.array_equal(value, before, equal_nan=before.dtype.kind in "fc")
        if type(before) is dict:
            return list(value) == list(before) and all(_same(value[key], before[key]) for key in before)
        if type(before) in (list, tuple):
            return len(value) == len(before) and all(map(_same, value, before))
        return bool(value == before)
    except Exception:  # a complex or sparse tensor, an object of the student's
        return True


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.to(torch.float64).numpy() if not value.is_complex() else value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":  # text that looks like numbers, complex numbers, objects
        raise TypeError(f"its values are of type {array.dtype}")
    return array.astype(np.float64)


def _as_number(value: Any) -> float | None:
    if type(value) is torch.Tensor and value.ndim == 0 and not value.is_complex():
        return float(value)
    if type(value) is np.ndarray and value.ndim == 0 and value.dtype.kind in "iuf":
        return float(value)
    is_number = type(value) in (int, float) or isinstance(value, (np.integer, np.floating))
    return float(value) if is_number else None


def _short(value: Any) -> str:
    """A value on part of one line."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.6g}"
    try:
        if isinstance(value, (torch.Tensor, np.ndarray)):
            if math.prod(value.shape) > 12:
                return f"a tensor of shape {tuple(value.shape)}"
            shown = np.round(_as_array(value), 4)
            whole = not value.is_floating_point() if isinstance(value, torch.Tensor) else value.dtype.kind in "biu"
            return str((shown.astype(int) if whole else shown).tolist())
        if type(value) in (list, tuple) and any(isinstance(v, (torch.Tensor, np.ndarray)) for v in value):
            return f"({', '.join(_short(v) for v in value)})"
        text = repr(_rounded(value))
    except Exception:  # a student's own class, or an array of text
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _rounded(value: Any) -> Any:
    """Floats in lists, tuples and dictionaries, to six digits: so that more of them fit on a line."""
    if type(value) in (list, tuple):
        return type(value)(_rounded(item) for item in value)
    if type(value) is dict:
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.6g}") if type(value) is float else value


def _call_text(name: str, args: tuple, kwargs: dict) -> str:
    shown = [_short(arg) for arg in args] + [f"{key}={_short(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(shown)})"
