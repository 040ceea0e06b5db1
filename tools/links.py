"""Asks every web address in the course's texts whether it still answers: ``python -m tools.links``, once a week.

With ``--checksums`` it also downloads what the lessons download (but for the 800 MB of photographs of pets), and
compares the hashes. It ends with 1 when something is gone.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from helpers import download, sources
from tools import lesson

ADDRESS = re.compile(r"https?://[^\s\"'`<>\\{}|)\]]+")
TEXTS = ("*.md", "docs/*.md", "data/*.md", "lessons/*.py", "helpers/*.py")
BLOCKED = (401, 403, 405, 429)  # the host is there, but it doesn't talk to programs


def addresses(root: Path = lesson.ROOT) -> dict[str, list[str]]:
    """Address -> the files that it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted({path for pattern in TEXTS for path in root.glob(pattern)}):
        for match in ADDRESS.findall(path.read_text(encoding="utf-8")):
            url = match.rstrip(".,;:*").split("#")[0]
            files = found.setdefault(url, [])
            if path.relative_to(root).as_posix() not in files:
                files.append(path.relative_to(root).as_posix())
    return found


def problem(url: str, timeout: float = 20, tries: int = 3) -> str | None:
    """Why an address doesn't answer; None when it does."""
    said = None
    for _ in range(tries):
        try:
            request = urllib.request.Request(url, headers={"User-Agent": download.AGENT})
            urllib.request.urlopen(request, timeout=timeout).close()
            return None
        except urllib.error.HTTPError as error:
            if error.code in BLOCKED:
                return None
            said = f"{error.code}"
            if error.code not in download.BUSY:
                break
        except (OSError, ValueError) as error:
            said = str(getattr(error, "reason", error)) or type(error).__name__
    return said


def changed(files: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each (address, MD5) that can't be downloaded, or has another MD5 by now."""
    lines = []
    for url, md5 in files:
        with tempfile.TemporaryDirectory() as folder:
            try:
                download.download(url, Path(folder, "file"), md5=md5)
            except download.DownloadError as error:
                lines.append(str(error))
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.links", description="Dead links and changed files.")
    parser.add_argument("--checksums", action="store_true", help="download the image sets, too")
    options = parser.parse_args(arguments)
    found = addresses()
    lines = [f"{url} ({why}): {', '.join(found[url])}" for url in found if (why := problem(url))]
    if options.checksums:
        annotations = (f"{sources.PETS_URL}annotations.tar.gz", sources.PETS_MD5["annotations"])
        lines += changed([(sources.SCENES_URL, sources.SCENES_MD5), annotations])
    for line in lines:
        print(line)
    print(f"{len(found)} addresses asked, {len(lines)} problems")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
