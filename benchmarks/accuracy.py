"""The course's best accuracies beside the published ones: ``python benchmarks/accuracy.py`` (hours on two CPU cores).

Three seeds, which are three splits, for each set, network and method. How the settings were chosen: by the accuracy on
a fifth of the *training* part of split 100, which is none of the three; the test parts were looked at once.
``--validation`` measures there, with the settings below or others (``--settings size=256 epochs=8``). Each run is one
JSON object in benchmarks/results/accuracy.jsonl; runs that are done are taken from the cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from helpers import datasets, transfer  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.jsonl"
PUBLISHED = {
    "15-scene": "spatial pyramid 81.4 (Lazebnik 2006); fc7 + SVM 84.2, Places-CNN 90.2 (Zhou 2014)",
    "solar-cells": "descriptors + SVM 82.44, VGG-19 fine-tuned 88.42 (Deitsch 2019, probably confidence-weighted)",
}
FINE_TUNE = {"epochs_last": 0, "body_rate": 5e-4}
CHOSEN = {  # (set, network, method) -> settings
    ("15-scene", "efficientnet_lite0", "extract"): {"size": 224},
    ("15-scene", "efficientnet_lite0", "fine_tune"): FINE_TUNE | {"size": 224, "epochs": 4, "all_from": "block3"},
    ("15-scene", "efficientnet_lite2", "extract"): {"size": 320},
    ("15-scene", "efficientnet_lite2", "fine_tune"): FINE_TUNE | {"size": 288, "epochs": 4, "all_from": "block3"},
    ("solar-cells", "efficientnet_lite0", "extract"): {"size": 224},
    ("solar-cells", "efficientnet_lite0", "fine_tune"): FINE_TUNE
    | {"size": 224, "epochs": 8, "all_from": "block2", "label_smoothing": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for column, name in enumerate(("data", "networks", "methods")):
        known = [*dict.fromkeys(key[column] for key in CHOSEN)]
        parser.add_argument(f"--{name}", nargs="*", default=known)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--validation", action="store_true", help="measure on training images of split 100, keep nothing"
    )
    parser.add_argument("--settings", nargs="*", default=[], help="with --validation, others to try: size=256 epochs=8")
    options = parser.parse_args()
    if options.settings and not options.validation:
        parser.error("settings are tried with --validation; what is chosen stands in CHOSEN")
    changes = {name: _value(text) for name, _, text in (setting.partition("=") for setting in options.settings)}
    for name in options.data:
        for network in options.networks:
            for method in options.methods:
                chosen = CHOSEN.get((name, network, method))
                if chosen is None and not options.validation:
                    continue
                settings = {"size": 224} | (chosen or {}) | changes
                image_set = datasets.load(name, size=settings["size"])
                if options.validation:
                    known, split = _validation(image_set)
                    result = transfer.run(method, known, backbone=network, split=split, budget="full", **settings)
                    print(f"{name} {network} {method} {settings}: {_said(result)}", flush=True)
                    continue
                results = []
                for seed in options.seeds:
                    results.append(
                        transfer.run(method, image_set, backbone=network, seed=seed, budget="full", **settings)
                    )
                    print(f"{name} {network} {method} split {seed}: {_said(results[-1])}", flush=True)
                    _keep(dataclasses.asdict(results[-1]))
                print(f"published: {PUBLISHED[name]}")
                for key in ("accuracy", "weighted_accuracy", *(["auc"] if results[0].auc is not None else [])):
                    print("  ", key, *transfer.summary(results, key))


def _validation(image_set: datasets.ImageSet) -> tuple[datasets.ImageSet, datasets.Split]:
    """The training part of split 100: four fifths of it to learn from, the last fifth to choose by."""
    train = datasets.split(image_set, 100).train
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    held = len(train) // 5
    rows = torch.arange(len(train))
    return image_set.subset(train), datasets.Split(rows[held:], rows[:held])


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _said(result: transfer.Result) -> str:
    auc = "" if result.auc is None else f", weighted {result.weighted_accuracy:.2%}, AUC {result.auc:.2%}"
    return f"{result.accuracy:.2%}{auc} in {result.seconds:.0f} s"


def _keep(row: dict) -> None:
    """One row an experiment: a new run replaces the old one."""
    same = ("data", "method", "seed", "backbone", "per_class")
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    rows = [old for old in rows if any(old[key] != row[key] for key in same)] + [row]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(one) + "\n" for one in rows))


if __name__ == "__main__":
    main()
