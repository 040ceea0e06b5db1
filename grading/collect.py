"""Finds the submissions in what a learning platform hands over: a zip or a folder, with names in the file names."""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from grading import tasks

# One file or folder name a line; the first that fits names the student. `make grade PATTERN=...` tries another before.
PATTERNS = {
    "Moodle": r"(?P<name>[^/]+?)_(?P<number>\d+)_assignsubmission_file_?",
    "Canvas": r"(?P<student>[^/_]+)_(?:LATE_)?(?P<number>\d+)_\d+_",
    "folder": r"(?P<name>[^/]+)/[^/]+$",
    "file": r"(?P<name>[^/]+?)[ _-]*(?:\d\d_\w+|lesson[ _-]*\d+|tp\d*|lab\d*)?(?: ?\(\d+\))?\.ipynb$",
}
LARGEST_ZIP, MOST_FILES = 2 * 2**30, 20_000


@dataclass
class Submission:
    """One student's file."""

    student: str  # an identifier made of plain letters: the gradebook's
    name: str  # as the platform writes it
    number: str  # the platform's own, "" when it gives none
    file: str  # where it was found
    data: bytes = field(repr=False)
    when: datetime | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:16]


def collect(
    path: Path, pattern: str = "", lessons: dict[str, set[str]] | None = None
) -> tuple[list[Submission], list[tuple[str, str]]]:
    """The last version of each student's notebook, and (file, reason) for each file that wasn't taken.

    Args:
        path: a zip file or a folder.
        pattern: a regular expression with a group ``student`` or ``name``, for other naming schemes.
        lessons: name -> grade_ids; the first is the lesson to grade. ``None``: take every notebook.

    Raises:
        ValueError: the path isn't there or is no zip; or the pattern is none.
    """
    try:
        patterns = [re.compile(p) for p in ([pattern] if pattern else []) + list(PATTERNS.values())]
    except re.error as error:
        raise ValueError(f"PATTERN is no regular expression: {error}") from None
    if pattern and not {"student", "name"} & set(patterns[0].groupindex):
        raise ValueError("PATTERN needs a group (?P<student>...), as in '(?P<student>[a-z]+)-.*'")
    files, left = (_unzip(path) if path.is_file() else _walk(path)) if path.exists() else (None, None)
    if files is None:
        raise ValueError(f"There is no {path}. SUBMISSIONS is the zip or the folder from your platform.")
    found: dict[str, list[Submission]] = {}
    for name, (data, when) in sorted(files.items()):
        if (submission := _matched(name, data, when, patterns)) is None:
            left.append((name, "no student's name could be read from it: give PATTERN"))
            continue
        found.setdefault(submission.number or submission.student, []).append(submission)
    chosen = [_last(versions, lessons, left) for versions in found.values()]
    _distinct([one for one in chosen if one])
    return sorted((one for one in chosen if one), key=lambda one: one.student), left


def _walk(folder: Path) -> tuple[dict, list]:
    files, left = {}, []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or any(parent.is_symlink() for parent in path.parents if folder in parent.parents):
            left.append((name, "it is a link, and links aren't followed"))
        elif path.is_file() and not _noise(name):
            if path.suffix.lower() == ".zip":
                inner, more = _unzip(path)
                files |= {f"{name}/{key}": value for key, value in inner.items()}
                left += [(f"{name}/{key}", why) for key, why in more]
            elif path.suffix.lower() != ".ipynb":
                left.append((name, "not a notebook"))
            elif path.stat().st_size > tasks.LARGEST:
                left.append((name, "the file is too large"))
            else:
                files[name] = (path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime))
    return files, left


def _unzip(path: Path) -> tuple[dict, list]:
    """Read a zip without writing anything: a name that climbs out of its folder leads nowhere."""
    files, left, total = {}, [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:MOST_FILES]:
                name = info.filename
                if info.is_dir() or _noise(name):
                    continue
                total += info.file_size
                if ".." in Path(name).parts or name.startswith(("/", "\\")) or re.match(r"^[A-Za-z]:", name):
                    left.append((name, "its path climbs out of the zip"))
                elif stat.S_ISLNK(info.external_attr >> 16):
                    left.append((name, "it is a link, and links aren't followed"))
                elif not name.lower().endswith(".ipynb"):
                    left.append((name, "not a notebook"))
                elif info.file_size > tasks.LARGEST or total > LARGEST_ZIP:
                    left.append((name, "the file is too large"))
                else:
                    try:
                        with archive.open(info) as file:
                            files[name] = (file.read(tasks.LARGEST + 1), datetime(*info.date_time))
                    except Exception as error:
                        left.append((name, f"it can't be unpacked ({type(error).__name__})"))
    except zipfile.BadZipFile:
        if path.suffix.lower() == ".zip":
            left.append((path.name, "it is no zip, or damaged"))
        else:
            raise ValueError(f"{path} is neither a folder nor a zip.") from None
    return files, left


def _noise(name: str) -> bool:
    parts = Path(name).parts
    return (
        "__MACOSX" in parts
        or ".ipynb_checkpoints" in parts
        or any(p.startswith("._") or p in (".DS_Store", "Thumbs.db") for p in parts)
    )


def _matched(name: str, data: bytes, when: datetime, patterns: list[re.Pattern]) -> Submission | None:
    for pattern in patterns:
        if match := pattern.search(unicodedata.normalize("NFC", name)):
            groups = match.groupdict()
            shown = (groups.get("name") or groups.get("student") or "").split("/")[-1].strip(" _-")
            number = groups.get("number") or ""
            student = identifier(groups.get("student") or shown, number)
            if student:
                return Submission(student, shown, number, name, data, when)
    return None


def identifier(name: str, number: str = "") -> str:
    """A name as the gradebook and file names can hold it: no accents, spaces or path; by number in other scripts."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    made = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-").lower()[:60]
    known = number or hashlib.sha256(name.encode()).hexdigest()[:8]
    return made or (f"student_{known}" if name.strip(" ._-") else "")


def _last(versions: list[Submission], lessons: dict[str, set[str]] | None, left: list) -> Submission | None:
    """Of a student's files the right lesson's, and of these the last version."""
    fits = [one for one in versions if _lesson_of(one, lessons) != "another"]
    for one in versions:
        if one not in fits:
            left.append((one.file, f"it is the notebook of another lesson ({one.name})"))
    if not fits:
        return None
    sure = [one for one in fits if _lesson_of(one, lessons) == "this"] or fits
    best = max(sure, key=lambda one: (one.when, _copy_number(one.file), one.file))
    for one in fits:
        if one is not best:
            left.append((one.file, f"an older version, or a copy: {best.file} was graded"))
            best.remarks.append("several files: the last one was graded")
    best.remarks = list(dict.fromkeys(best.remarks))
    if "_LATE_" in best.file:
        best.remarks.append("late")
    return best


def _copy_number(file: str) -> int:
    match = re.search(r"(?: ?\((\d+)\)|-(\d+))\.ipynb$", file)
    return int(match[1] or match[2]) if match else 0


def _lesson_of(submission: Submission, lessons: dict[str, set[str]] | None) -> str:
    """ "this", "another", or "" when it can't be told."""
    if not lessons:
        return "this"
    try:
        ids = tasks.grade_ids(tasks.read(submission.data))
    except tasks.Unreadable:
        return ""
    shares = {name: len(ids & known) / max(1, len(known)) for name, known in lessons.items()}
    best, first = max(shares, key=shares.get), next(iter(lessons))
    return "" if not shares[best] else "this" if shares[first] >= shares[best] else "another"


def _distinct(submissions: list[Submission]) -> None:
    """Two students of one name keep apart by the platform's number."""
    seen: dict[str, list[Submission]] = {}
    for one in submissions:
        seen.setdefault(one.student, []).append(one)
    for same in seen.values():
        for i, one in enumerate(same if len(same) > 1 else []):
            one.student = f"{one.student}_{one.number or i + 1}"
