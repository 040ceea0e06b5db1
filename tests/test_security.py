"""What SECURITY.md says of the code: no pickle, no shell, no code from files that were fetched, pinned hashes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from helpers import sources
from tools import lesson

ROOT = lesson.ROOT
FILES = sorted(
    path for folder in ("helpers", "tools", "lessons", "benchmarks") for path in (ROOT / folder).glob("*.py")
)
RUNS_ANSWERS = "tools/answers.py"  # runs what the course's authors wrote: the answers that its checks are tried with


def problems(text: str, name: str = "helpers/x.py") -> Iterator[str]:
    """What breaks a rule, a line each."""
    for node in ast.walk(ast.parse(text)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            if module.split(".")[0] in ("pickle", "marshal", "shelve", "dill", "cloudpickle"):
                yield f"line {node.lineno}: import of {module}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called.endswith(("torch.load", "load_checkpoint", "load_state_dict_from_url")):
            if given.get("weights_only") != "True":
                yield f"line {node.lineno}: {called} without weights_only=True"
            if called.endswith("from_url") and given.get("check_hash") != "True":
                yield f"line {node.lineno}: {called} without check_hash=True"
        if given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False":
            yield f"line {node.lineno}: {called} with pickle or a shell"
        if called in ("os.system", "os.popen", "yaml.load", "joblib.load", "subprocess.getoutput"):
            yield f"line {node.lineno}: {called}"
        if called in ("eval", "exec") and name != RUNS_ANSWERS:
            yield f"line {node.lineno}: {called}"
        if called.endswith(".extractall") and given.get("filter") != "'data'":
            yield f"line {node.lineno}: {called} without filter='data'"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_code_keeps_to_it(path):
    text = path.read_text(encoding="utf-8")
    code = re.sub(r"(?m)^(\s*)[!%].*$", r"\1pass", text)
    assert list(problems(code, path.relative_to(ROOT).as_posix())) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "joblib.load(file)",
        "torch.load(file)",
        "torch.hub.load_state_dict_from_url(url, weights_only=True)",
        "np.load(file, allow_pickle=True)",
        "subprocess.run(name, shell=True)",
        "os.system(f'rm {name}')",
        "eval(text)",
        "archive.extractall(folder)",
    ],
)
def test_what_breaks_a_rule_is_noticed(text):
    assert len(list(problems(text))) == 1


def test_every_download_has_its_hash():
    text = (ROOT / "helpers" / "sources.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)_URL = ", text, re.MULTILINE)) == {"SCENES", "PETS"}
    for md5 in (sources.SCENES_MD5, *sources.PETS_MD5.values()):
        assert re.fullmatch("[0-9a-f]{32}", md5)
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    downloads = [node for node in calls if ast.unparse(node.func) == "download.download"]
    assert downloads and all("md5" in {keyword.arg for keyword in node.keywords} for node in downloads)


def test_the_page_names_this_test():
    assert "tests/test_security.py" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
