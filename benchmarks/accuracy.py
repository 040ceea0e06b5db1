"""The course's best accuracies beside the published ones: ``python benchmarks/accuracy.py`` (hours on two CPU cores).

Three seeds, which are three splits, for each set and method. How the settings of fine-tuning were chosen: by the
accuracy on a fifth of the *training* part of split 100, which is none of the three; the test parts were looked at once.
Each run is one JSON object in benchmarks/results/accuracy.jsonl; runs that are done are taken from the cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import datasets, transfer  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.jsonl"
PUBLISHED = {
    "15-scene": "spatial pyramid 81.4 (Lazebnik 2006); fc7 + SVM 84.2, Places-CNN 90.2 (Zhou 2014)",
    "solar-cells": "descriptors + SVM 82.44, VGG-19 fine-tuned 88.42 (Deitsch 2019, probably confidence-weighted)",
}
CHOSEN = {
    "15-scene": {"size": 224, "epochs": 4, "epochs_last": 0, "all_from": "block3", "body_rate": 5e-4},
    "solar-cells": {"size": 224, "epochs": 8, "epochs_last": 0, "all_from": "block2", "body_rate": 5e-4}
    | {"label_smoothing": 0.0},
}
EXTRACT = {"size": 224}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(CHOSEN))
    parser.add_argument("--methods", nargs="*", default=["extract", "fine_tune"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    for name in options.data:
        image_set = datasets.load(name)
        results = []
        for method in options.methods:
            changes = EXTRACT if method == "extract" else CHOSEN[name]
            for seed in options.seeds:
                result = transfer.run(method, image_set, seed=seed, budget="full", **changes)
                results.append(result)
                print(f"{name} {method} split {seed}: {result.accuracy:.2%} in {result.seconds:.0f} s", flush=True)
                _keep(dataclasses.asdict(result))
        for key in ("accuracy", "weighted_accuracy", *(["auc"] if results[0].auc is not None else [])):
            print(f"{name}, {key}; published: {PUBLISHED[name]}")
            for line in transfer.summary(results, key):
                print("  ", line)


def _keep(row: dict) -> None:
    """One row an experiment: a new run replaces the old one."""
    same = ("data", "method", "seed", "backbone", "per_class")
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    rows = [old for old in rows if any(old[key] != row[key] for key in same)] + [row]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(one) + "\n" for one in rows))


if __name__ == "__main__":
    main()
