"""What crosses the line between a student's process and the judge.

To the judge go plain data only, never pickles: numbers, text, containers, arrays, and the layers of ``torch.nn`` as
data. Everything else becomes an `Opaque` (or a `Function`, which can be called over the line). So an object whose
``__eq__`` always agrees, or whose unpickling runs code, can't reach the judge. To the student go pickles: that
process trusts the judge.
"""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import io
import itertools
import json
import math
import pickle
import socket
import struct
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

LARGEST, LARGEST_HEAD = 64 * 2**20, 16 * 2**20  # bytes of one message, and of the JSON in it
LONGEST = 100_000  # elements of an iterator
_DTYPES = {str(d).removeprefix("torch."): d for d in vars(torch).values() if isinstance(d, torch.dtype)}
_LAYERS = {
    name: kind for name, kind in vars(nn).items() if isinstance(kind, type) and issubclass(kind, nn.Module)
}  # what a layer may claim to be
_VIEWS = {
    type(view): name
    for made in ({}, collections.OrderedDict())
    for name, view in (("keys", made.keys()), ("values", made.values()), ("items", made.items()))
}
_DICTS = {kind.__name__: kind for kind in (dict, collections.OrderedDict, collections.Counter)}


class Broken(Exception):
    """The other side is gone, or doesn't keep to the protocol."""


@dataclasses.dataclass(frozen=True)
class Opaque:
    """A student's object that isn't plain data: only the name of its type is known."""

    kind: str

    def __repr__(self) -> str:
        return f"a {self.kind}"


def send(line: socket.socket, head: Any, body: bytes = b"") -> None:
    """One message: JSON, and bytes behind it."""
    text = json.dumps(head).encode()
    if len(text) > LARGEST_HEAD or len(text) + len(body) > LARGEST:
        raise Broken("an answer is too large")
    line.sendall(struct.pack("<II", len(text), len(body)) + text + body)


def receive(line: socket.socket) -> tuple[Any, bytes]:
    """The next message.

    Raises:
        Broken: the other side is gone, or sent what is no message.
        TimeoutError: nothing came in the time that the socket has.
    """
    try:
        end = time.monotonic() + (line.gettimeout() or float("inf"))  # for all of it: a trickle is no answer
        text, body = struct.unpack("<II", _exactly(line, 8, end))
        if text > LARGEST_HEAD or text + body > LARGEST:
            raise Broken("an answer is too large")
        return json.loads(_exactly(line, text, end)), _exactly(line, body, end)
    except TimeoutError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise Broken(str(error)) from None


def _exactly(line: socket.socket, size: int, end: float) -> bytes:
    parts = []
    while size:
        part = line.recv(min(size, 1 << 20))
        if time.monotonic() > end:
            raise TimeoutError
        if not part:
            raise Broken("the student's process ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def members(value: Any, seen: dict[int, Any] | None = None) -> list[Any]:
    """The tensors and layers inside arguments, in an order that is the same on both sides of the line."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return list(seen.values())
    if isinstance(value, (torch.Tensor, nn.Module)):
        seen[id(value)] = value
    children: Iterator[Any] = iter(())
    if isinstance(value, nn.Module):
        children = iter([*value._parameters.values(), *value._buffers.values(), *value._modules.values()])
    elif isinstance(value, (list, tuple)):
        children = iter(value)
    elif isinstance(value, dict):
        children = iter(value.values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = iter(vars(value).values())
    for child in children:
        members(child, seen)
    return list(seen.values())


# From the student to the judge: plain data


class Encoder:
    """Python objects -> JSON and bytes. ``known`` are objects that the judge has: they go as their number."""

    def __init__(self, known: list[Any] = (), function: Callable[[Any], Any] | None = None) -> None:
        self._known = {id(value): i for i, value in enumerate(known)}
        self._keep = list(known)  # an id is only good while its object lives
        self._function = function
        self.body = bytearray()

    def encode(self, value: Any, depth: int = 0) -> Any:
        kind = type(value)
        if depth > 40:
            return {"opaque": "structure that is nested too deeply"}
        if value is None or kind in (bool, str):
            return value
        if kind is np.str_:
            return str(value)
        if kind is int:
            return {"int": str(value)} if value.bit_length() < 4000 else {"opaque": "int of over 1,000 digits"}
        if kind is float:
            return {"float": value.hex()}
        if kind is complex:
            return {"complex": [value.real.hex(), value.imag.hex()]}
        if value is ...:
            return {"ellipsis": 1}
        if kind in (list, tuple, set, frozenset, torch.Size):
            return {kind.__name__: [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, tuple):  # one with names
            return {"tuple": [self.encode(item, depth + 1) for item in tuple.__iter__(value)]}
        kind = dict if kind is collections.defaultdict else kind  # its factory may be code of the student
        if kind in _DICTS.values():
            return {kind.__name__: [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in value.items()]}
        if kind in _VIEWS:
            return {_VIEWS[kind]: [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, collections.abc.Iterator):  # map, filter, a generator: in a notebook it can be read once
            items = list(itertools.islice(value, LONGEST + 1))
            if len(items) <= LONGEST:
                return {"iterator": [self.encode(item, depth + 1) for item in items]}
        if kind is range:
            return {"range": [str(n) for n in (value.start, value.stop, value.step)]}
        if kind in (torch.Tensor, nn.Parameter):
            return self._number(value) or self.tensor(value)
        if kind is np.ndarray or isinstance(value, np.generic):
            array = np.asarray(value)
            if array.dtype.kind in "biufc":
                return {
                    "array": [array.dtype.str, list(array.shape), *self._bytes(array.tobytes())],
                    "is": kind is not np.ndarray,
                }
        if isinstance(value, nn.Module):
            return self._number(value) or self._layer(value, depth)
        if callable(value) and self._function and not isinstance(value, type):
            return self._function(value)
        return {"opaque": kind.__name__[:60]}

    def tensor(self, value: torch.Tensor) -> Any:
        """A tensor's values, dtype, and whether it learns."""
        if value.layout is not torch.strided or value.is_quantized:
            return {"opaque": "tensor that isn't dense"}
        data = value.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        raw = data.reshape(-1).view(torch.uint8).numpy().tobytes() if data.numel() else b""
        flags = [type(value) is nn.Parameter, value.requires_grad, value.grad_fn is not None]
        return {"tensor": [str(value.dtype)[6:], list(value.shape), *self._bytes(raw)], "flags": flags}

    def state(self, layer: nn.Module, depth: int = 0) -> dict[str, Any]:
        """What a layer is made of."""
        hidden = ("_parameters", "_buffers", "_modules")
        plain = {k: self.encode(v, depth + 1) for k, v in vars(layer).items() if k[:1] != "_" and type(k) is str}
        parts = {key: {k: self.encode(v, depth + 1) for k, v in vars(layer)[key].items()} for key in hidden}
        return {"plain": plain, **parts}

    def _layer(self, layer: nn.Module, depth: int) -> Any:
        kind = type(layer)
        if _LAYERS.get(kind.__name__) is kind and "forward" not in vars(layer) and not layer._forward_hooks:
            self._known[id(layer)] = len(self._known)
            self._keep.append(layer)
            return {"layer": kind.__name__, **self.state(layer, depth)}
        return self._function(layer) if self._function else {"opaque": kind.__name__[:60]}

    def _number(self, value: Any) -> Any:
        return {"known": self._known[id(value)]} if id(value) in self._known else None

    def _bytes(self, raw: bytes) -> list[int]:
        self.body += raw
        return [len(self.body) - len(raw), len(raw)]


class Decoder:
    """The way back, in the judge. Whatever comes is taken for hostile: a surprise raises `Broken`."""

    def __init__(self, body: bytes, known: list[Any] = (), function: Callable[[Any], Any] | None = None) -> None:
        self._body, self._known, self._function = body, list(known), function
        self.differentiable: Callable[[int, torch.Tensor], torch.Tensor] | None = None
        self._tensors = 0

    def decode(self, item: Any) -> Any:
        try:
            return self._decode(item)
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"it sent what can't be read ({type(error).__name__})") from None

    def _decode(self, item: Any) -> Any:
        if item is None or isinstance(item, (bool, str)):
            return item
        (key, value), *rest = item.items()
        if key == "int":
            return int(value[:1100])
        if key == "float":
            return float.fromhex(value)
        if key == "complex":
            return complex(*map(float.fromhex, value))
        if key == "ellipsis":
            return ...
        if key in ("list", "tuple", "set", "frozenset", "Size"):
            kinds = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "Size": torch.Size}
            return kinds[key](self._decode(part) for part in value)
        if key in _DICTS:
            return _DICTS[key]({self._decode(k): self._decode(v) for k, v in value})
        if key == "keys":
            return dict.fromkeys(map(self._decode, value)).keys()
        if key == "values":
            return dict(enumerate(map(self._decode, value))).values()
        if key == "items":
            return dict(map(self._decode, value)).items()
        if key == "iterator":
            return iter([self._decode(part) for part in value])
        if key == "range":
            made = range(*(int(part[:20]) for part in value))
            return made if len(made) <= 100 * LONGEST else Opaque("range that is too long")
        if key == "known":
            return self._known[int(value)]
        if key == "tensor":
            return self._tensor(value, dict(rest)["flags"])
        if key == "array":
            dtype, shape, start, size = value
            array = np.frombuffer(self._body, np.uint8, size, start).view(_plain(dtype)).reshape(shape).copy()
            return array[()] if dict(rest)["is"] else array
        if key == "layer":
            layer = _LAYERS[value].__new__(_LAYERS[value])
            nn.Module.__init__(layer)
            self._known.append(layer)
            self.restore(layer, dict(rest))
            return layer
        if key == "function" and self._function:
            return self._function(item)
        if key == "opaque":
            return Opaque(str(value)[:60])
        raise Broken("it sent what can't be read")

    def restore(self, layer: nn.Module, state: Mapping[str, Any]) -> None:
        """Make a layer what the state says. Its parts are data: a student's function can't become its forward."""
        self._function = None
        for name, value in state["plain"].items():
            vars(layer)[name] = self._decode(value)
        for key in ("_parameters", "_buffers", "_modules"):
            kinds = {"_modules": (nn.Module, Opaque, types.NoneType)}.get(key, (torch.Tensor, types.NoneType))
            parts = {name: self._decode(value) for name, value in state[key].items()}
            if not all(isinstance(part, kinds) for part in parts.values()):
                raise Broken("a layer of parts that are none")
            vars(layer)[key] = parts

    def _tensor(self, value: list, flags: list[bool]) -> torch.Tensor:
        dtype, shape, start, size = value
        if math.prod(shape) * _DTYPES[dtype].itemsize != size:  # else what isn't sent would be the judge's memory
            raise Broken("a tensor of another size than it says")
        if size:
            raw = bytearray(self._body[start : start + size])
            data = torch.frombuffer(raw, dtype=_DTYPES[dtype]).reshape(shape)
        else:
            data = torch.zeros(shape, dtype=_DTYPES[dtype])
        number, self._tensors = self._tensors, self._tensors + 1
        parameter, learns, computed = flags
        if parameter:
            return nn.Parameter(data, requires_grad=bool(learns))
        if computed and self.differentiable:
            return self.differentiable(number, data)
        return data.requires_grad_(bool(learns)) if data.is_floating_point() else data

    def update(self, target: torch.Tensor | nn.Module, item: Any) -> None:
        """Do to the judge's object what the student's function did to its copy."""
        try:
            if isinstance(target, nn.Module):
                self.restore(target, item)
                return
            new = self._decode(item)
            if isinstance(new, torch.Tensor):
                target.data = new.detach()
                if target.is_leaf and target.is_floating_point():
                    target.requires_grad_(new.requires_grad)
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"it sent what can't be read ({type(error).__name__})") from None


def _plain(dtype: str) -> np.dtype:
    kind = np.dtype(dtype)
    if kind.kind not in "biufc":
        raise Broken("an array of objects")
    return kind


# From the judge to the student: pickles, functions as numbers


def pack(value: Any, function: Callable[[Any], int]) -> bytes:
    """Pickle arguments. A function of the check's goes as a number: the student calls it over the line."""
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        dispatch_table = copyreg.dispatch_table.copy()

        def persistent_id(self, item: Any) -> Any:
            own = type(item) is types.FunctionType and (item.__module__ == "__main__" or "<" in item.__qualname__)
            return function(item) if own else None

    Pickler(buffer).dump(value)
    return buffer.getvalue()


def unpack(data: bytes, function: Callable[[int], Any]) -> Any:
    """The way back, in the student's process."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: Any) -> Any:
            return function(number)

    return Unpickler(io.BytesIO(data)).load()


def text(value: Any, most: int = 300) -> str:
    """A student's text, safe to print."""
    return str(value)[:most].encode("utf-8", "replace").decode()
