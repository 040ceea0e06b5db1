"""The lab's board: what it shows, what it hides, what it refuses; and that coin flips don't climb it."""

from __future__ import annotations

import nbformat
import pytest
import torch

from grading import board
from helpers import datasets
from helpers.datasets import ImageSet
from helpers.lab import Ladder, Leaderboard


def small_set(n: int = 80, classes: int = 2) -> ImageSet:
    """Gray images whose first pixel is ten times the label; the rest is noise."""
    labels = torch.arange(n) % classes
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 1, 4, 4), generator=noise, dtype=torch.uint8)
    images[:, 0, 0, 0] = 10 * labels.to(torch.uint8)
    names = tuple(f"class{k}/image{i}.png" for i, k in enumerate(labels.tolist()))
    soft = torch.nn.functional.one_hot(labels, classes).float()
    return ImageSet("small", images, labels, tuple("abcdef"[:classes]), names, soft=soft, strata=labels)


def told(image_set: ImageSet) -> torch.Tensor:
    """A classifier that is always right: it reads the pixel."""
    return image_set.images[:, 0, 0, 0].long() // 10


def test_ladder_shows_whole_steps_and_only_real_progress():
    truth = torch.ones(1000, dtype=torch.int64)
    ladder = Ladder(truth, step=0.01)

    def score(value: float) -> float:
        return ladder.show((torch.arange(1000) < round(1000 * value)).long())

    shown = [score(value) for value in (0.503, 0.508, 0.521, 0.40, 0.534, 1.0)]
    assert shown == pytest.approx([0.50, 0.50, 0.52, 0.52, 0.53, 1.0])
    assert ladder.submissions == 6


def test_coin_flips_climb_a_plain_board_but_not_the_ladder():
    coin = torch.Generator().manual_seed(1)
    truth = torch.randint(2, (600,), generator=coin)
    guesses = torch.randint(2, (300, 600), generator=coin)
    ladder = Ladder(truth)
    shown = torch.tensor([0.0] + [ladder.show(guess) for guess in guesses])

    def vote(liked: torch.Tensor) -> float:
        return float(((liked.float().mean(0) > 0.5) == truth.bool()).float().mean())

    assert vote(guesses[(guesses == truth).float().mean(1) > 0.5]) > 0.6
    assert vote(guesses[shown.diff() > 0]) < 0.57


def test_test_part_has_no_labels_nor_names_and_is_shuffled():
    whole = small_set()
    board = Leaderboard(whole, seed=3)
    parts = datasets.split(whole, 3)
    assert len(board.labelled) == len(parts.train) and len(board.test) == len(parts.test)
    assert torch.equal(board.labelled.labels, whole.labels[parts.train])
    assert not board.test.labels.any() and board.test.soft is None and board.test.strata is None
    assert board.test.part_of is None, "it would lead to the labels"
    assert not set(board.test.files) & set(whole.files)
    in_order = whole.images[parts.test]
    assert not torch.equal(board.test.images, in_order)
    rows = {bytes(image.numpy().tobytes()) for image in in_order}
    assert {bytes(image.numpy().tobytes()) for image in board.test.images} == rows


def test_score_follows_the_shuffled_order(capsys):
    board = Leaderboard(small_set(), seed=0)
    assert board.submit(told) == 1.0
    assert "submission 1: the board shows 100% (a new best)" in capsys.readouterr().out
    assert board.submit(lambda images: 1 - told(images)) == 1.0, "the board never goes down"
    assert "the board stays" in capsys.readouterr().out
    assert Leaderboard(small_set(), seed=0).submit(lambda images: 1 - told(images)) == 0.0


def test_seed_comes_from_the_environment(monkeypatch):
    whole = small_set()
    monkeypatch.delenv("COURSE_LAB_SEED", raising=False)
    usual = Leaderboard(whole)
    monkeypatch.setenv("COURSE_LAB_SEED", "99")
    marked = Leaderboard(whole)
    assert (usual.seed, marked.seed) == (0, 99)
    assert set(usual.labelled.files) != set(marked.labelled.files)
    assert marked.submit(told) == 1.0, "a sound classifier scores the same on another division"


def test_a_marker_sees_each_submissions_own_score(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_LAB_SEED", "99")
    board = Leaderboard(small_set())
    assert board.submit(told) == 1.0
    assert board.submit(lambda images: 1 - told(images)) == 1.0, "what a program is told stays the ladder's"
    assert "board stays); division 99, its own score: 0.0%" in capsys.readouterr().out
    assert Leaderboard(small_set(), seed=0).submit(told) == 1.0
    assert "division" not in capsys.readouterr().out


@pytest.mark.parametrize("nothing", [None, ...])
def test_no_classifier_is_no_submission(nothing, capsys):
    board = Leaderboard(small_set(), seed=0)
    assert board.submit(nothing) is None
    assert "no classifier yet" in capsys.readouterr().out
    board.submit(told)
    assert "submission 1:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (lambda images: torch.rand(len(images), 2), "argmax"),
        (lambda images: torch.rand(len(images)), "float32"),
        (lambda images: told(images) > 0, "bool"),
        (lambda images: None, "returned NoneType"),
        (lambda images: ["kitchen"] * len(images), "returned list"),
        (lambda images: told(images)[:-1], "whole numbers"),
        (lambda images: told(images) + 1, "from 0 to 1"),
        (lambda images: told(images) - 1, "from -1"),
    ],
)
def test_wrong_predictions_are_explained(predict, words):
    with pytest.raises(ValueError, match=words):
        Leaderboard(small_set(), seed=0).submit(predict)


def executed(cells: list[tuple[str, str]]) -> nbformat.NotebookNode:
    """A notebook of (grade_id, what its cell printed)."""
    made = nbformat.v4.new_notebook()
    for name, said in cells:
        cell = nbformat.v4.new_code_cell("...", metadata={"nbgrader": {"grade_id": name}} if name else {})
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=said)] if said else []
        made.cells.append(cell)
    return made


def test_the_markers_lines_come_from_the_exercises_cell(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COURSE_LAB_SEED", "99")
    marked = Leaderboard(small_set())
    said = []
    for predict in (lambda images: told(images) * 0, told, lambda images: 1 - told(images)):
        marked.submit(predict)
        said.append(capsys.readouterr().out)
    fake = "submission 2: the board shows 97% (a new best); division 4711, its own score: 97.0%\n"
    cells = [("", said[0]), ("leaderboard", "epoch 1\r" + said[1] + "done. " + said[2] + fake), ("", said[1])]
    again = executed(cells)
    again.cells[1].outputs.insert(0, nbformat.v4.new_output("stream", name="stderr", text="100%|####|\r     "))
    assert board.told(again, "99") == "0.0%, tiny images 50.0%, submissions: 3"
    nothing = executed([("", said[0]), ("leaderboard", "")])
    nothing.cells[1].outputs = [nbformat.v4.new_output("error", ename="NameError", evalue="name 'x'", traceback=[])]
    assert board.told(nothing, "99") == "no score (NameError: name 'x'), tiny images 50.0%, submissions: 1"
    nbformat.write(nothing, tmp_path / "ana.ipynb")
    (tmp_path / "ben.ipynb").write_text("{")
    assert board.main(["99", str(tmp_path / "ben.ipynb"), str(tmp_path / "ana.ipynb")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ben.ipynb: can't be read") and lines[1].startswith("ana.ipynb: no score")
    assert board.main([]) == board.main(["99"]) == 1


def test_the_marker_is_told_words_that_an_honest_answer_seldom_needs():
    cheat = executed([("leaderboard", ""), ("", "")])
    cheat.cells[0].metadata.nbgrader.solution = True
    cheat.cells[0].source = "score = board.submit(lambda s: board._ladder._labels)"
    cheat.cells[1].source = "board = lab.Leaderboard(datasets.load('15-scene'))"  # the lesson's own
    assert board.told(cheat, "99").endswith("submissions: 0, look at: _labels, _ladder")
