"""Benches on the workers of a Dask cluster, for a class that is too large for one machine: ``--dask ADDRESS``.

Each worker needs the course at the same version, started in its folder with one thread:
``dask worker ADDRESS --nthreads 1``.
Sandboxes and judges run there; submissions are read, and marks written, here, so there is one gradebook.
"""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from grading.bench import Bench, Failed
from grading.sandbox import Limits

_here: dict[str, Bench] = {}  # on a worker: the bench of the lesson that is graded


def workers(address: str) -> tuple[Any, int]:
    """A client of the cluster, and how many workers it has.

    Raises:
        Failed: Dask isn't installed, or nobody answers.
    """
    try:
        from dask.distributed import Client

        client = Client(address, timeout=20)
        return client, len(client.scheduler_info(n_workers=-1)["workers"])
    except ImportError:
        raise Failed("--dask needs Dask: pip install distributed") from None
    except (OSError, TypeError, ValueError) as error:
        raise Failed(f"no Dask scheduler answers at {address}: {error}") from None


class RemoteBench:
    """What `Bench` is, on whichever worker is free."""

    def __init__(self, client: Any, setup: list[str], limits: Limits, hidden: list[Path]) -> None:
        self._client, self._given = client, (setup, limits, hidden)

    def __enter__(self) -> RemoteBench:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def judge(self, task: dict[str, Any]) -> dict[str, Any]:
        """The result of one submission, as `Bench.judge` gives it."""
        return self._client.submit(_judge, *self._given, task, pure=False).result()


def _judge(setup: list[str], limits: Limits, hidden: list[Path], task: dict[str, Any]) -> dict[str, Any]:
    key = repr((setup, limits))
    if key not in _here:
        for bench in list(_here.values()):
            bench.__exit__(None, None, None)
        _here.clear()
        _here[key] = Bench(setup, limits, hidden).__enter__()
        atexit.register(_here[key].__exit__, None, None, None)
    return _here[key].judge(task)
