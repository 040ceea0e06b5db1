"""Shuts a student's process in: own view of files, no network, throwaway user, limits. Linux; elsewhere limits only.

What is possible differs: `protection` tries it out and says it in plain words.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

with contextlib.suppress(ImportError):  # Windows: grading says so (__main__), tests of answers need no sandbox
    import resource

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
PDEATHSIG, SET_DUMPABLE, NO_NEW_PRIVS = 1, 4, 38
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
USERS = range(61184, 65520)  # the numbers that systemd's dynamic users have: nobody's
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime")


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    cell: int = 30  # seconds for a cell, and for all the calls of one check
    total: int = 300  # seconds for everything
    memory: int = 3000  # MB beyond what the lesson's set-up has
    processes: int = 48
    file: int = 50  # MB a file
    disk: int = 200  # MB of all files (they lie in memory)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _do(name: str, *args: object) -> None:
    made = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    if getattr(_libc(), name)(*made) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def hide_memory() -> None:
    """No process of the same user may read this one's memory."""
    if sys.platform == "linux":
        _do("prctl", SET_DUMPABLE, 0, 0, 0, 0)


def shut_in(
    run: Callable[[], None], visible: Iterable[Path], hidden: Iterable[Path], limits: Limits, home: Path
) -> int:
    """Fork; the child calls ``run`` inside the sandbox and never returns. The parent gets the number of a process whose
    end ends everything that was started in there.

    Args:
        visible: folders that can be read inside.
        hidden: folders that can't, even where they lie in a visible one.
        home: an empty folder, on which the new root is mounted (nobody else sees it).
    """
    keeper = os.fork()
    if keeper:
        return keeper
    user = USERS[os.getpid() % len(USERS)]  # each its own: else they'd share the count of processes, and the keyring
    try:
        if sys.platform != "linux":
            _limit(limits)
            run()
        _do("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _do("prctl", SET_DUMPABLE, int(os.getuid() != 0), 0, 0, 0)  # an ordinary user must write uid_map
        spaces = isolated()
        if spaces:
            _unshare()
        inner = os.fork()
        if inner == 0:
            _do("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if spaces:
                _do("unshare", NEWNS)  # else the keeper's root would move with it, and it would watch the wrong /proc
                _new_root(visible, hidden, limits, home)
            else:
                os.chdir(home)
            worker = os.fork()
            if worker == 0:
                _drop(limits, user)
                run()
                os._exit(0)
            os.waitpid(worker, 0)
            os._exit(0)
        _watch(inner, limits)
    except BaseException as error:
        with contextlib.suppress(Exception):
            os.write(2, f"The sandbox can't be made: {error}\n".encode())
    finally:
        os._exit(0)
    return 0


def _unshare() -> None:
    """Own namespaces; as an ordinary user, in a user namespace of one's own."""
    user, group = os.getuid(), os.getgid()
    spaces = NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS
    _do("unshare", spaces if user == 0 else spaces | NEWUSER)
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


@cache
def isolated() -> bool:
    """Can this machine give a process its own files and network?"""
    if sys.platform != "linux" or os.uname().machine not in PIVOT_ROOT:
        return False
    child = os.fork()
    if child == 0:
        try:
            _unshare()
            _do("mount", None, "/", None, REC | PRIVATE, None)
            _do("mount", "tmpfs", "/tmp", "tmpfs", 0, "size=1m")
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def protection() -> str:
    """What keeps students' code in on this machine, for the report."""
    if isolated():
        who = "as a throwaway user" if os.getuid() == 0 else "without privileges, in a user namespace"
        return (
            f"Each submission ran in Linux namespaces of its own, {who}: no network, no sight of other processes, of "
            "the gradebook, the hidden tests or other submissions; limits of time, memory, processes and file size."
        )
    if sys.platform == "linux" and os.getuid() == 0:
        return (
            "WEAK PROTECTION: this machine allows no namespaces. Each submission ran as a throwaway user "
            "with limits, but it had the network, and could read what all users can read, the solutions, too."
        )
    return (
        "WEAK PROTECTION: this machine allows no namespaces. Each submission ran with limits, but AS YOU: it had the "
        "network, and could read and write your files, the solutions, too. Grade on Linux, or in a container "
        "(docs/teaching.md)."
    )


def _new_root(visible: Iterable[Path], hidden: Iterable[Path], limits: Limits, home: Path) -> None:
    """A root folder in memory, with the visible folders in it, read-only, and an empty home."""
    _do("mount", None, "/", None, REC | PRIVATE, None)
    _do("mount", "tmpfs", str(home), "tmpfs", NOSUID | NODEV, f"size={limits.disk}m,mode=755")
    for source in dict.fromkeys([*map(Path, SYSTEM), *visible]):
        _show(source, home)
    for name in ("null", "zero", "urandom", "random"):
        _show(Path("/dev") / name, home, RDONLY * 0)
    for path in hidden:
        inside = home / path.relative_to("/")
        if inside.is_dir():
            _do("mount", "tmpfs", str(inside), "tmpfs", NOSUID | NODEV | RDONLY, "size=4k,mode=000")
        elif inside.is_file():
            _do("mount", "/dev/null", str(inside), None, BIND, None)
    for name in ("home", "tmp", "dev/shm"):
        (home / name).mkdir(parents=True, exist_ok=True)
        (home / name).chmod(0o1777)
    (home / "proc").mkdir()
    with contextlib.suppress(OSError):  # a container may forbid it: nothing of ours needs it
        _do("mount", "proc", str(home / "proc"), "proc", NOSUID | NODEV | NOEXEC, None)
    os.chdir(home)
    if _libc().syscall(PIVOT_ROOT[os.uname().machine], b".", b".") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    _do("umount2", ".", 2)
    os.chdir("/home")


def _show(source: Path, root: Path, flags: int = RDONLY) -> None:
    """Make one file or folder visible, at the same place."""
    target = root / source.relative_to("/")
    if not source.exists() or (target.exists() and any(target.iterdir() if target.is_dir() else [1])):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    target.mkdir(exist_ok=True) if source.is_dir() else target.touch()
    _do("mount", str(source), str(target), None, BIND | REC, None)
    kept = os.statvfs(source).f_flag & (RDONLY | NOSUID | NODEV | NOEXEC)
    _do("mount", None, str(target), None, REMOUNT | BIND | flags | NOSUID | kept, None)
    if flags & RDONLY:  # what is mounted below it, too (Linux 5.12 and later: an older one says no)
        attributes = (ctypes.c_uint64 * 4)(RDONLY, 0, 0, 0)
        _libc().syscall(MOUNT_SETATTR, AT_FDCWD, str(target).encode(), AT_RECURSIVE, attributes, 32)


def _drop(limits: Limits, user: int) -> None:
    """Become nobody, with limits."""
    os.setsid()
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    else:
        with contextlib.suppress(OSError):
            _no_capabilities()
    _do("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    _do("prctl", SET_DUMPABLE, 1, 0, 0, 0)
    os.environ.update(
        HOME=os.getcwd(),
        USER="student",
        TMPDIR="/tmp",
        COURSE_CACHE="/tmp/cache",
    )
    _limit(limits)


def _no_capabilities() -> None:
    """Give up what the user namespace gave."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _do("capset", header, (ctypes.c_uint32 * 6)())


def limit_judge(limits: Limits) -> None:
    """What a submission sends back may be made to keep its judge busy, or to fill the memory."""
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, [used + limits.memory * 2**20] * 2)
        resource.setrlimit(resource.RLIMIT_CPU, [2 * limits.total] * 2)


def _limit(limits: Limits) -> None:
    used = 0
    with contextlib.suppress(OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    if used:
        resource.setrlimit(resource.RLIMIT_AS, [used + limits.memory * 2**20] * 2)
    resource.setrlimit(resource.RLIMIT_CPU, [limits.total, limits.total])
    resource.setrlimit(resource.RLIMIT_FSIZE, [limits.file * 2**20] * 2)
    resource.setrlimit(resource.RLIMIT_CORE, [0, 0])
    resource.setrlimit(resource.RLIMIT_NOFILE, [256, 256])
    if isolated() or (sys.platform == "linux" and os.getuid() in USERS):  # else it counts all that you have running
        resource.setrlimit(resource.RLIMIT_NPROC, [limits.processes] * 2)


def _watch(inner: int, limits: Limits) -> None:
    """Wait for the end of the sandbox; end it when all its processes together take too much memory or time."""
    end = time.monotonic() + 2 * limits.total
    while os.waitpid(inner, os.WNOHANG)[0] == 0:
        processes = _descendants(inner)
        large = sum(map(_resident_mb, processes)) > limits.memory  # cheap, and counts shared pages again and again
        full = large and sum(map(_private_mb, processes)) > limits.memory
        if full or _unmapped_mb(processes) > limits.memory or time.monotonic() > end:
            os.kill(inner, signal.SIGKILL)
            os.waitpid(inner, 0)
            return
        time.sleep(0.2)


def seconds_used(process: int) -> tuple[float, bool]:
    """The CPU time of a process and all below it, and whether any of them could run right now."""
    used, runs = 0.0, False
    for number in _descendants(process) if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, IndexError):
            parts = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            used += sum(map(int, parts[11:15])) / os.sysconf("SC_CLK_TCK")
            runs = runs or parts[0] in "RD"
    return used, runs


def _descendants(process: int) -> list[int]:
    found = [process]
    for number in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{number}/task").iterdir():  # a thread may have children of its own
                found += map(int, (task / "children").read_text().split())
        if len(found) > 500:
            break
    return found


def _resident_mb(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def _private_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_", "Pss_Shmem"))) / 1024


def _unmapped_mb(processes: list[int]) -> float:
    """The files in memory (memfd) that processes hold open: they need not be in the memory of any."""
    found = {}
    for number in processes:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{number}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link).startswith("/memfd:"):
                        state = os.stat(link)
                        found[state.st_ino] = state.st_blocks * 512
    return sum(found.values()) / 2**20
