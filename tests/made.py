"""Small image sets, networks and lessons that tests make."""

from __future__ import annotations

import torch
from torch import nn

from helpers.datasets import ImageSet
from tools import lesson


def stripes(n: int = 96, size: int = 32, seed: int = 0, soft: bool = False) -> ImageSet:
    """Two classes that a small network tells apart in seconds: horizontal and vertical stripes, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    wave = 127 + 90 * torch.sin(torch.arange(size) * 1.3)
    images = torch.stack([wave.expand(size, size) if y else wave.expand(size, size).T for y in labels.tolist()])[
        :, None
    ]
    images = (images + 40 * torch.randn(n, 1, size, size, generator=generator)).clamp(0, 255).to(torch.uint8)
    probabilities = torch.nn.functional.one_hot(labels, 2).float() * 0.8 + 0.1 if soft else None
    return ImageSet(
        name="stripes",
        images=images,
        labels=labels,
        classes=("horizontal", "vertical"),
        files=tuple(f"{i}.png" for i in range(n)),
        soft=probabilities,
    )


class SmallNet(nn.Module):
    """Convolution, BatchNorm, ReLU, dropout, pooling, linear: all that a resumed run must restore."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images.float() / 255 - 0.5)


LESSON = """\
# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 1 · A try
#
# The area is $x^2$.

# %% tags=["setup"]
SETUP

# %% tags=["setup"]
from helpers.checks import Check

# %% tags=["item-3"]
1 + 1
"""
EXERCISE = """
# %% [markdown]
# Write `add_NUMBER(n)`: n and NUMBER more.

# %% nbgrader={"grade": false, "grade_id": "add_NUMBER", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_NUMBER(n):
    \"\"\"`add_NUMBER(0)` is NUMBER.\"\"\"
    ### BEGIN SOLUTION
    secret_NUMBER = n + NUMBER
    return secret_NUMBER
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "add_NUMBER_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(add_NUMBER, points=2)
check.equal(0, expected=NUMBER)
### BEGIN HIDDEN TESTS
check.equal(1000, expected=1000 + NUMBER)
### END HIDDEN TESTS
check.score()
"""
FREE_TEXT = """
# %% [markdown]
# Why?

# %% [markdown] nbgrader={"grade": true, "grade_id": "why", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# Because of this long reason.
# ### END SOLUTION
"""


def lesson_text(exercises: int = 4, extra: str = "") -> str:
    """A small lesson that keeps to every rule, with ``extra`` at its end."""
    text = LESSON.replace("SETUP", lesson.setup_text(""))
    text += "".join(EXERCISE.replace("NUMBER", str(i)) for i in range(1, exercises + 1))
    return text + FREE_TEXT + extra
