"""Explorers to move by hand, each one line in a lesson. They are pages without a server: no kernel, no network.

A page lives in a frame of its own (an ``<iframe srcdoc>``), so that neither its keys nor its styles meet those of
JupyterLab, VS Code, Colab or a saved HTML page. Where scripts don't run, its still picture is there instead.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

PAGES = Path(__file__).parent / "pages"


@dataclass(frozen=True)
class Explorer:
    """A page with its still picture; as the last value of a cell it shows itself.

    ``name``: of its file in ``helpers/pages``. ``title`` and ``alt``: for screen readers, of the frame and the still.
    """

    name: str
    title: str
    alt: str
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def page(self) -> str:
        """The whole page, as HTML."""
        data = json.dumps(self.data).replace("</", "<\\/")
        text = _file(f"{self.name}.html").replace("/* shared.css */", _file("shared.css"))
        return text.replace("/* shared.js */", _file("shared.js")).replace("null /* data */", data)

    @property
    def still(self) -> Path:
        """The picture that stands in where scripts don't run (``python -m tools.stills`` takes it)."""
        return PAGES / f"{self.name}.png"

    def _repr_html_(self) -> str:
        still = ""
        if self.still.exists():
            data = base64.b64encode(self.still.read_bytes()).decode()
            still = f'<img src="data:image/png;base64,{data}" alt="{html.escape(self.alt)}" style="max-width:100%">'
        return (
            # without scripts the frame would be an empty box above the still picture
            "<div><noscript><style>iframe[data-explorer]{display:none}</style></noscript>"
            f'<iframe data-explorer="{self.name}" title="{html.escape(self.title)}" srcdoc="{html.escape(self.page)}" '
            f'style="width:100%;height:720px;border:0"></iframe>{still}</div>'
        )


@cache
def _file(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def convolution(kind: str = "convolution", **settings: int | tuple[int, int]) -> Explorer:
    """A window that slides over an input: its sums written out, and the size of the output.

    Args:
        kind: what it begins with: "convolution", "transposed", "max" or "average" (pooling).
        settings: ``size``, ``kernel``, ``stride``, ``padding``, ``dilation``, ``outputPadding``: a number, or a pair
            for height and width.
    """
    alt = "A 3×3 kernel on a 7×7 input of digits, the nine products under the window, and the 5×5 output."
    data = {"kind": kind, **settings} if settings or kind != "convolution" else {}
    return Explorer("convolution", "Convolution explorer", alt, data)


def receptive_field(layers: Sequence[Sequence[int]] = (), size: int = 21) -> Explorer:
    """What one unit behind a stack of layers sees, along one axis, layer by layer.

    Args:
        layers: up to five, each ``(kernel, stride, padding, dilation)``; the tail may be left out.
        size: pixels of the input.
    """
    alt = "A stack of layers: one unit of the last layer, and the units and pixels below that it depends on."
    data = {"layers": [list(layer) for layer in layers], "size": size}
    return Explorer("field", "Receptive field explorer", alt, data)


def kernels(
    photograph: Image.Image, classics: Mapping[str, Any], start: str | None = None, width: int = 300
) -> Explorer:
    """A 3×3 kernel to edit or to pick, live on a photograph or on an image of one's own.

    Args:
        classics: name -> (3, 3) weights.
        start: the one to begin with; the first by default.
        width: of the photograph in the page, in pixels; it is made gray.
    """
    gray = photograph.convert("L").resize((width, round(photograph.height * width / photograph.width)))
    jpeg = io.BytesIO()
    gray.save(jpeg, "JPEG", quality=92)
    data = {
        "photograph": "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode(),
        "kernels": {name: [[float(weight) for weight in row] for row in kernel] for name, kernel in classics.items()},
        "start": start or next(iter(classics)),
    }
    alt = "A photograph, the nine weights of a 3×3 kernel, and the photograph after the convolution with it."
    return Explorer("kernels", "Kernel playground", alt, data)
