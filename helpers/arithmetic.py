"""The arithmetic of convolutional networks: sizes, parameters, multiply-adds, receptive fields.

Sizes and fields are in pixels along one axis. The receptive-field recurrence is that of Araujo, Norris and Sim,
"Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019); sizes follow ``torch.nn``.
"""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def output_size(
    size: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Positions of a window along one axis: ``floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1``.

    What doesn't fill a whole step at the end is dropped. ``ceil_mode`` (pooling only) keeps it, unless that last
    window would start in the padding behind the input. Raises ValueError when the window doesn't fit even once.
    """
    if min(size, kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            f"size {size}, kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1, "
            f"and padding {padding} at least 0."
        )
    room = size + 2 * padding - (dilation * (kernel - 1) + 1)
    if room < 0:
        raise ValueError(
            f"A window of {dilation * (kernel - 1) + 1} pixels doesn't fit into {size + 2 * padding} "
            f"(input {size}, padding {padding} on both sides): use a larger input, more padding or a smaller kernel."
        )
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def conv2d_naive(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> torch.Tensor:
    """The specification of ``torch.nn.functional.conv2d``, in loops: slow, and the same numbers.

    ::

        out[n, k, i, j] = bias[k] + sum over c, a, b of
            weight[k, c, a, b] * padded[n, first + c, i*stride + a*dilation, j*stride + b*dilation]

    ``padded`` is ``x`` with ``padding`` zeros on each of its four sides. Output channel ``k`` sees only the
    ``C_in/groups`` input channels of its own group, which start at ``first``. The kernel isn't flipped.

    Args:
        x: images, (N, C_in, H, W); not modified.
        weight: filters, (C_out, C_in/groups, KH, KW).
        bias: (C_out,) or None.

    Returns: (N, C_out, H', W') with ``H' = output_size(H, KH, ...)`` and ``W' = output_size(W, KW, ...)``.

    Raises: ValueError when channels and groups don't agree.
    """
    (n, channels, height, width), (filters, depth, kh, kw) = x.shape, weight.shape
    if depth * groups != channels or filters % groups:
        raise ValueError(
            f"{channels} input channels in {groups} groups need filters of depth {channels / groups:g} (here {depth}) "
            f"and a number of filters that {groups} divides (here {filters})."
        )
    padded = x.new_zeros(n, channels, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    rows = output_size(height, kh, stride=stride, padding=padding, dilation=dilation)
    columns = output_size(width, kw, stride=stride, padding=padding, dilation=dilation)
    out = x.new_zeros(n, filters, rows, columns)
    for k in range(filters):
        first = k // (filters // groups) * depth
        for i in range(rows):
            for j in range(columns):
                top, left = i * stride, j * stride
                patch = padded[:, first : first + depth, top:, left:][:, :, ::dilation, ::dilation][:, :, :kh, :kw]
                out[:, k, i, j] = (patch * weight[k]).sum(dim=(1, 2, 3))
    return out if bias is None else out + bias[:, None, None]


def parameters(layer: nn.Module) -> int:
    """How many numbers a layer or a network learns; one that is used twice counts once."""
    return sum(p.numel() for p in layer.parameters())


def multiply_adds(layer: nn.Module, input_shape: Sequence[int], output_shape: Sequence[int]) -> int:
    """Multiply-adds of a convolution or a linear layer for one batch; 0 for any other layer, as papers count.

    Args:
        input_shape, output_shape: with the batch axis.
    """
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):  # each *input* value is multiplied by a whole kernel
        return math.prod(input_shape) * layer.out_channels // layer.groups * math.prod(layer.kernel_size)
    if isinstance(layer, nn.modules.conv._ConvNd):
        return math.prod(output_shape) * layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    return math.prod(output_shape) * layer.in_features if isinstance(layer, nn.Linear) else 0


def as_convolution(linear: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    """The convolution that gives what ``linear`` gives on a flattened (channels, height, width) volume.

    On a larger volume it gives a grid of results: one a position of the window. Weights are shared, not copied.
    Raises ValueError when the volume hasn't ``linear.in_features`` values.
    """
    if channels * height * width != linear.in_features:
        raise ValueError(
            f"{channels}×{height}×{width} are {channels * height * width} values, "
            f"but the layer takes {linear.in_features}."
        )
    with torch.device("meta"):
        layer = nn.Conv2d(channels, linear.out_features, (height, width), bias=linear.bias is not None)
    layer.weight = nn.Parameter(linear.weight.detach().view(-1, channels, height, width))
    layer.bias = linear.bias
    return layer


@dataclass(frozen=True)
class Field:
    """What the units of a layer see of the input, along one axis, in pixels.

    ``size``: how many pixels a unit sees. ``jump``: the distance between the fields of neighbouring units.
    ``start``: the first pixel that unit 0 sees (negative: it lies in the padding).
    """

    size: float = 1
    jump: int = 1
    start: float = 0

    def through(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """The field after one more layer: a window of taps ``dilation`` units apart, that is ``jump`` pixels each."""
        size = self.size + dilation * (kernel - 1) * self.jump
        return Field(size, self.jump * stride, self.start - padding * self.jump)

    def span(self, unit: int) -> tuple[float, float]:
        """First and one-past-last pixel that this unit sees; cut it at the image's border yourself."""
        first = self.start + unit * self.jump
        return first, first + self.size


def receptive_field(layers: Iterable[Sequence[int]]) -> Field:
    """The field of a stack of layers, each given as ``(kernel, stride, padding, dilation)``; the tail may be left out.

    ``receptive_field([(3,), (3,)]).size`` is 5; for a network, see ``layer_table(...).fields``.
    """
    field = Field()
    for layer in layers:
        field = field.through(*layer)
    return field


WHOLE = Field(math.inf, 1, -math.inf)
_Fields = tuple[Field, ...] | None  # one an axis; None: not known


class _FieldTracker(TorchFunctionMode):
    """While it is on, each tensor that a network computes carries the field of its units as ``tensor.field``.

    Convolutions and pooling widen the field; what joins tensors (a residual sum, a concatenation) takes the union;
    flattening and global pooling see everything; what else changes the height or width gives None: not known.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [t for t in _flat([args, kwargs or {}]) if hasattr(t, "field")]
        for result in _flat(out):
            if inputs and not (result is inputs[0] and len(inputs) == 1):
                result.field = _after(getattr(func, "__name__", ""), inputs, result, args, kwargs or {})
        return out


def _flat(value: Any) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _flat(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def _after(name: str, inputs: list[torch.Tensor], out: torch.Tensor, args: tuple, kwargs: dict) -> _Fields:
    """The fields of ``out``, which the function called ``name`` made of ``inputs``."""
    if any(t.field is None for t in inputs):
        return None
    fields = tuple(_union(axis) for axis in zip(*(t.field for t in inputs), strict=True))
    axes = len(fields)

    def given(i: int, key: str, default: Any) -> tuple[int, ...]:
        value = args[i] if len(args) > i else kwargs.get(key, default)
        return (value,) * axes if isinstance(value, (int, str)) else tuple(value) * (axes // len(value))

    if name == f"conv{axes}d":
        kernel = args[1].shape[2:]
        stride, padding, dilation = given(3, "stride", 1), given(4, "padding", 0), given(5, "dilation", 1)
        if padding[0] in ("same", "valid"):
            padding = [d * (k - 1) // 2 * (p == "same") for k, d, p in zip(kernel, dilation, padding, strict=True)]
    elif name in (f"max_pool{axes}d", f"avg_pool{axes}d"):
        kernel, padding = given(1, "kernel_size", None), given(3, "padding", 0)
        stride = given(2, "stride", kernel) if (args[2:3] or (kwargs.get("stride"),))[0] else kernel
        dilation = given(4, "dilation", 1) if name.startswith("max") else (1,) * axes
    elif name == "pad":
        before = [*(args[1] if len(args) > 1 else kwargs["pad"])[::2], *(0,) * axes][:axes][::-1]  # last axis first
        return tuple(f.through(1, 1, p) for f, p in zip(fields, before, strict=True))
    elif out.ndim != axes + 2 or (set(out.shape[2:]) == {1} and set(inputs[0].shape[2:]) != {1}):
        return (WHOLE,) * axes
    else:
        return fields if out.shape[2:] == inputs[0].shape[2:] else None
    return tuple(f.through(*step) for f, *step in zip(fields, kernel, stride, padding, dilation, strict=True))


def _union(fields: Sequence[Field]) -> Field:
    start = min(f.start for f in fields)
    size = math.inf if WHOLE in fields else max(f.start + f.size for f in fields) - start
    return Field(size, max(f.jump for f in fields), start)


class Row(NamedTuple):
    """One line of a layer table. ``output``: channels, height, width. ``field``: one an axis; None: not known."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: _Fields


@dataclass(frozen=True, repr=False)
class LayerTable:
    """The layers of a network in the order in which they run; shows itself as a table in a notebook.

    ``fields`` holds the field after every module by its name, blocks too; the totals count the whole network.
    """

    rows: list[Row]
    fields: dict[str, _Fields]
    parameters: int
    multiply_adds: int

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"There is no layer {name!r} in the table; there are: {', '.join(r.name for r in self.rows)}.")

    def _cells(self) -> list[list[str]]:
        head = ["layer", "kind", "output", "parameters", "multiply-adds", "receptive field"]
        body = [
            [r.name, r.kind, "×".join(map(str, r.output)), f"{r.parameters:,}", f"{r.multiply_adds:,}", _text(r.field)]
            for r in self.rows
        ]
        return [head, *body, ["whole network", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", ""]]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.rjust, row, widths)) for row in cells)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        head, *body = self._cells()
        return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in body)}</table>"


def _text(fields: _Fields) -> str:
    if fields is None:
        return "not known"
    sizes = ["all" if math.isinf(f.size) else f"{f.size:g}" for f in fields]
    return sizes[0] if len(set(sizes)) == 1 else "×".join(sizes)


def layer_table(
    model: nn.Module, input_shape: Sequence[int], *, skip: tuple[type[nn.Module], ...] = (nn.Dropout, nn.Identity)
) -> LayerTable:
    """Run the network once on the ``meta`` device, where tensors have shapes but no values: no memory, no work.

    Args:
        model: any network; it stays as it is.
        input_shape: with the batch axis, as (1, 3, 224, 224); multiply-adds are those of this batch.
        skip: kinds of layers to leave out of the rows (the totals count them).
    """
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta")) for p in model.parameters()}
    memo |= {id(b): b.to("meta") for b in model.buffers()}
    twin = copy.deepcopy(model, memo).eval()
    rows: list[Row] = []
    fields: dict[str, _Fields] = {}
    work = 0

    def record(name: str, module: nn.Module, inputs: tuple, out: Any) -> None:
        nonlocal work
        if not isinstance(out, torch.Tensor):
            return
        if min(out.shape, default=1) < 1:  # PyTorch 2.4 refuses no impossible window here
            raise ValueError(f"The layer {name} ({type(module).__name__}) makes nothing of so small an input.")
        fields[name] = getattr(out, "field", None)
        own = sum(p.numel() for p in module.parameters(recurse=False))
        first = _flat(inputs)[:1]
        here = multiply_adds(module, first[0].shape, out.shape) if first else 0
        work += here
        if (own or not any(module.children())) and not isinstance(module, skip):
            rows.append(Row(name, type(module).__name__, tuple(out.shape[1:]), own, here, fields[name]))

    for name, module in twin.named_modules():
        module.register_forward_hook(partial(record, name))
    x = torch.empty(*input_shape, device="meta")
    x.field = (Field(),) * (len(input_shape) - 2)
    with torch.no_grad(), _FieldTracker():
        twin(x)
    return LayerTable(rows, fields, parameters(model), work)
