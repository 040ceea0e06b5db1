"""Grades a class: ``python -m grading SUBMISSIONS --lesson 09`` (what ``make grade`` runs)."""

from __future__ import annotations

import argparse
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
from grading.collect import Submission, collect
from grading.gradebook import Marks
from grading.sandbox import Limits, protection
from grading.tasks import Lesson
from tools import lesson

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
    """Grade what is new or changed, and return a row for each student.

    Each result is kept as soon as it is there, so an interrupted run goes on where it was.
    """
    results = folder / course.name / "results"
    results.mkdir(parents=True, exist_ok=True)
    kept = {one.student: _kept(results, one, course, limits) for one in submissions}
    todo = [one for one in submissions if kept[one.student] is None]
    if len(todo) < len(submissions):
        print(f"{len(submissions) - len(todo)} of {len(submissions)} are graded already and haven't changed")
    with Marks(folder, course) as marks:
        if todo:
            print(f"Setting up {course.name}", flush=True)
        start, jobs = time.monotonic(), min(jobs, len(todo))
        given = course.setup, limits, [folder.resolve(), *hidden]
        benches = [cluster.RemoteBench(client, *given) if client else Bench(*given) for _ in range(jobs)]
        for i, (one, work, result) in enumerate(_judged(course, todo, limits, benches), 1):
            if work:
                marks.save(one, work, result)
            kept[one.student] = result
            text = json.dumps(result)
            (results / f"{one.student}.json.part").write_text(text)
            (results / f"{one.student}.json.part").replace(results / f"{one.student}.json")
            left = (time.monotonic() - start) / i * (len(todo) - i)
            print(f"\r{i} of {len(todo)} · {left // 60:.0f} min {left % 60:02.0f} s left  ", end="", flush=True)
        if todo:
            print(f"\r{len(todo)} graded in {time.monotonic() - start:.0f} s" + " " * 20)
        return [_row(one, kept[one.student], marks) for one in submissions]


def _row(one: Submission, result: dict[str, Any], marks: Marks) -> report.Row:
    failed = [result["failed"]] if "failed" in result else []
    return report.Row(
        one.student,
        one.name,
        one.number,
        {} if failed else marks.read(one.student),
        result,
        failed + one.remarks + result.get("remarks", []),
    )


def _judged(course: Lesson, todo: list[Submission], limits: Limits, benches: list[Bench]) -> Iterator[tuple]:
    """(submission, its work or ``None``, its result), one at a time on each bench."""
    free: SimpleQueue[Bench] = SimpleQueue()

    def one(submission: Submission) -> tuple:
        bench = free.get()
        try:
            return submission, *_judge(course, submission, bench, limits)
        finally:
            free.put(bench)

    with contextlib.ExitStack() as opened, ThreadPoolExecutor(max(1, len(benches))) as pool:
        try:
            for bench in benches:
                free.put(opened.enter_context(bench))
            yield from pool.map(one, todo) if len(benches) > 1 else map(one, todo)
        finally:
            pool.shutdown(cancel_futures=True)


def _judge(
    course: Lesson, submission: Submission, bench: Bench, limits: Limits
) -> tuple[tasks.Work | None, dict[str, Any]]:
    base = {"key": _key(submission, course, limits), "file": submission.file}
    try:
        work = tasks.prepare(course, tasks.read(submission.data))
        known = tasks.grade_ids(course.released)
        if len(work.untouched) == len(course.questions) and not tasks.grade_ids(tasks.read(submission.data)) & known:
            raise tasks.Unreadable(f"nothing of {course.name} is in it: is it another notebook?")
        result = bench.judge(work.task)
    except tasks.Unreadable as error:
        return None, {**base, "failed": str(error)}
    except Failed as error:
        return None, {
            **base,
            "key": "",
            "failed": f"the judge broke off: {error}",
        }  # without a key: tried again next time
    answers = {c.metadata["nbgrader"]["grade_id"]: c.source for c in work.notebook.cells if "nbgrader" in c.metadata}
    answers = {name: answers[name] for name in course.questions}
    remarks = work.remarks + result["remarks"]
    return work, {**base, **result, "remarks": remarks, "untouched": sorted(work.untouched), "answers": answers}


def _key(submission: Submission, course: Lesson, limits: Limits) -> str:
    """Changes when anything does that a mark depends on."""
    parts = [submission.data, lesson.dump(course.full), json.dumps(asdict(limits)).encode()]
    code = [*sorted(Path(__file__).parent.glob("*.py")), *sorted((ROOT / "helpers").glob("*.py"))]
    return hashlib.sha256(b"\0".join(parts + [path.read_bytes() for path in code])).hexdigest()[:24]


def _kept(results: Path, submission: Submission, course: Lesson, limits: Limits) -> dict[str, Any] | None:
    try:
        result = json.loads((results / f"{submission.student}.json").read_text())
    except (OSError, ValueError):
        return None
    return result if result.get("key") == _key(submission, course, limits) else None


def find_lesson(wanted: str, folder: Path = lesson.LESSONS) -> Path:
    """The lesson of a number or name.

    Raises:
        ValueError: there is none.
    """
    known = lesson.sources(folder)
    for path in known:
        if wanted in (path.stem, path.stem[:2], path.stem[:2].lstrip("0")):
            return path
    raise ValueError(f"There is no lesson {wanted!r}. LESSON is one of: {' '.join(path.stem[:2] for path in known)}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", type=Path, help="the zip or folder from the platform")
    parser.add_argument("--lesson", default="09", help="number or name (09)")
    parser.add_argument("--pattern", default="", help="regular expression with (?P<student>...) for file names")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the gradebook and the results are kept")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS", "1")), help="submissions at a time (1)")
    parser.add_argument("--dask", metavar="ADDRESS", help="hand the submissions to the workers of this Dask scheduler")
    parser.add_argument("--seconds", type=int, default=Limits.cell, help="the most for a cell, and for a check")
    parser.add_argument("--memory", type=int, default=Limits.memory, help="the most MB a submission may take")
    parser.add_argument("--lessons", type=Path, default=lesson.LESSONS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        course = Lesson(find_lesson(options.lesson, options.lessons))
        others = [Lesson(path) for path in lesson.sources(options.lessons) if path != course.source]
        ids = {one.name: tasks.grade_ids(one.full) for one in [course, *others]}
        submissions, left = collect(options.submissions, options.pattern, ids)
        limits = Limits(cell=options.seconds, total=max(10 * options.seconds, 60), memory=options.memory)
        shield = "See the protection on each worker." if options.dask else protection()
        print(shield)
        client, jobs = cluster.workers(options.dask) if options.dask else (None, options.jobs)
        hidden = (options.submissions.resolve(),)
        rows = grade(course, submissions, options.folder, limits, jobs, hidden, client)
        folder = options.folder / course.name
        report.write(folder, course, rows, left, shield)
    except (ValueError, Failed) as error:
        print(f"Not graded: {error}")
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What is graded is kept: run it again to go on.")
        return 130
    failed = [row for row in rows if not row.marks]
    for row in failed:
        print(f"could not be graded: {row.name} ({row.remarks[0]})")
    for file, why in left:
        print(f"not taken: {file}: {why}")
    still = sum(len(row.open) for row in rows)
    print(f"{len(rows) - len(failed)} of {len(rows)} graded; {still} answers to grade by hand (make formgrader)")
    print(f"Open {folder / 'summary.html'}; the marks are in marks.csv beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
