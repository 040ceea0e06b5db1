"""Fills the tables of README.md and docs/benchmarks.md: ``python -m tools.readme`` (``make notebooks`` runs it).

``python -m tools.readme build/measured.json`` first takes the figures of a run over into docs/measured.json, and its
picture, the figure of the cell tagged ``picture``, into docs/picture.png.
"""

from __future__ import annotations

import base64
import json
import math
import statistics
import sys
from pathlib import Path

import nbformat

from tools import lesson, site

README = lesson.ROOT / "README.md"
BENCHMARKS = lesson.ROOT / "docs" / "benchmarks.md"
MEASURED = lesson.ROOT / "docs" / "measured.json"
PICTURE = lesson.ROOT / "docs" / "picture.png"
RESULTS = lesson.ROOT / "benchmarks" / "results"
MARKS = {
    name: (f"<!-- {name}: written by tools/readme.py -->", f"<!-- end of {name} -->")
    for name in ("lessons", "results", "ratios", "figures")
}
PUBLISHED = {  # (set, measure) -> what others reached
    ("15-scene", "accuracy"): "81.4 (spatial pyramid), 84.2 (fc7 + SVM), 90.2 (Places-CNN)",
    ("solar-cells", "accuracy"): "",
    ("solar-cells", "weighted_accuracy"): "82.4 (descriptors + SVM), 88.4 (VGG-19 fine-tuned)",
    ("solar-cells", "auc"): "88.5, 94.4 (the same two)",
}
COMPARED = [  # (results, our arm, others' arms, others' with our memory setting, what the machine could do at best)
    (
        "training*",
        "ours",
        ("Lightning", "plain loop", "fastai"),
        ("Lightning, memory kept", "plain loop, memory kept"),
        ("ceiling", "ceiling, replayed"),
    ),
    (
        "codes-cpu*",
        "ours, again",
        ("channels_last", "eager"),
        ("channels_last, memory kept",),
        ("OpenVINO's own, f32", "ONNX Runtime's own"),
    ),
    ("codes-cuda", "ours, again", ("channels_last", "eager"), (), ("PyTorch alone, compiled",)),
    ("augment*", "ours", ("Kornia", "torchvision, per image", "torchvision, from files"), (), ()),
    ("heads", "ours, svm", ("scikit-learn, svm",), (), ()),
    ("heads", "ours, logistic", ("scikit-learn, logistic",), (), ()),
    ("heads", "ours", ("openTSNE, 500 steps",), (), ()),
    ("maps", "ours", ("openTSNE, 500 steps",), (), ()),
    ("time*", "ours, codes + SVM", ("PyTorch's codes + LinearSVC",), (), ()),
]
PACKAGES = {"Lightning": "lightning", "fastai": "fastai"}  # arm -> what it needs


def table(lessons: list[Path], measured: dict, address: str) -> str:
    """The lessons with the measured minutes of each budget, and Colab badges when the course has an address."""
    budgets = [name for name in ("quick", "full") if name in measured]
    head = ["Lesson", *(f"Minutes ({name})" for name in budgets), *(["Colab"] if address else [])]
    rows = [head, ["---"] * len(head)]
    for source in lessons:
        notebook = lesson.read(source)
        row = [f"[{site.title(notebook)}](notebooks/{source.stem}.ipynb)"]
        for name in budgets:
            run = measured[name]["lessons"].get(source.stem)
            row.append(f"{run['seconds'] / 60:.1f}" if run else "")
        if address:
            path = address.removeprefix("https://github.com/")
            link = f"https://colab.research.google.com/github/{path}/blob/main/notebooks/{source.stem}.ipynb"
            row.append(f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})")
        rows.append(row)
    notes = [f"{name.capitalize()}: {measured[name]['machine']}." for name in budgets]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), *(["", *notes] if notes else [])])


def accuracies(rows: list[dict]) -> str:
    """Mean and standard deviation over the splits, beside the published figures: benchmarks/accuracy.py's results."""
    methods = {"extract": "codes + SVM", "fine_tune": "fine-tuned"}
    lines = [["set", "published", "network", *methods.values()], ["---"] * 5]
    for (data, measure), published in PUBLISHED.items():
        for i, network in enumerate(sorted({row["backbone"] for row in rows if row["data"] == data})):
            cells = []
            for method in methods:
                same = [row for row in rows if (row["data"], row["backbone"], row["method"]) == (data, network, method)]
                values = [100 * row[measure] for row in same]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):.1f} ± {spread:.1f}" if values else "")
            name = f"{data}, {measure.replace('_', ' ')}"
            lines.append([*((name, published) if i == 0 else ("", "")), network, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios() -> str:
    """Each way of ours beside the fastest other one, and beside what the machine could do at best, from one run."""
    head = ["benchmark", "machine", "ours", "fastest other", "ours is", "with our memory setting", "of the limit"]
    lines = [head, ["---"] * len(head)]
    for pattern, own, *arms in COMPARED:
        what = own.removeprefix("ours").removesuffix(", again")
        for file in sorted(RESULTS.glob(f"{pattern}.json")):
            result = site.read_json(file)
            for case, found in result["figures"].items():
                if own in found and any(arm in found for arm in arms[0]):
                    lines.append(_compared(f"{file.stem}: {case}{what}", result, found, own, *arms))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _compared(name: str, result: dict, arms: dict, own: str, others: tuple, kept: tuple, limits: tuple) -> list[str]:
    per_second = result["unit"] == "images/s"
    speed = {  # cases a second
        arm: middle if per_second else 1 / middle
        for arm, middle in ((arm, statistics.median(values)) for arm, values in arms.items())
    }
    other = max((arm for arm in others if arm in speed), key=speed.__getitem__)
    unit = " images/s" if per_second else " s"
    ours, theirs = (
        _figure(middle) + unit * math.isfinite(middle)
        for middle in (statistics.median(arms[own]), statistics.median(arms[other]))
    )
    absent = [arm for arm in others if arm not in arms and result["where"].get(PACKAGES.get(arm)) == "not installed"]
    missing = f"; without {' and '.join(absent)}, not installed" if absent else ""
    once = " (one round)" if len(arms[own]) == 1 else ""
    best = {arm: speed[arm] for arm in (*others, *kept) if arm in speed and any(arm in speed for arm in kept)}
    shares = [_times(speed[own] / max(best.values())) if best else ""]
    limit = max((speed[arm] for arm in limits if arm in speed), default=None)
    shares.append(f"{speed[own] / limit:.2f}" if limit else "")
    ratio = _times(speed[own] / speed[other]) if speed[other] else ""
    return [name + once, result["where"]["chip"], ours, f"{theirs} ({other}{missing})", ratio, *shares]


def _times(ratio: float) -> str:
    return f"{ratio:.{2 if ratio < 1 else 1 if ratio < 10 else 0}f} ×"


def speeds(name: str, result: dict) -> str:
    """A line for each case of a benchmark: medians, the fastest way first."""
    fast = -1 if result["unit"] == "images/s" else 1
    rounds = len(next(iter(next(iter(result["figures"].values())).values())))
    turns = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    lines = [f"**{name}**, {result['unit']} ({result['where']['chip']}; torch {result['where']['torch']}; {turns})", ""]
    for case, arms in result["figures"].items():
        middle = sorted(((statistics.median(v), arm) for arm, v in arms.items()), key=lambda pair: fast * pair[0])
        lines.append(f"- {case}: " + " · ".join(f"{arm} {_figure(value)}" for value, arm in middle))
    return "\n".join(lines)


def _figure(value: float) -> str:
    """Three digits below 1,000; infinite seconds are those of what didn't come."""
    if math.isinf(value):
        return "not reached"
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def explorers(rows: list[dict]) -> str:
    """The slowest first paint and the slowest step of each explorer: benchmarks/explorers.py's results."""
    names = dict.fromkeys(row["explorer"] for row in rows)
    slowest = {
        name: [max(row[key] for row in rows if row["explorer"] == name) for key in ("first_paint_ms", "step_ms")]
        for name in names
    }
    lines = " · ".join(f"{name} {paint:.0f}, {step:.1f}" for name, (paint, step) in slowest.items())
    return f"**explorers**, ms to the first paint, ms of the slowest step (medians): {lines}"


def figures() -> str:
    """All that the benchmarks of speed have measured, as far as their results are there."""
    parts = [speeds(file.stem, site.read_json(file)) for file in sorted(RESULTS.glob("*.json"))]
    if (file := RESULTS / "explorers.jsonl").exists():
        parts.append(explorers([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]))
    return "\n\n".join(parts)


def filled(text: str, name: str, part: str) -> str:
    """A page with one of its tables replaced.

    Raises:
        ValueError: the two marks aren't in it.
    """
    begin, end = MARKS[name]
    if begin not in text or end not in text:
        raise ValueError(f"The page has lost the marks of a table: {begin} and {end}.")
    head, tail = text.split(begin)[0], text.split(end)[1]
    return f"{head}{begin}\n{part}\n{end}{tail}"


def take(run: dict, into: dict) -> dict:
    """The committed figures with those of a run in place of older ones; the seconds of each cell are left out."""
    for name, part in run.items():
        kept = into.setdefault(name, {"machine": "", "lessons": {}})
        kept["machine"] = part["machine"]
        for title, figures in part["lessons"].items():
            kept["lessons"][title] = {key: figures[key] for key in ("seconds", "peak_mb")}
    return into


def expected() -> dict[Path, str]:
    """What README.md and docs/benchmarks.md should hold now."""
    lessons = table(lesson.sources(), site.read_json(MEASURED), lesson.repository())
    rows = [json.loads(line) for line in (RESULTS / "accuracy.jsonl").read_text(encoding="utf-8").splitlines()]
    readme = README.read_text(encoding="utf-8")
    for name, part in (("lessons", lessons), ("results", accuracies(rows)), ("ratios", ratios())):
        readme = filled(readme, name, part)
    return {README: readme, BENCHMARKS: filled(BENCHMARKS.read_text(encoding="utf-8"), "figures", figures())}


def picture(executed: Path) -> bytes | None:
    """The PNG that the cell tagged ``picture`` shows in one of the executed lessons; ``None`` if none ran."""
    for path in sorted(executed.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "picture" in cell.metadata.get("tags", ()):
                for output in cell.outputs:
                    if found := output.get("data", {}).get("image/png"):
                        return base64.b64decode(found)
    return None


def main() -> None:
    if len(sys.argv) > 1:
        if found := picture(Path(sys.argv[1]).parent / "executed"):
            PICTURE.write_bytes(found)
        figures = take(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), site.read_json(MEASURED))
        MEASURED.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for page, text in expected().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
