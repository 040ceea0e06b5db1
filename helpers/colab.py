"""Installs on Colab what the course needs and Colab lacks. The set-up cell runs it; nothing else needs it.

Colab's own packages stay as they are: every installed version is handed to pip as a constraint, so that it can add
packages but change none. (PyTorch reinstalled in a running Colab breaks it.)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
FRONT_END = {"jupyterlab", "ipykernel", "ipywidgets"}  # Colab brings its own
CPU_ONLY = {"openvino"}  # faster codes on a CPU; a GPU needs no help


def installed() -> dict[str, str]:
    """Canonical name -> version of every package here."""
    return {canonicalize_name(d.metadata["Name"]): d.version for d in metadata.distributions() if d.metadata["Name"]}


def plan(requirements: str, here: Mapping[str, str], *, gpu: bool) -> tuple[list[str], list[str]]:
    """(what to install, what is here but not in a version that the course is known to work with).

    Args:
        requirements: the text of requirements.txt.
        here: canonical name -> version of what is installed.
        gpu: whether an NVIDIA GPU is there.
    """
    missing, unfit = [], []
    for line in requirements.splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name in FRONT_END or (gpu and name in CPU_ONLY):
            continue
        if name not in here:
            missing.append(text)
        elif not wanted.specifier.contains(here[name], prereleases=True):
            unfit.append(f"{name} {here[name]} (the course asks for {wanted.specifier})")
    return missing, unfit


def constraints(here: Mapping[str, str]) -> str:
    """Lines that hold every installed package where it is; versions that pip can't read are left out."""
    lines = []
    for name, version in sorted(here.items()):
        try:
            lines.append(f"{name}=={Version(version)}")
        except InvalidVersion:
            continue
    return "\n".join(lines) + "\n"


def main() -> int:
    here = installed()
    gpu = shutil.which("nvidia-smi") is not None
    missing, unfit = plan((ROOT / "requirements.txt").read_text(encoding="utf-8"), here, gpu=gpu)
    for package in unfit:
        print(f"Left as it is: {package}. If a lesson fails, this may be why.")
    if not missing:
        return 0
    print("Installing", ", ".join(missing), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text(constraints(here), encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, "-c", str(held), *missing]).returncode == 0:
            return 0
        # one package that doesn't agree with what is here shouldn't cost the others
        failed = [one for one in missing if subprocess.run([*pip, "--no-deps", one]).returncode]
    if failed:
        print(f"Not installed: {', '.join(failed)}. Lessons that need them will say so.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
