"""Writes requirements.lock from the packages of this environment: ``python -m tools.lock``.

Plain ``name==version`` lines. Used as constraints (``pip install -c``), so that a line for a package that another
platform doesn't need, NVIDIA's for one, installs nothing there.
"""

from __future__ import annotations

import re
from importlib import metadata

from packaging.utils import canonicalize_name
from packaging.version import Version

from tools import lesson

_NOT_OURS = {"pip", "setuptools", "uv", "wheel"}


def lines() -> list[str]:
    """One line a package: the public version, without a local part such as ``+cpu``."""
    installed = {canonicalize_name(d.metadata["Name"]): Version(d.version).public for d in metadata.distributions()}
    return [f"{name}=={version}" for name, version in sorted(installed.items()) if name not in _NOT_OURS]


def problems(text: str) -> list[str]:
    """Lines of a lock file that aren't ``name==version``."""
    return [line for line in text.splitlines() if not re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*", line)]


if __name__ == "__main__":
    (lesson.ROOT / "requirements.lock").write_text("\n".join(lines()) + "\n", encoding="utf-8")
