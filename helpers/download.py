"""One file from the network onto the disk: whole and verified, or not at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import secrets
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout
from tqdm import tqdm

AGENT = "transfer-learning-course/0.1"  # some hosts turn urllib's own name away
BUSY = (408, 429, 500, 502, 503, 504)  # answers after which it is worth to ask again
TRIES = 4


class DownloadError(RuntimeError):
    """The file can't be had. The message is one line: what, why, what to do."""


def download(
    url: str,
    path: str | Path,
    *,
    md5: str | None = None,
    timeout: float = 10,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch ``url`` to ``path`` and return ``path``. A file already there with the right checksum is kept.

    Bytes go to ``path + ".part"``, where the next call resumes; only a whole and verified file gets its name.
    timeout: seconds without a byte. A host that is busy (5xx), stalls or breaks off is asked again after 1, 2 and 4
    seconds; one that never answered is given up at once, so that work offline does not hang.
    Raises DownloadError. Two processes that want one file: the second waits for the first.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url} is no http or https address.")
    part = path.with_name(path.name + ".part")
    try:
        if matches(path, md5):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):  # where that fails, so would all that follows
            pass
        with _alone(path):
            if matches(path, md5):  # another process has just brought it
                return path
            resumed = part.exists()
            if not (resumed and md5 and matches(part, md5)):
                _fetch(url, part, timeout, wait)
                if resumed and not matches(part, md5):  # the old beginning was of another file
                    part.unlink()
                    _fetch(url, part, timeout, wait)
            if not matches(part, md5):
                problem = _what_instead(part)
                part.unlink()
                raise DownloadError(f"{url}: {problem}")
            os.replace(part, path)
    except OSError as error:
        raise DownloadError(_disk_problem(error, path)) from error
    return path


def matches(path: Path, md5: str | None) -> bool:
    """Whether this is a file with this checksum; any file will do when none is given."""
    if md5 is None or not path.is_file():
        return path.is_file()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5


def extract(archive: str | Path, folder: str | Path, *, member: str = ".") -> Path:
    """Unpack a tar archive, and let ``folder`` be its folder ``member``; it appears only when all of it is there.

    Files that climb out of the folder, links that leave it, and devices are refused (PEP 706's "data" filter).
    Raises DownloadError for an archive that can't be unpacked.
    """
    archive, folder = Path(archive), Path(folder)
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError("Python 3.11.4 or later is needed to unpack archives safely: update Python.")
    unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.part")
    try:
        unfinished.mkdir(parents=True)
        with tarfile.open(archive) as members:
            members.extractall(unfinished, filter="data")
        if not folder.exists():
            os.replace(unfinished / member, folder)
    except (tarfile.TarError, zlib.error, EOFError, FileNotFoundError) as error:
        raise DownloadError(f"{archive} can't be unpacked ({error}): delete it and try again.") from error
    except OSError as error:
        raise DownloadError(_disk_problem(error, folder)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _alone(path: Path) -> AcquireReturnProxy:
    """``with``: one process at a time for ``path``; the system frees the lock when a process is killed."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=1)
    except Timeout:
        print(f"Another process is fetching {path.name}: waiting for it.")
        return lock.acquire()


def _fetch(url: str, part: Path, timeout: float, wait: Callable[[float], None]) -> None:
    """Bring ``part`` to its full length, asking at most ``TRIES`` times. Raises DownloadError."""
    reason = ""
    for attempt in range(TRIES):
        if attempt:
            wait(2.0 ** (attempt - 1))
        have = part.stat().st_size if part.exists() else 0
        headers = {"User-Agent": AGENT} | ({"Range": f"bytes={have}-"} if have else {})
        answered = attempt > 0
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
                answered = True
                _save(answer, part, have)
            return
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {str(error.reason).splitlines()[0]}"
            if error.code == 416:  # nothing after what we have: it is not the beginning of this file
                part.unlink()
            elif error.code not in BUSY:
                break
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            if not answered:
                break
    raise DownloadError(f"{url} can't be fetched ({reason}).")


def _save(answer: http.client.HTTPResponse, part: Path, have: int) -> None:
    """Append the answer to ``part``, or begin again where the host ignores that we want the rest only."""
    if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        have = 0
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length and length.isdigit() else None
    with tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False, delay=1) as bar:
        mode = "ab" if have else "wb"
        while block := answer.read(1 << 18):
            try:
                with open(part, mode) as file:  # opened for each block, so that a trouble of the disk is told apart
                    file.write(block)
            except OSError as error:
                raise DownloadError(_disk_problem(error, part)) from error
            mode = "ab"
            have += len(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)


def _what_instead(part: Path) -> str:
    """Why a whole answer has the wrong checksum, and what to do."""
    with open(part, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "a web page came instead of the file. Log in to this network in a browser, then try again."
    return "the checksum is wrong, so the file was damaged on its way or has changed. Try again."


def _disk_problem(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left in {path.parent}: free some, or set DATA_DIR to a larger folder."
    if error.errno == errno.EFBIG:  # FAT, and limits that an administrator sets
        return f"{path.parent} takes no file of this size: set DATA_DIR to another folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):  # ENOENT: the system's own folders
        return f"{path.parent} can't be written: set DATA_DIR to a folder of yours."
    return f"{path} can't be written ({error.strerror or error})."
