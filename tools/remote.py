"""Writes the course's address from the git remote into pyproject.toml: ``python -m tools.remote`` (``make remote``).

Only GitHub: Colab opens notebooks from there. Anything else, or no remote, leaves the address empty: no badges.
"""

from __future__ import annotations

import re
import subprocess

from tools import lesson


def https_form(remote: str) -> str:
    """``https://github.com/owner/name`` from any form of a GitHub remote; empty for other places.

    Credentials in the remote are dropped.
    """
    found = re.fullmatch(
        r"(?:(?:https?|ssh|git)://(?:[^@/]+@)?github\.com/|[\w-]+@github\.com:)([\w.-]+)/([\w.-]+?)(?:\.git)?/?",
        remote.strip(),
    )
    return f"https://github.com/{found[1]}/{found[2]}" if found else ""


def with_address(pyproject: str, address: str) -> str:
    """The text of pyproject.toml with ``repository`` of ``[tool.course]`` set."""
    return re.sub(r'^repository = "[^"]*"', f'repository = "{address}"', pyproject, count=1, flags=re.MULTILINE)


def main() -> None:
    command = ["git", "-C", str(lesson.ROOT), "remote", "get-url", "origin"]
    remote = subprocess.run(command, capture_output=True, text=True).stdout
    address = https_form(remote)
    path = lesson.ROOT / "pyproject.toml"
    path.write_text(with_address(path.read_text(encoding="utf-8"), address), encoding="utf-8")
    print(f"The course's address: {address or 'none (no GitHub remote called origin): no Colab badges'}")


if __name__ == "__main__":
    main()
