"""The experiments of transfer learning: from scratch, feature extraction, fine-tuning; over seeds and image numbers.

From the shell::

    python -m helpers.transfer --data solar-cells --methods scratch,extract,fine_tune --seeds 3 --json results.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from tqdm import tqdm

from helpers import backbones, codes, datasets, linear, machine, parallel, training
from helpers.augmentation import ColourJitter, Compose, RandomAffine
from helpers.datasets import ImageSet

METHODS = ("scratch", "extract", "fine_tune")


@dataclass(frozen=True)
class Settings:
    """How an experiment is run. ``SETTINGS`` holds the two budgets; change single values with ``run(..., epochs=3)``.

    Args:
        size: pixels of a side, the same for the three methods, so that they are compared on the same images.
        epochs: of fine-tuning everything; ``epochs_last`` of the last blocks before that.
        epochs_scratch: random weights need more.
        head_rate, body_rate, decay: see ``backbones.parameter_groups``.
        last_from: the stage from which "the last blocks" start (the last third when ``None``).
        all_from: the stage from which "everything" starts (the image when ``None``). Freezing the first, largest maps
            saves much of the time, and edges are good edges everywhere.
        norms_still: fine-tune with BatchNorm as it was trained (``backbones.freeze_norms``).
        soft: learn soft labels where the set has them.
        head: the linear head of "extract": "svm" or "logistic".
        views: "one" (the image as it is) or "all": codes are the mean over ``codes.VIEWS``, and a trained network's
            probabilities the mean over the image and its mirror image.
    """

    size: int = 224
    batch: int = 32
    epochs: int = 10
    epochs_last: int = 2
    epochs_scratch: int = 40
    head_rate: float = 1e-3
    body_rate: float = 5e-4
    decay: float = 0.9
    rate_scratch: float = 3e-3
    weight_decay: float = 0.05
    last_from: str | None = None
    all_from: str | None = None
    norms_still: bool = True
    label_smoothing: float = 0.1
    soft: bool = True
    head: str = "svm"
    views: str = "all"


SETTINGS = {
    "quick": Settings(size=96, epochs=3, epochs_last=1, epochs_scratch=6, views="one"),
    "full": Settings(),
}


@dataclass(frozen=True)
class Result:
    """One run on the test part. Accuracies and AUC are fractions; AUC is for two classes only."""

    method: str
    data: str
    backbone: str
    per_class: int | None
    seed: int
    budget: str
    accuracy: float
    balanced_accuracy: float
    weighted_accuracy: float
    auc: float | None
    seconds: float
    settings: dict
    versions: dict


def run(
    method: str,
    image_set: ImageSet,
    *,
    backbone: str = "efficientnet_lite0",
    per_class: int | None = None,
    seed: int = 0,
    budget: str | None = None,
    split: datasets.Split | None = None,
    cache: bool = True,
    progress: bool = True,
    **changes,
) -> Result:
    """One experiment: learn on the training part, measure on the test part.

    Args:
        method: "scratch", "extract" or "fine_tune".
        per_class: learn from so many images of each class only (all when ``None``).
        split: the set's own protocol with ``seed`` when ``None``.
        cache: take the result of the very same experiment (code, network, images, settings, device) from the disk.
        changes: values of ``Settings`` other than the budget's.

    Raises:
        ValueError: the method or the budget isn't known, or there are too few images.
        NoWeights: see ``backbones.load``.
        RuntimeError: the training diverged.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: it must be one of {', '.join(METHODS)}.")
    budget = budget or machine.budget()
    if budget not in SETTINGS:
        raise ValueError(f"budget is {budget!r}: it must be one of {', '.join(SETTINGS)}.")
    settings = dataclasses.replace(SETTINGS[budget], **changes)
    split = split or datasets.split(image_set, seed)
    rows = split.train
    if per_class is not None:  # rows of the whole set, so that its codes serve and no copy of its training part is made
        rows = rows[datasets.few_shot(image_set.labels[rows], per_class, seed)]
    train = image_set.subset(rows)
    test = image_set.subset(split.test)
    pretrained = method != "scratch"
    told = image_set.name, image_set.classes, *(s.soft is not None and s.soft.tolist() for s in (train, test))
    what = (method, backbone, pretrained, per_class, seed, settings, train.fingerprint, test.fingerprint, told)
    file = result_file(what)
    if cache and (text := parallel.from_first(lambda: read(file))) is not None:
        return Result(**json.loads(text))

    # On a CPU the full budget's training takes a long time: interrupted, it goes on.
    slow = cache and budget == "full" and machine.device().type == "cpu"
    checkpoint = file.with_suffix(".checkpoint") if slow else None
    machine.seed_everything(seed)
    start = time.perf_counter()
    network = backbones.load(backbone, pretrained=pretrained)
    if method == "extract":
        metrics = _extract(network, image_set, rows, split.test, settings, progress)
    else:
        learn = _scratch if method == "scratch" else fine_tune
        learn(network, train, settings, seed, progress, checkpoint)
        metrics = training.evaluate(network, test, size=settings.size, flip=settings.views == "all")
    seconds = time.perf_counter() - start
    machine.give_memory_back()  # the evaluation's
    result = Result(
        method=method,
        data=image_set.name,
        backbone=backbone,
        per_class=per_class,
        seed=seed,
        budget=budget,
        accuracy=metrics.accuracy,
        balanced_accuracy=metrics.balanced_accuracy,
        weighted_accuracy=metrics.weighted_accuracy,
        auc=metrics.auc,
        seconds=round(seconds, 2),
        settings=dataclasses.asdict(settings),
        versions=versions(),
    )
    if cache and parallel.first():
        write(file, json.dumps(dataclasses.asdict(result)))
        forget(checkpoint)
    return result


def _extract(network, image_set, train_rows, test_rows, settings, progress) -> training.Metrics:
    """Codes of all images once (they are cached for the next seed and number of images), then a linear head."""
    views = codes.VIEWS if settings.views == "all" else codes.VIEWS[:1]
    found = torch.stack(
        [codes.extract(network, image_set, size=settings.size, progress=progress, **view) for view in views]
    ).mean(0)
    head = linear.fit(
        found[train_rows], image_set.labels[train_rows], kind=settings.head, classes=len(image_set.classes)
    )
    soft = None if image_set.soft is None else image_set.soft[test_rows]
    return training.metrics(head.scores(found[test_rows]).softmax(1), image_set.labels[test_rows], soft)


def default_augment(image_set: ImageSet) -> Compose:
    """Random crops, flips and light. A solar cell may lie any way up; a room or a street may not."""
    if image_set.name == "solar-cells":
        return Compose((RandomAffine(flip_vertical=0.5, area=(0.8, 1.0), stretch=1.05), ColourJitter(0.2, 0.2)))
    return Compose((RandomAffine(area=(0.4, 1.0)), ColourJitter(0.2, 0.2)))


def _scratch(network, train, settings, seed, progress, checkpoint) -> None:
    backbones.replace_head(network, len(train.classes))
    _fit(network, train, settings, seed, progress, settings.epochs_scratch, checkpoint, rate=settings.rate_scratch)


def fine_tune(
    network: backbones.Backbone,
    train: ImageSet,
    settings: Settings,
    seed: int = 0,
    progress: bool = True,
    checkpoint: Path | None = None,
) -> None:
    """Head first, on codes (its random gradients would spoil the body); then the last blocks; then everything.

    A good head first is also what Kumar et al. (2022, "Fine-tuning can distort pretrained features") advise. With a
    ``checkpoint`` (a file; a second one stands beside it), training that was interrupted goes on.
    """
    fit_head(network, train, size=settings.size, progress=progress)
    rates = {"head_rate": settings.head_rate, "body_rate": settings.body_rate}
    rates |= {"decay": settings.decay, "weight_decay": settings.weight_decay}
    body = [stage for stage in network.stages if stage not in ("penultimate", "logits")]
    steps = ((settings.epochs_last, settings.last_from or body[-len(body) // 3]), (settings.epochs, settings.all_from))
    for number, (epochs, first) in enumerate(steps):
        if epochs:
            file = checkpoint and checkpoint.with_name(f"{checkpoint.name}{number}")
            backbones.freeze(network, first or body[0])
            if settings.norms_still:
                backbones.freeze_norms(network)
            groups = backbones.parameter_groups(network, **rates)
            _fit(network, train, settings, seed, progress, epochs, file, groups=groups)


def fit_head(network: backbones.Backbone, train: ImageSet, *, size: int | None = None, progress: bool = True) -> None:
    """Replace the head by a softmax regression on the codes of ``train``: "head first", in seconds."""
    values = codes.extract(network, train, size=size, progress=progress)
    found = linear.fit(values, train.labels, kind="logistic", C=10.0, classes=len(train.classes))
    # The linear head sees codes of length 1, the network's own head sees them as they are.
    length = float(values.norm(dim=1).mean())
    head = backbones.replace_head(network, len(train.classes))
    with torch.no_grad():
        head.weight.copy_(found.weight / length)
        head.bias.copy_(found.bias)


def forget(checkpoint: Path | None) -> None:
    """Delete the checkpoints of a training that is done."""
    for file in checkpoint.parent.glob(f"{checkpoint.name}*") if checkpoint else ():
        file.unlink(missing_ok=True)


def _fit(network, train, settings, seed, progress, epochs, checkpoint, **rates) -> None:
    """Raises KeyboardInterrupt when it was interrupted, RuntimeError when it diverged: there is no result to keep."""
    history = training.fit(
        network,
        train,
        epochs=epochs,
        batch=settings.batch,
        size=settings.size,
        augment=default_augment(train),
        label_smoothing=settings.label_smoothing,
        soft=settings.soft and train.soft is not None,
        weight_decay=settings.weight_decay,
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
        **rates,
    )
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    if history.stopped == "diverged":
        raise RuntimeError("The training diverged, so there is nothing to measure: choose smaller rates.")


def compare(
    image_set: ImageSet,
    *,
    methods: Iterable[str] = METHODS,
    per_class: Sequence[int | None] = (None,),
    seeds: Iterable[int] = range(3),
    progress: bool = True,
    **options,
) -> list[Result]:
    """``run`` for each method, number of images a class, and seed. Interrupted, it goes on where it stopped."""
    plan = [(m, n, s) for n in per_class for m in methods for s in seeds]
    bar = tqdm(plan, desc=f"{image_set.name}: experiments", leave=False, **({} if progress else {"disable": True}))
    return [run(m, image_set, per_class=n, seed=s, progress=False, **options) for m, n, s in bar]


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation over the seeds of one method and number of images."""

    method: str
    per_class: int | None
    mean: float
    spread: float
    seeds: int

    def __str__(self) -> str:
        number = "all images" if self.per_class is None else f"{self.per_class} a class"
        return f"{self.method:10s} {number:>12s}: {self.mean:.1%} ± {self.spread:.1%} ({self.seeds} seeds)"


def summary(results: Iterable[Result], key: str = "accuracy") -> list[Summary]:
    """Mean ± standard deviation over seeds, a line for each method and number of images a class."""
    groups: dict[tuple, list[float]] = {}
    for result in results:
        groups.setdefault((result.method, result.per_class), []).append(getattr(result, key))
    return [
        Summary(method, n, statistics.mean(v), statistics.stdev(v) if len(v) > 1 else 0.0, len(v))
        for (method, n), v in groups.items()
    ]


def versions() -> dict[str, str]:
    """What a figure must be read with: machine and versions."""
    here = machine.device()
    chip = torch.cuda.get_device_name(here) if here.type == "cuda" else f"{platform.machine()}, {os.cpu_count()} cores"
    return {
        "device": here.type,
        "chip": chip,
        "processes": str(parallel.count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: metadata.version(name) for name in ("timm", "scikit-learn")},
    }


def result_file(what: tuple, *code: str) -> Path:
    """Where the result of an experiment is kept: the name changes with it, and with the code that runs it.

    what: the experiment, its method first. code: files that it hangs on, beside all of ``helpers``.
    """
    digest = hashlib.blake2b(repr((what, versions())).encode(), digest_size=12)
    for file in (*sorted(Path(__file__).parent.glob("*.py")), *code):
        digest.update(Path(file).read_bytes())
    return machine.cache_dir() / "results" / f"{what[0]}-{digest.hexdigest()}.json"


def write(file: Path, text: str) -> None:
    """Keep a result, whole or not at all, under its checksum. Where there is no space, a line says so."""
    if why := machine.keep(file, machine.sealed(text).encode()):
        print(f"The result can't be kept in {file.parent} ({why}): it will be measured again.")


def read(file: Path) -> str | None:
    """What ``write`` kept; ``None`` when there is nothing, or something that has changed since."""
    if not file.exists():
        return None
    with contextlib.suppress(OSError, ValueError):
        if (text := machine.unsealed(file.read_text(encoding="utf-8"))) is not None:
            return text
    print(f"The result {file.name} is damaged: it is measured again.")
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers.transfer", description="Transfer learning experiments.")
    parser.add_argument("--data", required=True, help="15-scene, solar-cells, ... or a folder of class folders")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--per-class", type=int, help="images of each class to learn from (all by default)")
    parser.add_argument("--budget", choices=sorted(SETTINGS), default=None, help="by default what the machine allows")
    parser.add_argument("--json", type=Path, help="append one JSON object a run to this file")
    args = parser.parse_args(arguments)
    try:
        with parallel.processes():
            results = _run_all(args)
    except (ValueError, RuntimeError, OSError) as error:  # these speak to the user
        sys.exit(str(error))
    if int(os.environ.get("RANK", "0")) == 0:
        for line in summary(results):
            print(line)


def _run_all(args: argparse.Namespace) -> list[Result]:
    size, results = SETTINGS[args.budget or machine.budget()].size, []
    if parallel.count() > 1:  # one process downloads and unpacks, the others wait
        parallel.from_first(lambda: len(datasets.load(args.data, size=size)))
    image_set = datasets.load(args.data, size=size)
    options = {"backbone": args.backbone, "per_class": args.per_class, "budget": args.budget}
    for method in args.methods.split(","):
        for seed in range(args.seeds):
            results.append(run(method.strip(), image_set, seed=seed, progress=parallel.first(), **options))
            if not parallel.first():
                continue
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                with args.json.open("a") as out:
                    out.write(json.dumps(dataclasses.asdict(results[-1])) + "\n")
            auc = "" if results[-1].auc is None else f", AUC {results[-1].auc:.1%}"
            said = f"{results[-1].accuracy:.1%}{auc} in {results[-1].seconds:.0f} s"
            print(f"{method} seed {seed}: {said}", flush=True)
    return results


if __name__ == "__main__":
    main()
