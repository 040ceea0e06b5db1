"""What every test and every notebook under nbval stands on: helpers is found, quick budget, the CPU, a core each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
matplotlib.use("Agg")

# Notebooks that run under nbval inherit these too.
os.environ.setdefault("COURSE_BUDGET", "quick")
os.environ.setdefault("COURSE_DEVICE", "cpu")  # where there is a GPU: COURSE_DEVICE=cuda pytest tests/test_replay.py
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
if "PYTEST_XDIST_WORKER" in os.environ or any(text.startswith("-n") for text in sys.argv):
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each would wait for each other
_BESIDE = ROOT.parent / "shared" / "data"  # 15-Scene, on machines where a copy lies beside the course
if _BESIDE.is_dir():
    os.environ.setdefault("DATA_DIR", str(_BESIDE))
