"""What is installed where: the requirements, the lock, conda's file, Colab, and the Makefile's own checks."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from helpers import colab
from tools import lesson, lock, remote

ROOT = lesson.ROOT


def _requirements(name: str) -> dict[str, SpecifierSet]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {canonicalize_name(one.name): one.specifier for one in wanted}


NEEDED = _requirements("requirements.txt")
ALL = NEEDED | _requirements("requirements-dev.txt")
LOCKED = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines())


@pytest.mark.parametrize("name", ALL)
def test_lower_bound_and_no_pin(name):
    operators = {one.operator for one in ALL[name]}
    assert ">=" in operators
    assert not operators & {"==", "===", "~=", "<="}


def test_upper_bounds_only_where_a_break_is_known():
    assert {name for name, bounds in ALL.items() if any(one.operator == "<" for one in bounds)} == {"ipywidgets"}


def test_a_torch_that_is_there_is_left_alone():
    fits = [
        version for version in ("2.4.0", "2.6.0+cu124", "2.11.0", "2.13.0", "2.15.0", "3.0") if version in ALL["torch"]
    ]
    assert fits == ["2.4.0", "2.6.0+cu124", "2.11.0", "2.15.0", "3.0"]


def test_pip_has_nothing_to_do_where_all_is_there():
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", "requirements-dev.txt"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "Would install" not in out.stdout


def test_lock_is_plain_and_covers_the_requirements():
    assert lock.problems((ROOT / "requirements.lock").read_text()) == []
    assert [name for name, bounds in ALL.items() if LOCKED.get(name, "missing") not in bounds] == []


def test_lock_problems_are_noticed():
    lines = ["a==1", "b>=2", "c @ file:///x", "--index-url x", "d==1+cpu", "", "E==1"]
    assert lock.problems("\n".join(lines)) == lines[1:]


def test_conda_installs_the_same():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert conda["dependencies"] == [f"python{project['requires-python']}", "pip", {"pip": ["-r requirements-dev.txt"]}]
    assert "-r requirements.txt" in (ROOT / "requirements-dev.txt").read_text()


def _imports(folder: str) -> set[str]:
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    ours = {"helpers", "tools", "tests", "grading"} | {path.stem for path in (ROOT / "tests").glob("*.py")}
    return found - set(sys.stdlib_module_names) - ours - {"dask"}  # for a large class only; its absence is told


@pytest.mark.parametrize(
    ("folder", "declared"), [("helpers", NEEDED), ("lessons", NEEDED), ("tools", ALL), ("tests", ALL), ("grading", ALL)]
)
def test_every_import_is_declared_or_brought_by_what_is(folder, declared):
    owners = metadata.packages_distributions()
    brought = {Requirement(line).name for name in declared for line in metadata.requires(name) or ()}
    known = set(declared) | {canonicalize_name(name) for name in brought}
    unknown = {
        name
        for name in _imports(folder)
        if not {canonicalize_name(owner) for owner in owners.get(name, [name])} & known
    }
    assert unknown == set()


# Colab

HERE = {name: "9999" for name in NEEDED} | {"torch": "2.11.0+cu126", "ipywidgets": "7.7.1"}
TEXT = (ROOT / "requirements.txt").read_text()


def _without(*names: str) -> dict[str, str]:
    return {name: version for name, version in HERE.items() if name not in names}


def test_colab_lacks_nothing():
    assert colab.plan(TEXT, HERE, gpu=False) == ([], [])


def test_colab_gets_only_what_is_missing():
    missing, unfit = colab.plan(TEXT, _without("elpv-dataset", "kornia", "openvino"), gpu=False)
    assert sorted(Requirement(line).name for line in missing) == ["elpv-dataset", "kornia", "openvino"]
    assert unfit == []


def test_colab_with_a_gpu_needs_no_openvino_and_brings_its_front_end():
    assert colab.plan(TEXT, _without("openvino", "jupyterlab", "ipykernel", "ipywidgets"), gpu=True) == ([], [])


def test_colab_leaves_an_unfit_torch():
    missing, unfit = colab.plan(TEXT, HERE | {"torch": "2.13.0"}, gpu=True)
    assert missing == [] and unfit[0].startswith("torch 2.13.0")


def test_colab_holds_every_installed_version():
    text = colab.constraints({"torch": "2.11.0+cu126", "odd": "not a version"})
    assert text == "torch==2.11.0+cu126\n"


def test_colab_installs_one_by_one_when_pip_finds_no_agreement(monkeypatch, capsys):
    calls = []

    def run(command: list[str]) -> subprocess.CompletedProcess:
        calls.append(command)
        return subprocess.CompletedProcess(command, 1 if "-c" in command or command[-1].startswith("timm") else 0)

    monkeypatch.setattr(colab, "installed", lambda: _without("timm", "kornia"))
    monkeypatch.setattr(subprocess, "run", run)
    assert colab.main() == 0
    assert [command[-1].split(">")[0] for command in calls[1:]] == ["timm", "kornia"]
    assert all("--no-deps" in command for command in calls[1:])
    assert "Not installed: timm" in capsys.readouterr().out


def test_colab_script_does_not_import_torch():
    code = "import sys; sys.path.insert(0, 'helpers'); import colab; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# The git remote

REMOTES = {
    "https://github.com/someone/course.git\n": "https://github.com/someone/course",
    "https://name:secret@github.com/someone/course": "https://github.com/someone/course",
    "git@github.com:some-one/the.course.git": "https://github.com/some-one/the.course",
    "ssh://git@github.com/someone/course.git": "https://github.com/someone/course",
    "https://gitlab.com/someone/course.git": "",
    "https://example.org/github.com/someone/course": "",
    "/srv/course.git": "",
    "": "",
}


@pytest.mark.parametrize("text", REMOTES)
def test_remote(text):
    assert remote.https_form(text) == REMOTES[text]


def test_remote_is_written_into_pyproject():
    text = (ROOT / "pyproject.toml").read_text()
    changed = tomllib.loads(remote.with_address(text, "https://github.com/someone/course"))
    assert changed["tool"]["course"]["repository"] == "https://github.com/someone/course"
    assert changed["project"] == tomllib.loads(text)["project"]


# The Makefile


@pytest.mark.skipif(shutil.which("make") is None, reason="make isn't installed")
def test_make_refuses_an_old_python(tmp_path: Path):
    old = tmp_path / "python"
    old.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 9); exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "course", f"PYTHON={old}", f"VENV={tmp_path / 'environment'}"]
    out = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.returncode != 0
    assert "This is Python 3.9: the course needs 3.11 or later" in out.stderr
    assert not (tmp_path / "environment").exists()


def test_ruff_finds_nothing():
    """``make lint``; with the locked version, as others may format otherwise."""
    here = metadata.version("ruff")
    if f"ruff=={here}" not in (ROOT / "requirements.lock").read_text().splitlines():
        pytest.skip(f"ruff {here} isn't the locked one")
    for command in (["check", "."], ["format", "--check", "."]):
        out = subprocess.run([sys.executable, "-m", "ruff", *command], cwd=ROOT, capture_output=True, text=True)
        assert out.returncode == 0, out.stdout + "`ruff check --fix .` and `ruff format .` mend most of it"


def test_targets_that_the_readme_names_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"`?make (\w+)", (ROOT / name).read_text())) - {"them"} <= targets


@pytest.mark.skipif(shutil.which("make") is None, reason="make isn't installed")
def test_a_cell_of_the_matrix_has_known_packages():
    out = subprocess.run(["make", "cell", "PACKAGES=oldest"], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode != 0 and "must be locked, newest, lowest or colab" in out.stdout


def test_the_weekly_matrix_uses_what_the_makefile_knows():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    matrix = jobs["weekly"]["strategy"]["matrix"]
    used = {*matrix["packages"], *(one["packages"] for one in matrix["include"])}
    assert used == set(re.findall(r"^CHOICE_(\w+) :=", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert any("tools.links --checksums" in step.get("run", "") for step in jobs["outside"]["steps"])


def test_colabs_versions_are_within_the_bounds():
    text = (ROOT / ".github" / "colab.txt").read_text()
    for one in (Requirement(line) for line in text.splitlines() if not line.startswith("#")):
        version = str(one.specifier).removeprefix("==").replace("*", "0")
        assert version in NEEDED.get(canonicalize_name(one.name), SpecifierSet()), one
