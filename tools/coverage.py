"""Which cell teaches which item of the syllabus: ``python -m tools.coverage`` writes docs/coverage.md.

A cell says it itself, with a tag such as ``item-12``; this only gathers the tags.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tools import lesson

PAGE = lesson.ROOT / "docs" / "coverage.md"
ITEMS = {
    1: "Convolution and cross-correlation",
    2: "A 32x32x3 image: dot products, filters, activation maps",
    3: "Output size: stride, padding, dilation",
    4: "Parameters of a layer; common settings",
    5: "1x1 convolution",
    6: "Conv2d: stride, padding, dilation, groups",
    7: "Receptive field",
    8: "The neuron view: local connectivity, shared weights",
    9: "Pooling",
    10: "Classic kernels on a photograph",
    11: "The loopy pattern of the digit nine",
    12: "The pattern of ConvNets",
    13: "VGG16 and AlexNet, layer by layer",
    14: "A fully connected layer is a convolution",
    15: "1-D convolution over text",
    16: "Templates: linear classifier, MLP, convolution",
    17: "First-layer filters",
    18: "Maximally activating patches",
    19: "FC7 codes: neighbours, PCA, t-SNE",
    20: "Edges, motifs, parts; invariance; style as Gram matrix",
    21: "Pretrained networks compared",
    22: "Composition, loss, gradient descent",
    23: "Learning curves to read",
    24: "Input normalisation; optimisers",
    25: "Dropout; batch normalisation",
    26: "Brittleness and shifted test sets",
    27: "Transformations: what should be ignored?",
    28: "How ResNet trains and tests; AlexNet's PCA jitter",
    29: "Mixed, strong, learned augmentation",
    30: "Augmentation against overfitting",
    31: "Test-time augmentation",
    32: "Domains, tasks, negative transfer",
    33: "Fixed feature extractor",
    34: "Fine-tuning in two steps; discriminative rates",
    35: "The batch-norm trap",
    36: "The decision table, measured",
    37: "Little data: 2,000 images, two classes",
    38: "How transferable is each layer",
    39: "Off-the-shelf codes against hand-made features",
    40: "15-Scene: from pred to one's own classifier",
    41: "From scratch can catch up; what makes a source good",
    42: "Model zoos; image size is free",
    43: "Transfer is the norm: a backbone inside another model",
}


def cells(folder: Path = lesson.LESSONS) -> dict[int, list[tuple[str, int, str]]]:
    """Item -> (lesson, number of the code cell, its id) for each code cell that is tagged with the item."""
    found: dict[int, list[tuple[str, int, str]]] = defaultdict(list)
    for source in lesson.sources(folder):
        code = [cell for cell in lesson.read(source).cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            for tag in cell.metadata.get("tags", ()):
                if tag.startswith("item-"):
                    found[int(tag[5:])].append((source.stem, number, cell.id))
    return dict(found)


def page(folder: Path = lesson.LESSONS) -> str:
    """The text of docs/coverage.md."""
    found = cells(folder)
    lines = [
        "# What is taught where",
        "",
        "Written by `python -m tools.coverage` from the `item-N` tags of the lessons' cells. Code cells are counted",
        "from 1, the set-up cell included; each of them is executed by `make course` and `make test`.",
        "",
        "| item | what | lesson: code cells |",
        "|---|---|---|",
    ]
    for item, what in ITEMS.items():
        places: dict[str, list[int]] = defaultdict(list)
        for name, number, _ in found.get(item, []):
            places[name].append(number)
        where = "; ".join(f"{name}: {', '.join(map(str, numbers))}" for name, numbers in places.items())
        lines.append(f"| {item} | {what} | {where or '**not yet**'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(lesson.ROOT)}: {len(cells())} of {len(ITEMS)} items")
