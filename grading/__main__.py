"""Grades a class: ``python -m grading SUBMISSIONS --lesson 09`` (what ``make grade`` runs)."""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from grading import cluster, report, tasks
from grading.bench import ROOT, Bench, Failed
from grading.collect import Submission, collect, who
from grading.gradebook import Marks, forget
from grading.sandbox import Limits, protection
from grading.tasks import Lesson
from tools import lesson, rules
from tools.release import find_lesson

FOLDER = ROOT / "build" / "grading"


def grade(
    course: Lesson,
    submissions: list[Submission],
    folder: Path,
    limits: Limits,
    jobs: int = 1,
    hidden: tuple[Path, ...] = (),
    client: Any = None,
) -> list[report.Row]:
    """Grade what is new or changed, and return a row for each student, those of earlier hand-ins too.

    Each result is kept as soon as it is there, so an interrupted run goes on where it was.
    """
    results = folder / course.name / "results"
    results.mkdir(parents=True, exist_ok=True)
    known = earlier(results)
    there = [one for one in submissions if not one.why]
    with Marks(folder, course) as marks:
        key = {one.student: _key(one.data, course, limits) for one in there}
        todo = [one for one in there if not _holds(known.get(one.student), key[one.student], marks.read(one.student))]
        if len(todo) < len(there):
            print(f"{len(there) - len(todo)} of {len(there)} are graded already and haven't changed")
        if todo:
            print(f"Setting up {course.name}", flush=True)
        start, jobs = time.monotonic(), min(jobs, len(todo))
        given = course.setup, limits, [folder.resolve(), *hidden]
        benches = [cluster.RemoteBench(client, *given) if client else Bench(*given) for _ in range(jobs)]
        for i, (one, work, result) in enumerate(_judged(course, todo, limits, benches), 1):
            if work:
                marks.save(one, work, result)
            if not work and "failed" not in known.get(one.student, {"failed": ""}) and marks.read(one.student):
                one.why = f"{result['failed']} ({Path(one.file).name})"  # what was found before is kept
            else:
                known[one.student] = result
                _write(results, one, result)
            left = (time.monotonic() - start) / i * (len(todo) - i)
            print(f"\r{i} of {len(todo)} · {left // 60:.0f} min {left % 60:02.0f} s left  ", end="", flush=True)
        if todo:
            print(f"\r{len(todo)} graded in {time.monotonic() - start:.0f} s" + " " * 20)
        for one in submissions:
            result = known.get(one.student)
            if one.why and (not result or "failed" in result):
                known[one.student] = result = {"key": "", "file": one.file, "failed": one.why, "collected": []}
            if result.get("name") != one.name or result.get("number") != one.number or one.why:
                _write(results, one, result)
        given, now = {one.student: one for one in submissions}, _key(b"", course, limits).split("-")[1]
        return [_row(student, given.get(student), result, marks, now) for student, result in sorted(known.items())]


def _row(student: str, one: Submission | None, result: dict[str, Any], marks: Marks, now: str) -> report.Row:
    failed = [result["failed"]] if "failed" in result else []
    found, kept = {} if failed else marks.read(student), []
    if one is None or (one.why and not failed):
        kept.append(f"{report.EARLIER}: {one.why}" if one else report.ABSENT)
        if not failed and result["key"].split("-")[-1] != now:
            kept.append("graded before the lesson or the grading was changed")
        if not failed and not found:
            kept.append("the gradebook has no marks of it any more: grade the file again")
    remarks = one.remarks if one and not one.why else result.get("collected", [])
    remarks = failed + remarks + result.get("remarks", [])
    return report.Row(student, result["name"], result["number"], found, result, remarks, "; ".join(kept))


def _judged(course: Lesson, todo: list[Submission], limits: Limits, benches: list[Bench]) -> Iterator[tuple]:
    """(submission, its work or ``None``, its result), one at a time on each bench."""
    free: SimpleQueue[Bench] = SimpleQueue()

    def one(submission: Submission) -> tuple:
        bench = free.get()
        try:
            return submission, *_judge(course, submission, bench, limits)
        finally:
            free.put(bench)

    with ThreadPoolExecutor(max(1, len(benches))) as pool, contextlib.ExitStack() as opened:
        try:
            for bench in benches:
                free.put(opened.enter_context(bench))
            yield from pool.map(one, todo) if len(benches) > 1 else map(one, todo)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # the benches are closed first: that ends what runs


def _judge(
    course: Lesson, submission: Submission, bench: Bench, limits: Limits
) -> tuple[tasks.Work | None, dict[str, Any]]:
    base = {"key": _key(submission.data, course, limits), "file": submission.file, "collected": submission.remarks}
    try:
        submitted = tasks.read(submission.data)
        work = tasks.prepare(course, submitted)
        known = tasks.grade_ids(course.released)
        if len(work.untouched) == len(course.questions) and not tasks.grade_ids(submitted) & known:
            raise tasks.Unreadable(f"nothing of {course.name} is in it: is it another notebook?")
        result = bench.judge(work.task)
        for check in course.checks:  # a check that ends in a number gives it to everybody: also where nothing can run
            if (points := _given(check["visible"])) is not None:
                said = result["checks"][check["name"]]
                said["score"] = said["seen"] = min(max(points, 0.0), check["points"])
                said["hidden_failed"] = False
    except tasks.Unreadable as error:
        return None, {**base, "failed": str(error)}
    except Failed as error:
        return None, {
            **base,
            "key": "",
            "failed": f"the judge broke off: {error}",
        }  # without a key: tried again next time
    except Exception as error:  # whatever is wrong with one file costs nobody else a mark
        return None, {**base, "key": "", "failed": f"the grading broke off ({type(error).__name__}: {error})"}
    answers = {c.metadata["nbgrader"]["grade_id"]: c.source for c in work.notebook.cells if "nbgrader" in c.metadata}
    answers = {name: answers[name] for name in course.questions}
    remarks = work.remarks + result["remarks"]
    for name, said in result["checks"].items():
        why = result["cells"].get(name, {}).get("error") or said["error"]
        if said["error"] and not said["score"] and name not in work.untouched and f"{name}: {why}" not in remarks:
            remarks.append(f"{name}: could not be checked ({why[:200].rstrip('.')})")
    return work, {**base, **result, "remarks": remarks, "untouched": sorted(work.untouched), "answers": answers}


def _given(source: str) -> float | None:
    match ast.parse(source).body:
        case [*_, ast.Expr(ast.Constant(int() | float() as value))]:
            return float(value)
    return None


def _key(data: bytes, course: Lesson, limits: Limits) -> str:
    """Changes when anything does that a mark depends on: first for the file, then for the lesson and the grading."""
    parts = [lesson.dump(course.full), json.dumps(asdict(limits)).encode()]
    code = [*sorted(Path(__file__).parent.glob("*.py")), *sorted((ROOT / "helpers").glob("*.py"))]
    parts += [path.read_bytes() for path in code]
    return "-".join(hashlib.sha256(part).hexdigest()[:24] for part in (data, b"\0".join(parts)))


def _holds(result: dict[str, Any] | None, key: str, marks: dict) -> bool:
    """Is what was found before still right, and its marks in the gradebook (which may have been deleted)?"""
    return bool(result and result["key"] == key and ("failed" in result or marks))


def earlier(results: Path, pattern: str = "") -> dict[str, dict[str, Any]]:
    """The results of all that were graded before, by identifier."""
    found = {}
    for path in sorted(results.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):  # a damaged one is graded again
            result = json.loads(path.read_text())
            if "name" not in result:  # of an older version of this program
                result["name"], result["number"] = who(result["file"], pattern)
            found[path.stem] = result
    return found


def _write(results: Path, one: Submission, result: dict[str, Any]) -> None:
    result |= {"name": one.name, "number": one.number or result.get("number", "")}
    part = results / f"{one.student}.json.part"
    part.write_text(json.dumps(result))
    part.replace(results / f"{one.student}.json")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, help="the zip or folder from the platform")
    parser.add_argument("--lesson", default="09", help="number or name (09)")
    parser.add_argument(
        "--pattern", default=os.environ.get("PATTERN", ""), help="regular expression with (?P<student>...)"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the gradebook and the results are kept")
    parser.add_argument("--anew", action="store_true", help="forget this lesson's marks, by hand too, and begin anew")
    parser.add_argument("--jobs", type=int, default=os.environ.get("JOBS") or "1", help="submissions at a time (1)")
    parser.add_argument("--dask", metavar="ADDRESS", help="hand the submissions to the workers of this Dask scheduler")
    parser.add_argument("--seconds", type=int, default=Limits.cell, help="the most for a cell, and for a check")
    parser.add_argument("--memory", type=int, default=Limits.memory, help="the most MB a submission may take")
    parser.add_argument("--lessons", type=Path, default=lesson.LESSONS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not hasattr(os, "fork"):
        print("Not graded: grading needs Linux or macOS. On Windows use WSL, or a container (docs/teaching.md).")
        return 1
    try:
        course = Lesson(find_lesson(options.lesson, options.lessons))
        for problem in (one for one in rules.problems(course.source) if "points" in one):
            print(f"In the lesson, so for everybody: {problem}")
        others = [Lesson(path) for path in lesson.sources(options.lessons) if path != course.source]
        ids = {one.name: tasks.grade_ids(one.full) for one in [course, *others]}
        folder = options.folder / course.name
        known = {} if options.anew else earlier(folder / "results", options.pattern)
        known = {student: (old["name"], old["number"], old["file"]) for student, old in known.items()}
        path = options.submissions.expanduser()  # the shell leaves some alone
        submissions, left = collect(path, options.pattern, ids, known)
        if not submissions:
            others = [f"\nnot taken: {file}: {why}" for file, why in left[:20]]
            raise ValueError(f"no notebook found in {path}.{''.join(others)}")
        if options.anew:
            print(f"Beginning anew; what there was is in {forget(options.folder, course.name)}")
        limits = Limits(cell=options.seconds, total=max(10 * options.seconds, 60), memory=options.memory)
        shield = "See the protection on each worker." if options.dask else protection()
        print(shield)
        client, jobs = cluster.workers(options.dask) if options.dask else (None, max(1, options.jobs))
        hidden = (path.resolve(),)
        rows = grade(course, submissions, options.folder, limits, jobs, hidden, client)
        report.write(folder, course, rows, left, shield)
    except (ValueError, Failed) as error:
        print(f"Not graded: {error}")
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What is graded is kept: run it again to go on.")
        return 130
    failed = [row for row in rows if not row.marks]
    for row in failed:
        print(f"could not be graded: {row.name} ({'; '.join(row.notes)})")
    for row in rows:
        if row.marks and row.kept.startswith(report.EARLIER):
            print(f"not graded anew: {row.name} ({row.kept})")
    for file, why in left:
        print(f"not taken: {file}: {why}")
    if absent := len(rows) - len(submissions):
        print(f"{absent} more students aren't in this hand-in: what they have of earlier ones is kept")
    still = sum(len(row.open) for row in rows)
    print(f"{len(rows) - len(failed)} of {len(rows)} graded; {still} answers to grade by hand (make formgrader)")
    print(f"Open {folder / 'summary.html'}; the marks are in marks.csv beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
