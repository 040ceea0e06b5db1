"""Finds the submissions in what a learning platform hands over: a zip or a folder, with names in the file names."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, count
from pathlib import Path, PurePosixPath

from grading import tasks

# One file or folder name a line; the first that fits names the student. `make grade PATTERN=...` tries another before,
# and "folder" and "file" not at all.
PATTERNS = {
    "Moodle": r"(?P<name>[^/]+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?",
    "Canvas": r"(?P<student>[^/_]+)_(?:LATE_)?(?P<number>\d+)_\d+_",
    "folder": r"(?P<name>[^/]+)/[^/]+$",
    "file": r"(?P<name>[^/]+?)[ _-]*(?:\d\d_\w+|lesson[ _-]*\d+|tp\d*|lab\d*)?(?: ?\(\d+\))?\.(?i:ipynb)$",
}
# A file that says both whose it is and which lesson: several such names in one folder, and it is no student's folder.
NAMED = re.compile(
    r"(?:^|/)(?P<name>(?!\d\d_)[^/]*?[^\W\d_][^/]*?)[ _-]+(?:\d\d_\w+|lesson[ _-]*\d+|tp\d*|lab\d*)(?: ?\(\d+\))?\.\w+$"
)
# A file that says of which lesson it is, and not whose.
LESSON = re.compile(r"(\d\d_\w+)(?: ?\(\d+\)|-\d+)?\.(?i:ipynb)")
INNER = re.compile(r"(?i)notebooks?|\d\d_\w+")  # a folder that is no student's
# A folder that is a group's: its only file's name counts, where that says whose it is.
GROUP = re.compile(r"(?i)(?:g|gr|group|groupe|gruppe|grupo|gruppo|team|td|tp|section|class)[ _-]*\d+")
LARGEST_ZIP, MOST_FILES, LONGEST_NAME = 2 * 2**30, 20_000, 500  # bytes and number of all notebooks; characters
LARGEST_INNER = 300 * 2**20  # bytes of a zip in a zip


@dataclass(frozen=True)
class Layout:
    """What the folders of a hand-in say of whose files they hold."""

    shared: frozenset[str] = frozenset()  # with files of several students: ``groupA/Ana Lima 09_lab.ipynb``
    inner: frozenset[str] = frozenset()  # in each student's folder the same: ``Ana Lima/notebooks/09_lab.ipynb``
    lessons: frozenset[str] = frozenset()  # nobody is called so

    def student(self, file: PurePosixPath) -> PurePosixPath:
        """The student's folder that a file lies in; ``.`` when it lies in none."""
        folder = file.parent
        while folder.name and str(folder) in self.inner:
            folder = folder.parent
        return folder


@dataclass
class Submission:
    """One student's file."""

    student: str  # an identifier made of plain letters: the gradebook's
    name: str  # as the platform writes it
    number: str  # the platform's own, "" when it gives none
    file: str  # where it was found
    data: bytes = field(repr=False)
    when: datetime | None = None
    key: str = ""  # files of one key are one student's
    why: str = ""  # no file of this student's could be taken: the reason
    remarks: list[str] = field(default_factory=list)


def collect(
    path: Path,
    pattern: str = "",
    lessons: dict[str, set[str]] | None = None,
    known: dict[str, tuple[str, ...]] | None = None,
) -> tuple[list[Submission], list[tuple[str, str]]]:
    """The last version of each student's notebook, and (file, reason) for each file that wasn't taken.

    A student of whom nothing could be taken is among the submissions, too, with the reason (``why``).

    Args:
        path: a zip file, a folder, or one notebook.
        pattern: a regular expression with a group ``student`` or ``name``, for other naming schemes.
        lessons: name -> grade_ids; the first is the lesson to grade. ``None``: take every notebook.
        known: identifier -> (name, number, file) of the students that were graded before.

    Raises:
        ValueError: the path isn't there or is no zip; or the pattern is none.
    """
    patterns = _patterns(pattern)
    if pattern:  # a home folder holds much that no PATTERN means
        patterns = [p for p in patterns if p.pattern not in (PATTERNS["folder"], PATTERNS["file"])]
    if path.is_dir():
        files, left = _walk(path, sorted(path.rglob("*")))
    elif path.is_file():
        files, left = _walk(path.parent, [path]) if path.suffix.lower() == ".ipynb" else _unzip(path, zips=True)
    else:
        raise ValueError(f"There is no {path}. SUBMISSIONS is the zip or the folder from your platform.")
    left = [(name or path.name, why) for name, why in left]  # "": the zip itself
    layout, found = _layout([*files, *(name for name, _ in left)], frozenset(lessons or ())), {}
    for name, (data, when) in sorted(files.items()):
        if (submission := _matched(name, data, when, patterns, layout)) is None:
            why = "no student's name could be read from it: rename it ('Ana Lima 09_lab.ipynb'), or give PATTERN"
            left.append((name, why))
            continue
        found.setdefault(submission.key, []).append(submission)
    chosen = {key: _last(versions, lessons, left) for key, versions in found.items()}
    named = [p for p in patterns if p.pattern != PATTERNS["file"]] + [NAMED] * (not pattern)
    for name, why in sorted(left, key=lambda one: one[0].count("/")):
        above = PurePosixPath(unicodedata.normalize("NFC", name)).parents
        inside = any(str(folder).casefold() in chosen for folder in above)  # a picture of Ana's
        one = None if inside else _matched(name, b"", None, named, layout)
        if one and one.key not in chosen:
            one.why = f"{why} ({Path(name).name})"
            chosen[one.key] = one
    names = Counter(one.name.casefold() for one in chosen.values() if not one.number)
    for one in chosen.values():
        if names[one.name.casefold()] > 1 and not one.number and not pattern:
            one.remarks.append(f"several students or folders of this name; this one: {one.file}")
    _identify(list(chosen.values()), known or {})
    return sorted(chosen.values(), key=lambda one: one.student), left


def who(file: str, pattern: str = "") -> tuple[str, str]:
    """The name and the number in a file name, "" where there is none."""
    one = _matched(file, b"", None, _patterns(pattern), Layout())
    return (one.name, one.number) if one else ("", "")


def _patterns(pattern: str) -> list[re.Pattern]:
    try:
        patterns = [re.compile(p) for p in ([pattern] if pattern else []) + list(PATTERNS.values())]
    except re.error as error:
        raise ValueError(f"PATTERN is no regular expression: {error}") from None
    if pattern and not {"student", "name"} & set(patterns[0].groupindex):
        raise ValueError("PATTERN needs a group (?P<student>...), as in '(?P<student>[a-z]+)-.*'")
    return patterns


def _walk(folder: Path, paths: list[Path]) -> tuple[dict, list]:
    files, left = {}, []
    for path in paths:
        name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")
        if path.is_symlink() or any(parent.is_symlink() for parent in path.parents if folder in parent.parents):
            left.append((name, "it is a link, and links aren't followed"))
        elif path.is_file() and not _noise(name):
            if path.suffix.lower() == ".zip":
                inner, more = _unzip(path)
                files |= {f"{name}/{key}": value for key, value in inner.items()}
                left += [(f"{name}/{key}" if key else name, why) for key, why in more]
            elif path.suffix.lower() != ".ipynb":
                left.append((name, "not a notebook"))
            elif path.stat().st_size > tasks.LARGEST:
                left.append((name, tasks.too_large(path.stat().st_size)))
            else:
                try:
                    files[name] = (path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime))
                except OSError as error:
                    left.append((name, f"it can't be read ({error.strerror})"))
    return files, left


def _unzip(path: Path, zips: bool = False) -> tuple[dict, list]:
    """Read a zip without writing anything: a name that climbs out of its folder leads nowhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _inside(archive, LARGEST_ZIP, MOST_FILES, zips)
    except Exception:  # zipfile has many ways to say that a file is none of its kind
        if path.suffix.lower() == ".zip":
            return {}, [("", "it is no zip, or damaged")]
        raise ValueError(f"{path} is neither a folder nor a zip nor a notebook.") from None


def _inside(archive: zipfile.ZipFile, room: int, most: int, zips: bool) -> tuple[dict, list]:
    """The notebooks in a zip, ``most`` of them and ``room`` bytes in all; with ``zips``, those in zips in it, too."""
    files, left, total, seen = {}, [], 0, set()
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")  # as some programs on Windows write them
        if info.is_dir() or _noise(name):
            continue
        zipped = name.lower().endswith(".zip")
        if len(name) > LONGEST_NAME:
            left.append((name[:80] + "...", "its name is too long"))
        elif ".." in Path(name).parts or name.startswith("/") or re.match(r"^[A-Za-z]:", name):
            left.append((name, "its path climbs out of the zip"))
        elif stat.S_ISLNK(info.external_attr >> 16):
            left.append((name, "it is a link, and links aren't followed"))
        elif not name.lower().endswith((".ipynb", ".zip") if zips else ".ipynb"):
            left.append((name, "not a notebook"))
        elif name in seen:
            left.append((name, "the zip has another file of this name"))
        elif zipped and info.file_size > LARGEST_INNER:
            left.append((name, f"a zip of over {LARGEST_INNER // 2**20} MB: have the notebook alone handed in"))
        elif not zipped and info.file_size > tasks.LARGEST:
            left.append((name, tasks.too_large(info.file_size)))
        elif total >= room or len(files) >= most:
            left.append((name, "the zip holds too much: give a part of it at a time"))
        else:
            seen.add(name)
            try:
                with archive.open(info) as file:
                    data = file.read((LARGEST_INNER if zipped else tasks.LARGEST) + 1)
            except Exception as error:
                left.append((name, f"it can't be unpacked ({type(error).__name__})"))
                continue
            inner, more = {"": (data, _date(info))}, []
            if zipped:
                inner, more = _opened(data, room - total, most - len(files))
            files |= {f"{name}/{key}".rstrip("/"): value for key, value in inner.items()}
            left += [(f"{name}/{key}".rstrip("/"), why) for key, why in more]
            total += sum(len(data) for data, _ in inner.values())
    return files, left


def _opened(data: bytes, room: int, most: int) -> tuple[dict, list]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _inside(archive, room, most, zips=False)
    except Exception:
        return {}, [("", "it is no zip, or damaged")]


def _date(info: zipfile.ZipInfo) -> datetime:
    year, month, day, *clock = info.date_time
    try:  # some programs write month 0
        return datetime(year, month or 1, day or 1, *clock)
    except ValueError:  # or second 60
        return datetime(1980, 1, 1)


def _noise(name: str) -> bool:
    parts = Path(name).parts
    return (
        "__MACOSX" in parts
        or ".ipynb_checkpoints" in parts
        or any(p.startswith("._") or p in (".DS_Store", "Thumbs.db") for p in parts)
    )


def _layout(names: list[str], lessons: frozenset[str]) -> Layout:
    names = [unicodedata.normalize("NFC", name) for name in names if re.search(r"(?i)\.(ipynb|zip)(/|$)", name)]
    files: dict[str, list[str]] = {}  # folder -> the names of the files in it
    below: dict[str, set[str]] = {}  # folder -> the folders in it
    for name in names:
        files.setdefault(str(PurePosixPath(name).parent), []).append(name)
        for folder in PurePosixPath(name).parents:
            if folder.name:
                below.setdefault(str(folder.parent), set()).add(str(folder))
    shared = {folder for folder, inside in files.items() if _of_several(inside, alone=len(files) == 1)}
    places: dict[str, set[str]] = {}  # the name of a folder -> where there is nothing but one of this name
    inner = {folder for folder in files if INNER.fullmatch(PurePosixPath(folder).name)}
    for folder, folders in below.items():
        if folder not in files and len(folders) == 1:
            (only,) = folders
            places.setdefault(PurePosixPath(only).name.casefold(), set()).add(only)
            inner |= {only} if only.lower().endswith(".zip") and folder != "." else set()
    inner |= {only for found in places.values() if len(found) > 1 for only in found}
    return Layout(frozenset(shared), frozenset(inner), lessons)


def _of_several(files: list[str], alone: bool) -> bool:
    """Are the files of one folder several students'? Their names say it, or there is no other folder (``alone``)."""
    if any(LESSON.fullmatch(PurePosixPath(file).name) for file in files):
        return False  # 09_lab.ipynb, and perhaps my 09_lab.ipynb beside it
    matches = [NAMED.search(file) for file in files]
    said = {match["name"].casefold() for match in matches if match}
    if said and GROUP.fullmatch(PurePosixPath(files[0]).parent.name):
        return True
    return len(said) > 1 or (alone and len(files) > 1 and "/" in files[0])


def _matched(
    name: str, data: bytes, when: datetime | None, patterns: list[re.Pattern], layout: Layout
) -> Submission | None:
    path = PurePosixPath(unicodedata.normalize("NFC", name))  # macOS writes an accent as a character of its own
    folder = layout.student(path)
    for pattern in patterns:
        text, by_folder = str(path), pattern.pattern == PATTERNS["folder"]
        by_file = pattern.pattern in (PATTERNS["file"], NAMED.pattern)
        if by_folder:
            if str(path.parent) in layout.shared:
                continue
            zipped = NAMED.search(folder.name) if folder.suffix.lower() == ".zip" else None  # Ana Lima 09_lab.zip
            owner = zipped["name"] if zipped else re.sub(r"(?i)\.zip$", "", folder.name)
            text = f"{owner}/{path.name}" if owner else ""
        if by_file and (match := LESSON.fullmatch(path.name)) and match[1] in layout.lessons:
            continue
        if match := pattern.search(text):
            groups = match.groupdict()
            shown = (groups.get("name") or groups.get("student") or "").split("/")[-1].strip(" _-")
            number = groups.get("number") or ""
            student = identifier(groups.get("student") or shown, number)
            if student:
                key = number or (groups.get("student") or shown).casefold()
                if by_folder or by_file:  # two folders of one name may be two students
                    place = path.parent / shown if by_file else folder.parent / shown if zipped else folder
                    key = str(place).casefold()
                return Submission(student, shown, number, name, data, when, key)
    return None


def identifier(name: str, number: str = "") -> str:
    """A name as the gradebook and file names can hold it: no accents, spaces or path; by number in other scripts."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    made = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-").lower()[:60]
    known = number or hashlib.sha256(name.encode()).hexdigest()[:8]
    return made or (f"student_{known}" if name.strip(" ._-") else "")


def _last(versions: list[Submission], lessons: dict[str, set[str]] | None, left: list) -> Submission:
    """Of a student's files the right lesson's, and of these the last version."""
    wanted = next(iter(lessons or {}), "")
    fits, sure = [], []
    for one in versions:
        lesson = _lesson_of(one, lessons)
        if lesson in ("", wanted):
            fits.append(one)
            sure += [one] if lesson else []
        else:
            one.why = f"it is the notebook of another lesson, {lesson}"
            left.append((one.file, one.why))
    if not fits:
        return versions[-1]
    sure = sure or fits
    best = max(sure, key=lambda one: (one.when, _copy_number(one.file), one.file))
    newer = f"newer, but no notebook, damaged, or without {wanted}'s cells"  # not among `sure`
    for one in fits:
        if one is not best:
            what = newer if one.when > best.when else "an older version, or a copy"
            left.append((one.file, f"{what}: {best.file} was graded"))
    if any(one.when > best.when for one in fits):
        best.remarks.append("several files: the last one can't be used, and an earlier one was graded")
    elif len(fits) > 1:
        best.remarks.append("several files: the last one was graded")
    if "_LATE_" in best.file:
        best.remarks.append("late")
    return best


def _copy_number(file: str) -> int:
    match = re.search(r"(?i)(?: ?\((\d+)\)|-(\d+))\.ipynb$", file)
    return int(match[1] or match[2]) if match else 0


def _lesson_of(submission: Submission, lessons: dict[str, set[str]] | None) -> str:
    """The lesson whose notebook it is; "" when it can't be told."""
    if not lessons:
        return ""
    try:
        ids = tasks.grade_ids(tasks.read(submission.data))
    except tasks.Unreadable:
        return ""
    shares = {name: len(ids & known) / max(1, len(known)) for name, known in lessons.items()}
    best = max(shares, key=shares.get)  # of equals the first, which is the lesson to grade
    return best if shares[best] else ""


def _identify(submissions: list[Submission], known: dict[str, tuple[str, ...]]) -> None:
    """Who was graded before keeps the identifier, since marks hang on it; others get one that nobody has."""
    free, new = dict(known), list(submissions)

    def place(file: str) -> str:
        return str(PurePosixPath(file).parent).casefold()

    def keep(same: Callable[[Submission, tuple[str, ...]], bool]) -> None:
        """Those give the identifier on of whom just one is the same, and the other way round."""
        fits = {id(one): [student for student, before in free.items() if same(one, before)] for one in new}
        often = Counter(student for students in fits.values() for student in students)
        for one in list(new):
            match fits[id(one)]:
                case [student] if often[student] == 1:
                    one.student = student
                    new.remove(one)
                    del free[student]

    def named(one: Submission, before: tuple[str, ...]) -> bool:
        return before[0].casefold() == one.name.casefold() and not (before[1] and one.number)

    keep(lambda one, before: bool(one.number) and one.number == before[1])
    keep(lambda one, before: named(one, before) and before[2:] != () and place(before[2]) == place(one.file))
    keep(named)
    taken, wanted = set(known), Counter(one.student for one in new)
    for one in new:
        alone = [one.student] if wanted[one.student] == 1 else []
        numbered = [f"{one.student}_{one.number}"] if one.number else []
        tries = chain(alone, numbered, (f"{one.student}_{i}" for i in count(1)))
        one.student = next(student for student in tries if student not in taken)
        taken.add(one.student)
