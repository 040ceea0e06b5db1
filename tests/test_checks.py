"""helpers.checks: what counts as right, what a student reads, and what can't be talked into full marks."""

from __future__ import annotations

import functools
import inspect
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers import arithmetic
from helpers.checks import Check, difference


def double(n):
    return 2 * n


class AlwaysEqual:
    """An answer that agrees with everything."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __lt__ = __gt__ = __le__ = __ge__ = __eq__

    def __hash__(self):
        return 0

    def __bool__(self):
        return True

    def __float__(self):
        return 4.0


class Liar(int):
    __eq__ = AlwaysEqual.__eq__
    __hash__ = int.__hash__


class LyingText(str):
    __eq__ = AlwaysEqual.__eq__
    __hash__ = str.__hash__

    def strip(self):
        return self

    casefold = strip


class LyingList(list):
    __eq__ = AlwaysEqual.__eq__
    __hash__ = None


class LyingArray(np.ndarray):
    def __array_function__(self, *args, **kwargs):
        return True


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *args, **kwargs):
        return True


# Points


def test_all_right_gives_all_points(capsys):
    check = Check(double, points=3)
    check.equal(2, expected=4)
    check.equal(n=-1, expected=-2)
    score = check.score()
    assert score == 3.0 and type(score) is float
    assert capsys.readouterr().out.split("\n")[:3] == [
        "✓ double(2) is 4",
        "✓ double(n=-1) is -2",
        "→ 3 of 3 points here 🎉 (marking tries further cases)",
    ]


def test_points_are_shared_by_weight(capsys):
    check = Check(double, points=4)
    check.equal(2, expected=4, weight=3)
    check.equal(2, expected=5)
    assert check.score() == 3.0
    assert "🎉" not in capsys.readouterr().out


def test_a_check_without_comparisons_gives_nothing():
    assert Check(double, points=4).score() == 0.0


def test_score_is_a_float_whatever_the_points():
    for points in (1, 2.5, np.float32(3)):
        check = Check(double, points=points)
        check.equal(1, expected=2)
        assert type(check.score()) is float


@settings(deadline=None)
@given(right=st.integers(0, 6), wrong=st.integers(0, 6), points=st.integers(1, 20))
def test_score_is_the_share_and_never_over_the_points(right, wrong, points):
    assume(right + wrong)
    check = Check(double, points=points)
    for _ in range(right):
        check.equal(1, expected=2)
    for _ in range(wrong):
        check.equal(1, expected=3)
    score = check.score()
    assert score == pytest.approx(points * right / (right + wrong)) and score <= points


# Not attempted yet


@pytest.mark.parametrize("answer", [..., lambda n: ..., lambda n: None], ids=["value", "ellipsis", "none"])
def test_not_attempted_is_said_once(answer, capsys):
    check = Check(answer, points=2)
    check.equal(1, expected=2)
    check.equal(2, expected=4)
    check.that("it is fine", lambda answer: True)
    assert check.score() == 0.0
    out = capsys.readouterr().out
    assert out.count("not attempted yet") == 1 and "✗" not in out and "✓" not in out


def test_not_implemented_is_not_attempted(capsys):
    def stub(n):
        raise NotImplementedError

    check = Check(stub, points=2)
    check.equal(1, expected=2)
    assert check.score() == 0.0 and "not attempted yet" in capsys.readouterr().out


def test_what_pytorch_has_not_implemented_is_an_error_not_a_stub(capsys):
    """``mean`` of truth values raises NotImplementedError, and says what to do."""
    check = Check(lambda x: (x > 0).mean(), points=2)
    check.equal(torch.ones(3), expected=1.0)
    assert check.score() == 0.0
    out = capsys.readouterr().out
    assert "raised NotImplementedError" in out and "dtype" in out and "not attempted" not in out


def test_none_after_an_answer_is_wrong_and_earns_its_part(capsys):
    check = Check(lambda n: 2 if n == 1 else None, points=2)
    check.equal(1, expected=2)
    check.equal(2, expected=4)
    assert check.score() == 1.0
    assert "expected 4, but got None" in capsys.readouterr().out


def test_ellipsis_after_an_answer_is_wrong_too():
    check = Check(lambda n: 2 if n == 1 else ..., points=2)
    check.equal(1, expected=2)
    check.equal(2, expected=4)
    assert check.score() == 1.0


# Feedback


def test_slip_is_named_and_other_wrong_results_get_the_hint(capsys):
    check = Check(lambda n: n, points=1)
    check.equal(7, expected=3, slips={7: "did you forget the stride?"}, hint="look again")
    check.equal(8, expected=3, slips={7: "did you forget the stride?"}, hint="look again")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].endswith("expected 3, but got 7. Did you forget the stride?")
    assert lines[1].endswith("expected 3, but got 8. Look again")


def test_slips_may_be_tensors(capsys):
    check = Check(lambda: torch.tensor([2.0, 1.0]), points=1)
    check.equal(expected=torch.tensor([1.0, 2.0]), slips=[(torch.tensor([2.0, 1.0]), "reversed?")])
    assert "Reversed?" in capsys.readouterr().out and check.score() == 0.0


def test_exception_is_feedback_with_its_line(capsys):
    def answer(n):
        return n / 0

    check = Check(answer, points=1)
    check.equal(1, expected=1)
    assert check.score() == 0.0
    out = capsys.readouterr().out
    assert "raised ZeroDivisionError: division by zero (line" in out and "of answer)" in out


@pytest.mark.parametrize("call", [lambda: random.choice([]), lambda: arithmetic.output_size("a", 3)])
def test_no_line_of_the_standard_library_or_of_helpers_is_named(call, capsys):
    def answer(n):
        return call()

    @functools.cache
    def kept(n):
        return call()

    for function in (answer, kept):
        Check(function, points=1).equal(1, expected=1)
        code = inspect.unwrap(function).__code__
        assert f"(line {code.co_firstlineno + 1 + (function is kept)} of {code.co_name})." in capsys.readouterr().out


def test_the_line_is_the_students_and_never_one_of_a_library_or_of_the_check(capsys):
    def answer(n):
        return sum(one @ torch.ones(n) for one in [torch.ones(n + 1)])

    check = Check(answer, points=1)
    check.equal(1, expected=1)
    first = answer.__code__.co_firstlineno
    assert f"(line {first + 1} of answer)." in capsys.readouterr().out
    check = Check({"A": 1}, points=1)
    check.that("it has a B", lambda answer: all(answer[key] for key in "AB"))
    assert "raised KeyError: 'B'.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "hint, said",
    [("did you?", "Did you?"), ("a list.", "A list.")]
    + [(name, name) for name in ("p is the probability.", "w1 was lost.", "DL/dw1 differs.", "requires_grad!", "`x`.")],
)
def test_a_hint_begins_as_a_sentence_but_names_stay(hint, said, capsys):
    check = Check(double, points=1)
    check.equal(1, expected=3, hint=hint)
    assert capsys.readouterr().out.endswith(f"but got 2. {said}\n")


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), RecursionError("deep"), StopIteration(3)])
def test_no_exception_leaves_the_check(error):
    def answer(n):
        raise error

    check = Check(answer, points=1)
    check.equal(1, expected=1)
    assert check.score() == 0.0


def test_a_value_has_the_name_it_was_given(capsys):
    check = Check(4, points=1, name="parameters")
    check.equal(expected=5)
    assert "✗ parameters: expected 5, but got 4." in capsys.readouterr().out


def test_long_arguments_are_shown_short(capsys):
    check = Check(lambda image: image.sum(), points=1)
    check.equal(torch.ones(3, 32, 32), expected=torch.tensor(3072.0))
    check.equal(torch.ones(3, 32, 32), expected=3072, show="an image of ones")
    out = capsys.readouterr().out
    assert "a tensor of shape (3, 32, 32)" in out and "(an image of ones)" in out
    assert check.score() == 1.0


@pytest.mark.parametrize("odd", [np.array(["a"]), np.array([None]), torch.tensor(1j), torch.tensor([1j])])
@pytest.mark.parametrize("expected", [1.0, [1.0], "a", torch.ones(1)])
def test_an_odd_array_is_wrong_and_no_crash(odd, expected):
    check = Check(lambda: odd, points=1)
    check.equal(expected=expected)
    assert check.score() == 0


def test_an_answer_that_changes_what_it_is_compared_with_gains_nothing():
    given = torch.tensor([1.0, 2.0])
    check = Check(lambda values: values.zero_(), points=1)
    check.equal(given, expected=given)
    assert check.score() == 0


def halved(values, more):
    """Right, but in place."""
    for value in (values, *more["all"]):
        value *= 0.5
    return values


@pytest.mark.parametrize("make", [lambda: torch.tensor([4.0, 8.0]), lambda: np.array([4.0, 8.0])])
def test_an_answer_that_changes_its_arguments_spoils_no_later_comparison(make, capsys):
    check, values, more = Check(halved, points=3), make(), {"all": [make()]}
    for _ in range(2):
        check.equal(values, more, expected=make() / 2)
    check.equal(values, more, expected=make(), hint="By two.")
    assert values.tolist() == more["all"][0].tolist() == [4, 8]
    assert "By two. It also changed what it was given: work on copies." in capsys.readouterr().out
    check.unchanged()
    assert "not so: what was given is unchanged. Work on copies." in capsys.readouterr().out
    assert check.score() == pytest.approx(3 * 2 / 4)


def test_an_answer_that_leaves_its_arguments_is_told_so(capsys):
    check = Check(lambda rows, model, names: sum(rows), points=1)
    check.equal([1, 2], torch.nn.Linear(1, 1), range(3), expected=3)
    check.equal([1, 2], torch.ones(2, requires_grad=True), {"a": None}, expected=3)
    odd = [torch.tensor([math.nan]), torch.ones(2, dtype=torch.complex64), torch.ones(2).to_sparse(), np.array(["a"])]
    check.equal([1, 2], [*odd, torch.ones(2, device="meta")], np.array([math.nan]), expected=3)
    check.unchanged()
    assert check.score() == 1 and "✓ what was given is unchanged" in capsys.readouterr().out


def test_a_list_that_got_shorter_or_was_sorted_has_changed():
    for change in (list.pop, list.sort, lambda values: values.append(0)):
        check = Check(change, points=1)
        check.equal([3, 1, 2], expected=...)
        check.unchanged()
        assert check.score() == 0


def test_unchanged_is_no_gift(capsys):
    def raises(values):
        values += 1
        raise ValueError

    for answer, said in (
        (raises, "unchanged. Work on copies.\n"),
        (lambda values: 5, "counts once a result is right.\n"),
    ):
        check = Check(answer, points=1)
        check.equal(torch.ones(2), expected=torch.ones(2))
        check.unchanged()
        assert said in capsys.readouterr().out and check.score() == 0


def test_an_odd_object_in_an_argument_is_no_crash():
    class Odd:
        def __eq__(self, other):
            raise ValueError

        def __array__(self, *args, **options):
            raise RuntimeError

    for thing in (Odd(), torch.ones(1, device="meta"), [torch.ones(1, requires_grad=True)]):
        check = Check(lambda values, thing=thing: values.__setitem__(0, thing), points=1)
        check.equal([1, 2], expected=torch.ones(2))
        check.unchanged()
        assert check.score() == 0
        assert difference([thing], torch.ones(1)) is not None


def test_unchanged_says_nothing_of_a_stub(capsys):
    check = Check(lambda x: None, points=1)
    check.equal([1], expected=1)
    check.unchanged()
    assert check.score() == 0 and capsys.readouterr().out.count("not attempted") == 1


def test_an_answer_whose_text_raises_is_still_graded():
    class Mute:
        def __repr__(self):
            raise RuntimeError("no text")

    check = Check(lambda: Mute(), points=1)
    check.equal(expected=1)
    assert check.score() == 0.0


# Properties


def test_that_passes_only_on_true(capsys):
    check = Check(double, points=4)
    check.that("doubles three", lambda f: f(3) == 6)
    check.that("as NumPy says it", lambda f: np.bool_(True))
    check.that("triples", lambda f: f(3) == 9, hint="that is another function")
    check.that("something that acts like true", lambda f: AlwaysEqual())
    assert check.score() == 2.0
    assert "✗ not so: triples. That is another function" in capsys.readouterr().out


def test_that_survives_an_exception():
    check = Check(double, points=1)
    check.that("fails", lambda f: f("a", "b") == 1)
    assert check.score() == 0.0


# What is equal

SAME = [
    (4, 4.0),
    (np.float32(0.1), 0.1),
    (torch.tensor(3), 3),
    (np.array(3.0), 3),
    (1 + 1e-9, 1),
    (math.inf, math.inf),
    (True, True),
    (np.bool_(False), False),
    (" Edges ", "edges"),
    ((1, 2), [1, 2]),
    (torch.Size([1, 2]), (1, 2)),
    ([1.0, [2, 3]], (1, (2, 3))),
    ({1, 2}, {2, 1}),
    ([2, 1], {1, 2}),
    ({"a": 1.0}, {"a": 1}),
    ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])),
    (np.ones((2, 2)), torch.ones(2, 2)),
    (torch.ones(2, 2, dtype=torch.int64), torch.ones(2, 2)),
    (torch.nn.Parameter(torch.ones(2)), torch.ones(2)),
    (torch.ones(2, requires_grad=True), torch.ones(2)),
]
DIFFERENT = [
    (4, 5),
    (math.nan, 4),
    (math.nan, 0.0),
    (-math.inf, math.inf),
    ("4", 4),
    (None, 4),
    (True, 1),
    (1, True),
    (0, False),
    (torch.tensor(True), True),
    (4 + 0j, 4),
    (torch.tensor([3]), 3),
    (1, "1"),
    ("edge", "edges"),
    ([1, 2], [1, 2, 3]),
    ([1, 2], [2, 1]),
    ("ab", ["a", "b"]),
    ({"a": 1, "b": 2}, {"a": 1}),
    ({"a": 2}, {"a": 1}),
    ({1, 2, 3}, {1, 2}),
    (torch.ones(2, 3), torch.ones(3, 2)),
    (torch.ones(1, 2), torch.ones(2)),
    (torch.ones(1), torch.tensor(1.0)),
    (torch.zeros(2), torch.ones(2)),
    (torch.tensor([math.nan]), torch.tensor([math.nan])),
    (torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2.0])),
    (torch.tensor([1.0, math.nan]), torch.tensor([math.nan, 1.0])),
    (torch.tensor([math.inf]), torch.tensor([1.0])),
    (np.array(["1"]), np.array([1])),
    (["a"], np.array([1.0])),
    ([[1], [1, 2]], np.array([[1, 2], [1, 2]])),
    (None, torch.ones(2)),
    (np.array([1 + 1j]), np.array([1.0])),
]
LIES = [
    (AlwaysEqual(), 4),
    (AlwaysEqual(), 4.0),
    (AlwaysEqual(), True),
    (AlwaysEqual(), "edges"),
    (AlwaysEqual(), [1, 2]),
    (AlwaysEqual(), {"a": 1}),
    (AlwaysEqual(), {1, 2}),
    (AlwaysEqual(), torch.ones(2)),
    (AlwaysEqual(), np.ones(2)),
    (AlwaysEqual(), None),
    (AlwaysEqual(), torch.float32),
    (Liar(3), 4),
    (LyingText("x"), "edges"),
    (LyingList([9]), [1, 2]),
    ([AlwaysEqual(), AlwaysEqual()], [1, 2]),
    ({AlwaysEqual()}, {1}),
    ([AlwaysEqual()], {1}),
    ({"a": AlwaysEqual()}, {"a": 1}),
    ({AlwaysEqual(): 1}, {"a": 1}),
    ([AlwaysEqual(), AlwaysEqual()], torch.ones(2)),
    (np.zeros(2).view(LyingArray), np.ones(2)),
    (torch.zeros(2).as_subclass(LyingTensor), torch.ones(2)),
    (np.array([AlwaysEqual()], dtype=object), np.array([1.0])),
]


@pytest.mark.parametrize(("result", "expected"), SAME, ids=str)
def test_same(result, expected):
    assert difference(result, expected) is None


@pytest.mark.parametrize(("result", "expected"), DIFFERENT, ids=str)
def test_different(result, expected):
    text = difference(result, expected)
    assert isinstance(text, str) and text


@pytest.mark.parametrize(("result", "expected"), LIES, ids=lambda value: type(value).__name__)
def test_an_answer_that_agrees_with_everything_fails(result, expected):
    check = Check(lambda: result, points=5)
    check.equal(expected=expected)
    assert check.score() == 0.0


def test_words_say_what_differs():
    assert difference(torch.ones(2, 3), torch.ones(3, 2)) == "got the shape (2, 3) and not (3, 2)"
    assert "NaN" in difference(torch.tensor([math.nan, 1.0]), torch.ones(2))
    worst = difference(torch.tensor([1.0, 5.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert worst == "67% of the values differ, most at (1,): got 5, expected 2"
    near = difference(torch.tensor([1.28401]), torch.tensor([1.28441]))
    assert near.endswith("got 1.28401005, expected 1.28441")
    assert difference([1, 5], [1, 2]) == "at position 1 got 5"
    assert difference({"a": 5}, {"a": 2}) == "at 'a' got 5"
    assert "not a number" in difference("4", 4)


def test_tolerance_is_kept():
    assert difference(100.5, 100, rtol=0.01) is None
    assert difference(100.5, 100, rtol=0.001) is not None
    assert difference(torch.tensor([0.001]), torch.tensor([0.0]), atol=0.01) is None


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.integers(0, 7), st.floats(1, 100))
def test_any_changed_value_is_noticed(values, place, change):
    expected = torch.tensor(values, dtype=torch.float64)
    result = expected.clone()
    assert difference(result, expected) is None
    result[place % len(values)] += change * (1 + abs(result[place % len(values)]))
    assert difference(result, expected) is not None


def test_single_number_in_place_of_a_list_is_wrong_and_no_crash():
    for result in (torch.tensor(1.5), np.array(1.5), 1.5):
        assert difference(result, [1.5]) is not None
    assert difference(torch.tensor([1.5]), [1.5]) is None


def test_a_refused_answer_is_told_why_and_nothing_counts(capsys):
    check = Check(lambda: 3, points=2, name="three")
    check.refuse("")
    check.equal(expected=3)
    check.refuse("Write the sum yourself.")
    check.equal(expected=3)
    assert check.score() == 0.0
    assert capsys.readouterr().out.splitlines()[-1] == "✗ Write the sum yourself. Until then nothing counts."


def test_a_test_that_stumbles_over_the_form_of_an_answer_gives_its_hint(capsys):
    check = Check([3, 8], points=1, name="rows")
    check.that("two rows", lambda rows: [len(row) for row in rows] == [2, 2], hint="[[a, b], [c, d]]")
    check = Check(lambda: {}["key"], points=1)
    check.that("a value", lambda f: f() == 1, hint="not this one: the line says it")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("has no len(). [[a, b], [c, d]]") and "not this one" not in second


def test_numbers_in_lists_are_short_enough_to_be_read(capsys):
    check = Check(lambda: [("tabby", 1 / 3), ("tiger cat", 2 / 3)], points=1)
    check.equal(expected=[("tabby", 1 / 3), ("tiger cat", 1 / 7)])
    assert "[('tabby', 0.333333), ('tiger cat', 0.142857)]" in capsys.readouterr().out
