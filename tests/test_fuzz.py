"""Random networks, folders and lessons: what must hold for each of them. The same examples in every run."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from made import LESSON
from test_datasets import encoded, picture
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers import arithmetic, datasets, machine
from tools import build_notebooks, lesson

FEW = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


# ---------------------------------------------------------------- arithmetic

windows = {"stride": st.integers(1, 3), "padding": st.integers(0, 1), "kernel_size": st.integers(2, 3)}


@st.composite
def networks(draw) -> nn.Sequential:
    """Up to four layers: convolutions (grouped, dilated, transposed), pooling, BatchNorm, and a linear layer."""
    channels, layers = 4, []
    for kind in draw(st.lists(st.sampled_from(["conv", "transposed", "max", "mean", "norm", "relu"]), max_size=4)):
        options = {name: draw(values) for name, values in windows.items()}
        if kind in ("conv", "transposed"):
            wide = draw(st.sampled_from([4, 8]))
            options |= {"groups": draw(st.sampled_from([1, 2, 4])), "bias": draw(st.booleans())}
            if kind == "conv":
                options["dilation"] = draw(st.integers(1, 2))
            layers.append((nn.Conv2d if kind == "conv" else nn.ConvTranspose2d)(channels, wide, **options))
            channels = wide
        elif kind in ("max", "mean"):
            layers.append((nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(**options))
        else:
            layers.append(nn.BatchNorm2d(channels) if kind == "norm" else nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


@settings(FEW, max_examples=60)
@given(network=networks(), images=st.integers(1, 3), side=st.integers(3, 20))
def test_the_table_of_any_network_is_what_it_does(network, images, side):
    network.eval()
    shapes, shape = {}, (images, 4, side, side)
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda layer, args, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(shape))
    except RuntimeError:  # an image too small for a window: the table must not make a result up
        with pytest.raises((RuntimeError, ValueError)):
            arithmetic.layer_table(network, shape)
        return
    assume(all(0 not in shape for shape in shapes.values()))  # torch lets some windows make nothing of something
    table = arithmetic.layer_table(network, shape)
    assert {row.name: row.output for row in table.rows} == shapes
    assert 2 * table.multiply_adds == counter.get_total_flops()
    assert table.parameters == sum(value.numel() for value in network.parameters())


@settings(FEW, max_examples=40)
@given(
    windows=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=4
    )
)
def test_the_field_of_any_stack_is_what_its_gradient_reaches(windows):
    field = arithmetic.receptive_field(windows)
    layers = [nn.Conv1d(1, 1, k, s, p, d, bias=False).double() for k, s, p, d in windows]
    for layer in layers:
        nn.init.ones_(layer.weight)
    x = torch.ones(1, 1, 400, dtype=torch.float64, requires_grad=True)
    out = nn.Sequential(*layers)(x)
    unit = out.shape[-1] // 2
    out[0, 0, unit].backward()
    seen = x.grad[0, 0].nonzero().flatten()
    first, end = field.span(unit)
    assert (int(seen.min()), int(seen.max()) + 1) == (max(first, 0), min(end, 400))


# ---------------------------------------------------------------- folders

words = st.text(st.sampled_from("ab é犬.-_ '\"0%"), min_size=1, max_size=4).filter(
    lambda name: name.strip(". ") == name and name  # what Windows can store, too
)
kinds = st.sampled_from(["picture", "gray", "copy", "broken", "text"])
PICTURES = {"picture": encoded(picture(1)), "gray": encoded(picture(2, gray=True)), "copy": encoded(picture(3))}


@settings(FEW, max_examples=60)
@given(
    tree=st.dictionaries(
        st.tuples(st.sampled_from(["", "train/", "val/", "test/", "outer/"]), words, st.integers(0, 2)),
        kinds,
        max_size=10,
    )
)
def test_any_folder_is_read_right_or_refused_in_one_line(tree):
    """Each file that is counted in carries the label of its folder; what isn't counted in is named."""
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        root, cache = Path(place, "pets"), Path(place, "cache")
        cache.mkdir()
        patch.setattr(machine, "cache_dir", lambda: cache)
        made = {}
        for number, ((part, name, copy), kind) in enumerate(tree.items()):
            path = root / part / name / (f"{copy}.txt" if kind == "text" else f"{copy}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            unique = encoded(picture(100 + number)) if kind == "picture" else PICTURES.get(kind, b"broken")
            path.write_bytes(unique)
            made[path.relative_to(root).as_posix()] = kind
        root.mkdir(exist_ok=True)
        try:
            found = datasets.load(root, size=4)
        except ValueError as error:
            assert "\n" not in str(error)
            return
        readable = {name for name, kind in made.items() if kind not in ("broken", "text")}
        assert set(found.files) <= readable and len(set(found.files)) == len(found) == len(found.images)
        assert len(found.classes) > 1 and found.labels.unique().tolist() == list(range(len(found.classes)))
        for file, label in zip(found.files, found.labels.tolist(), strict=True):
            folder = {unicodedata.normalize("NFC", part).strip().casefold() for part in file.split("/")[:-1]}
            assert found.classes[label] in folder
        images = [name for name, kind in made.items() if kind != "text"]
        if len(found) < len(images):
            lost = sum(int(number) for note in found.notes for number in re.findall(r"^(\d+) (?:of|images)", note))
            assert lost == len(images) - len(found), found.notes
        again = datasets.load(root, size=4)
        assert again.fingerprint == found.fingerprint and again.notes == found.notes


# ---------------------------------------------------------------- lessons

HEAD = LESSON.split("# %%")[0]
lines = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20), max_size=4
)
secrets = st.lists(st.integers(10**6, 10**9).map(lambda n: f"answer = {n}"), min_size=1, max_size=3)
cells = st.lists(
    st.one_of(
        st.tuples(st.just("text"), lines),
        st.tuples(st.just("code"), st.lists(st.sampled_from(["a = 1", "", "def f():", "    return 'é'", "!ls"]))),
        st.tuples(st.just("exercise"), secrets),
    ),
    min_size=1,
    max_size=5,
)


def written(number: int, kind: str, content: list[str]) -> str:
    if kind == "text":
        return "# %% [markdown]\n" + "\n".join(f"# {line}" for line in content)
    if kind == "code":
        return "# %%\n" + "\n".join(f"# {line}" if line.startswith("!") else line for line in content)
    tags = (
        f'"grade": false, "grade_id": "cell_{number}", "locked": false, "schema_version": 3, "solution": true, '
        '"task": false'
    )
    solution = "\n".join(["### BEGIN SOLUTION", *content, "### END SOLUTION"])
    return f"# %% nbgrader={{{tags}}}\n{solution}"


@settings(FEW, max_examples=40)
@given(given_cells=cells)
def test_the_build_of_any_lesson_hides_solutions_and_keeps_the_rest(given_cells):
    with TemporaryDirectory() as place:
        folder = Path(place, "lessons")
        folder.mkdir()
        source = folder / "01_try.py"
        text = "\n\n".join(written(number, kind, content) for number, (kind, content) in enumerate(given_cells))
        source.write_text(HEAD + text + "\n", encoding="utf-8")
        build_notebooks.build(folder, Path(place, "notebooks"))
        build_notebooks.build(folder, Path(place, "solved"), solved=True)
        student, solved = (nbformat.read(Path(place, name, "01_try.ipynb"), 4) for name in ("notebooks", "solved"))
        for notebook in (student, solved):
            nbformat.validate(notebook)
            assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
        secret = [line for kind, content in given_cells if kind == "exercise" for line in content]
        assert not any(line in cell.source for line in secret for cell in student.cells)
        assert all(any(line in cell.source for cell in solved.cells) for line in secret)
        plain = jupytext.read(source, fmt="py:percent").cells
        kept = [cell.source for cell in plain if "nbgrader" not in cell.metadata]
        assert [cell.source for cell in student.cells if "nbgrader" not in cell.metadata] == kept
        assert build_notebooks.build(folder, Path(place, "notebooks")) == []  # the same bytes again
        assert lesson.dump(lesson.student(source)) == Path(place, "notebooks", "01_try.ipynb").read_bytes()
