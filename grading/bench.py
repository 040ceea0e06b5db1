"""A lesson's bench: a process that has run the set-up cells, and forks a judge and a sandbox for each submission.

It holds no hidden test and no submission: these reach only the judge, over the line, after the fork.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import zipfile
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from grading import sandbox, wire
from grading.sandbox import Limits

ROOT = Path(__file__).resolve().parent.parent
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "DATA_DIR", "COURSE_BUDGET", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Failed(Exception):
    """The bench can't do it; the message says why."""


class Bench:
    """The grader's end: ``with Bench(set_up_sources) as bench: bench.judge(task)``."""

    def __init__(self, setup: list[str], limits: Limits | None = None, hidden: list[Path] = ()) -> None:
        self._setup, self._limits, self._closed = setup, limits or Limits(), False
        self._hidden = [ROOT / "lessons", ROOT / "tests", ROOT / "build", ROOT / ".git", *hidden]

    def __enter__(self) -> Bench:
        self._folder = Path(tempfile.mkdtemp(prefix="bench-")).resolve()
        self._folder.chmod(0o711)
        (self._folder / "tmp").mkdir()
        (self._folder / "root").mkdir()
        (self._folder / "root").chmod(0o1777)  # the home, where there are no namespaces
        try:
            self._start()
        except BaseException:  # Ctrl-C, too: no process and no folder stays behind
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed = True  # a judge that runs in another thread starts no new process
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        self._line, theirs = socket.socketpair()
        environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        environment |= dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TQDM_DISABLE"), "1"
        )
        environment |= {
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self._folder / "tmp"),
            "MPLBACKEND": "agg",
            "HOME": "/tmp",
        }
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "COURSE_DEVICE": "cpu"}
        environment.setdefault("COURSE_BUDGET", "quick")
        with theirs, open(self._folder / "errors.txt", "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "grading.bench", str(theirs.fileno())],
                cwd=ROOT / "notebooks",
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        if self._closed:  # while the process was started
            self._stop()
            raise Failed("the bench was closed")
        data = [ROOT / "data", *([Path(os.environ["DATA_DIR"])] if "DATA_DIR" in os.environ else [])]
        visible = [Path(sys.prefix), Path(sys.base_prefix), ROOT / "helpers", *data, self._folder / "tmp"]
        visible = [path for given in visible for path in (given.absolute(), given.resolve())]
        head = {"setup": self._setup, "limits": asdict(self._limits), "root": str(self._folder / "root")}
        hidden = [*(path.resolve() for path in self._hidden), *_hand_ins(data)]
        head |= {"visible": [str(path) for path in visible], "hidden": [str(path) for path in hidden]}
        self._line.settimeout(600)
        self._say(head)

    def _say(self, head: dict) -> dict:
        try:
            wire.send(self._line, head)
            answer, _ = wire.receive(self._line)
        except (wire.Broken, OSError) as error:
            raise Failed(f"the bench stopped ({error or type(error).__name__}). {self._errors()[-500:]}") from None
        if "failed" in answer:
            last = self._errors().split("\n")[-1] if answer.get("see") else ""
            raise Failed(": ".join(filter(None, (answer["failed"], last[:500]))))
        return answer

    def _errors(self) -> str:
        return (self._folder / "errors.txt").read_text(errors="replace").strip()

    def judge(self, task: dict[str, Any]) -> dict[str, Any]:
        """The result of one submission.

        Raises:
            Failed: there is none. The bench is ready for the next submission all the same.
        """
        try:
            self._line.settimeout(10)
            wire.send(self._line, {"go": 1})
            self._line.settimeout(10 * self._limits.total)  # only a judge that hangs: Clock ends what is slow
            return self._say(task)
        except (Failed, wire.Broken, OSError) as error:
            if not self._closed:
                self._stop()
                self._start()
            raise Failed(str(error) or type(error).__name__) from None

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # before the line is closed: that ends a judge's waiting
        self._process.wait()
        self._line.close()


def _hand_ins(data: list[Path]) -> list[Path]:
    """Notebooks, and zips with notebooks, in the folders for data: somebody may keep hand-ins there."""
    found = []
    for folder in dict.fromkeys(path for given in data for path in (given.absolute(), given.resolve())):
        found += [path for path in folder.rglob("*.ipynb") if path.is_file()]
        found += [path for path in folder.rglob("*.zip") if _holds_notebooks(path)]
    return found


def _holds_notebooks(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith((".ipynb", ".zip")) for name in archive.namelist())
    except Exception:  # no zip
        return False


def main() -> None:
    """The bench's own process."""
    line = socket.socket(fileno=int(sys.argv[1]))
    head, _ = wire.receive(line)
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        import torch

        torch.set_num_threads(1)
        from grading import judge, student

        with contextlib.redirect_stdout(io.StringIO()):
            for number, source in enumerate(head["setup"], 1):
                exec(compile(source, f"<set-up {number}>", "exec"), vars(module))
        if "helpers.linear" in sys.modules:  # which imports it at its first fit: here once, not in each check's fork
            import sklearn.model_selection  # noqa: F401
        subprocess.run(["chmod", "-R", "a+rX", os.environ["TMPDIR"]], check=False)
        sandbox.isolated()
        sandbox.hide_memory()
        wire.send(line, {"ready": 1})
    except BaseException:
        wire.send(line, {"failed": f"The set-up cells of the lesson don't run here:\n{traceback.format_exc(limit=-2)}"})
        return
    limits, root = Limits(**head["limits"]), Path(head["root"])
    visible, hidden = [Path(p) for p in head["visible"]], [Path(p) for p in head["hidden"]]
    while True:
        try:
            wire.receive(line)  # "go": the task behind it is read by the judge
        except wire.Broken:
            return
        door, inner = socket.socketpair()
        process = os.fork()
        if process == 0:
            door.close()
            sandbox._do("prctl", sandbox.PDEATHSIG, signal.SIGKILL, 0, 0, 0) if sys.platform == "linux" else None
            code = 1
            try:
                sandbox.limit_judge(limits)
                task, _ = wire.receive(line)
                wire.send(line, judge.judge(task, vars(module), inner, limits))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        inner.close()
        keepers = []
        while True:
            said, fds, *_ = socket.recv_fds(door, 1, 1)
            if not said:
                break

            def run(fd: int = fds[0]) -> None:
                os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # the bench's errors: a file, which could be read again
                ours = socket.socket(fileno=os.dup2(fd, 3))
                os.closerange(4, 4096)
                student.serve(ours, module)

            keepers.append(sandbox.shut_in(run, visible, hidden, limits, root))
            os.close(fds[0])
            door.send(str(keepers[-1]).encode())
        door.close()
        for keeper in keepers:
            os.kill(keeper, signal.SIGKILL)
            os.waitpid(keeper, 0)
        _, status, used = os.wait4(process, 0)
        if status and used.ru_utime + used.ru_stime > 2 * limits.total - 1:  # the limit of `limit_judge`
            wire.send(line, {"failed": f"the judge stopped: comparing took over {2 * limits.total} seconds"})
        elif status:
            wire.send(line, {"failed": "the judge stopped", "see": True})


if __name__ == "__main__":
    main()
