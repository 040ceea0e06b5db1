"""The course's best accuracies beside the published ones: ``python benchmarks/accuracy.py`` (hours on two CPU cores).

Three seeds, which are three splits, for each set, network and method. How the settings were chosen: by the accuracy on
a fifth of the *training* part of split 100, which is none of the three; the test parts were looked at once.
``--validation`` measures there, with the settings below or others (``--settings size=256 epochs=8``); seeds are then
splits 100, 101 and so on. Each run is one JSON object in benchmarks/results/accuracy.jsonl; runs that are done are
taken from the cache.

The network ``all_three`` is several: the SVM gets their codes one after the other, and "fine-tuned" is the mean of its
probabilities and those of one fine-tuned network (``TOGETHER``).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from helpers import backbones, codes, datasets, linear, machine, training, transfer  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "accuracy.jsonl"
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

ALL = "all_three"
# Set -> the networks and sizes of the codes, the network that is fine-tuned, and what the SVM's scores are taken times
# before the mean: of 15 classes its probabilities are so even that they would count for little beside the network's.
TOGETHER = {
    "15-scene": (
        (("efficientnet_lite0", 288), ("efficientnet_lite1", 304), ("efficientnet_lite2", 320)),
        "efficientnet_lite2",
        4.0,
    ),
    "solar-cells": (
        (("efficientnet_lite0", 224), ("efficientnet_lite1", 240), ("efficientnet_lite2", 260)),
        "efficientnet_lite0",
        1.0,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for column, name in enumerate(("data", "networks", "methods")):
        known = [*dict.fromkeys(key[column] for key in CHOSEN)] + [ALL] * (name == "networks")
        parser.add_argument(f"--{name}", nargs="*", default=known, help=f"by default {', '.join(known)}")
    parser.add_argument(
        "--seeds", nargs="*", type=int, help="0 1 2 by default; with --validation 0, which is split 100"
    )
    parser.add_argument(
        "--validation", action="store_true", help="measure on training images of other splits, keep nothing"
    )
    parser.add_argument("--settings", nargs="*", default=[], help="with --validation, others to try: size=256 epochs=8")
    options = parser.parse_args()
    if options.settings and not options.validation:
        parser.error("settings are tried with --validation; what is chosen stands in CHOSEN")
    options.seeds = options.seeds or ([0] if options.validation else [0, 1, 2])
    changes = {name: _value(text) for name, _, text in (setting.partition("=") for setting in options.settings)}
    for name in options.data:
        with contextlib.suppress(datasets.NotHere):  # a line has said so
            for network in options.networks:
                if network != ALL:
                    alone(name, network, changes, options)
                elif name in TOGETHER and not changes:  # which are one network's
                    together(name, options)


def alone(name: str, network: str, changes: dict, options: argparse.Namespace) -> None:
    """Each method with one network."""
    for method in options.methods:
        chosen = CHOSEN.get((name, network, method))
        if chosen is None and not options.validation:
            print(f"{name} {network} {method}: no settings are chosen for it (--validation tries some).")
            continue
        settings = {"size": 224} | (chosen or {}) | changes
        image_set = datasets.load(name, size=settings["size"])
        results = []
        for seed in options.seeds:
            number = 100 + seed if options.validation else seed
            known, split = image_set, None
            if options.validation:
                known, split = _only(image_set, _choosing(image_set, number))
            results.append(
                transfer.run(method, known, backbone=network, seed=seed, split=split, budget="full", **settings)
            )
            print(f"{name} {network} {method} split {number}: {_said(results[-1])}", flush=True)
            if not options.validation:
                _keep(dataclasses.asdict(results[-1]))
        _report(results)


def together(name: str, options: argparse.Namespace) -> None:
    """Both methods with several networks; what the seed means is what it means for one."""
    members, tuned, sharper = TOGETHER[name]
    tuning = CHOSEN[name, tuned, "fine_tune"] if "fine_tune" in options.methods else {}
    sets = [datasets.load(name, size=size) for _, size in members]
    image_set = datasets.load(name, size=tuning.get("size", members[0][1]))
    results = []
    for seed in options.seeds:
        number = 100 + seed if options.validation else seed
        split = _choosing(image_set, number) if options.validation else datasets.split(image_set, number)
        train, test = image_set.subset(split.train), image_set.subset(split.test)
        settings = {"codes": members, "fine_tuned": tuned, "sharper": sharper} | tuning
        file = transfer.result_file((ALL, settings, seed, train.fingerprint, test.fingerprint), __file__)
        checkpoint = file.with_suffix(".checkpoint")
        if (text := transfer.read(file)) is None:
            start, measured = time.perf_counter(), {}
            found = torch.cat([_codes(net, one) for (net, _), one in zip(members, sets, strict=True)], dim=1)
            head = linear.fit(found[split.train], train.labels, classes=len(train.classes))
            scores = head.scores(found[split.test])
            measured["extract"] = scores.softmax(1), time.perf_counter() - start
            if tuning:
                machine.seed_everything(seed)
                network = backbones.load(tuned)
                full = dataclasses.replace(transfer.SETTINGS["full"], **tuning)
                transfer.fine_tune(network, train, full, seed, checkpoint=checkpoint)
                own = training.evaluate(network, test, size=full.size, flip=True)
                print(f"{name} {tuned} fine_tune split {number}: {own.accuracy:.2%}", flush=True)
                mean = (own.probabilities + (sharper * scores).softmax(1)) / 2
                measured["fine_tune"] = mean, time.perf_counter() - start
            rows = [_row(name, method, seed, settings, test, *what) for method, what in measured.items()]
            text = json.dumps(rows)
            transfer.write(file, text)
            transfer.forget(checkpoint)
        for row in json.loads(text):
            results.append(transfer.Result(**row))
            print(f"{name} {ALL} {row['method']} split {number}: {_said(results[-1])}", flush=True)
            if not options.validation:
                _keep(row)
    _report(results)


def _row(name, method, seed, settings, test: datasets.ImageSet, probabilities: torch.Tensor, seconds: float) -> dict:
    """One line of the results, as those of one network."""
    metrics = training.metrics(probabilities, test.labels, test.soft)
    measures = ("accuracy", "balanced_accuracy", "weighted_accuracy", "auc")
    return {
        "method": method,
        "data": name,
        "backbone": ALL,
        "per_class": None,
        "seed": seed,
        "budget": "full",
        **{measure: getattr(metrics, measure) for measure in measures},
        "seconds": round(seconds, 2),
        "settings": settings,
        "versions": transfer.versions(),
    }


def _codes(network: str, image_set: datasets.ImageSet) -> torch.Tensor:
    """The mean code over the views, of length 1, so that each network counts the same."""
    backbone = backbones.load(network)
    views = [codes.extract(backbone, image_set, **view) for view in codes.VIEWS]
    return F.normalize(torch.stack(views).mean(0))


def _report(results: list[transfer.Result]) -> None:
    for key in ("accuracy", "weighted_accuracy", *(["auc"] if results[0].auc is not None else [])):
        print("  ", key, *transfer.summary(results, key))


def _choosing(image_set: datasets.ImageSet, number: int) -> datasets.Split:
    """Of the training part of a split, four fifths to learn from, the last fifth to choose by."""
    train = datasets.split(image_set, number).train
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    return datasets.Split(train[len(train) // 5 :], train[: len(train) // 5])


def _only(image_set: datasets.ImageSet, split: datasets.Split) -> tuple[datasets.ImageSet, datasets.Split]:
    """The images of a split without the rest of the set, and the split as rows of these."""
    held, rows = len(split.test), torch.cat([split.test, split.train])
    places = torch.arange(len(rows))
    return image_set.subset(rows), datasets.Split(places[held:], places[:held])


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
