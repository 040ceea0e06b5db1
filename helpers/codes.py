"""Features ("CNN codes") of an image set: any stage of any network, at the machine's speed, kept on disk.

A cached file is named by everything that changes the codes: the network's weights and preprocessing, stage, image
size, flip, crop, precision, engine, device, and the images' own hash. It holds a part of the images, so an extraction
that was interrupted goes on where it stopped; each carries checksums, and a damaged one is made again. A subset's codes
are rows of those of the set that it was taken from, where they are there.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from helpers import machine, parallel
from helpers.backbones import Backbone, evaluating
from helpers.datasets import ImageSet

_BATCH, _BATCH_ON_GPU = 64, 256
_VERSION = 1  # of the program: a larger one when it changes the codes
_PART = 4  # batches whose codes are one file: what an interruption costs at most
_BYTES = 800  # a pixel: three times VGG16's largest maps, of 64 floats
_WORTH_CONVERTING = 10_000_000  # pixels: until OpenVINO has converted a network, PyTorch has done 1,000 images of 96²
VIEWS = ({}, {"flip": True}, {"crop": 0.875}, {"flip": True, "crop": 0.875})
"""Views of an image for ``extract``; the mean code over them is better than one (Razavian et al. 2014, section 3)."""


_converted: dict[tuple, Any] = {}  # the last network for OpenVINO: another view or set needn't convert it again


def extract(
    backbone: Backbone,
    image_set: ImageSet,
    stage: str = "penultimate",
    *,
    size: int | None = None,
    flip: bool = False,
    crop: float = 1.0,
    engine: str = "auto",
    precision: str = "float32",
    cache: bool = True,
    device: torch.device | None = None,
    progress: bool = True,
) -> torch.Tensor:
    """One code an image, float32 (N, D), on the CPU.

    Args:
        size: pixels of a side that the network is given; the images' own when ``None``.
        flip, crop: mirror the images first; take the middle of each, this part of its height and width.
        engine: "torch", "openvino" (a CPU only), or "auto": OpenVINO on a CPU where it is installed and agrees.
        precision: "float32" (newer NVIDIA GPUs round to TF32 inside convolutions, as is usual in PyTorch), or "bf16":
            codes a tenth off, for speed where the chip has bf16 (benchmarks/codes.py).
        cache: look on the disk first, and keep the result there.
    """
    device = device or machine.device()
    size = size or image_set.images.shape[-1]
    if engine not in ("auto", "torch", "openvino"):
        raise ValueError(f"engine is {engine!r}: it must be 'auto', 'torch' or 'openvino'.")
    if precision not in ("float32", "bf16"):
        raise ValueError(f"precision is {precision!r}: it must be 'float32' or 'bf16'.")
    weights = backbone.fingerprint() if cache or device.type == "cpu" else ""  # of a large network it takes longer
    folder = machine.cache_dir() / "codes"
    folder.mkdir(exist_ok=True)

    def files_of(images: ImageSet) -> list[Path]:
        what = (_VERSION, weights, stage, size, flip, crop, images.fingerprint, engine, device.type, precision)
        key = hashlib.blake2b(repr(what).encode(), digest_size=12).hexdigest()
        name = machine.file_name(f"{backbone.name}-{stage}-{images.name}")
        return [folder / f"{name}-{key}-{start}.npz" for start in range(0, max(1, len(images)), part_size)]

    part_size = _PART * (_BATCH_ON_GPU if device.type == "cuda" else _BATCH)
    files = files_of(image_set) if cache else []

    def known() -> torch.Tensor | None:
        found = _read(files)
        return _from_larger(image_set, files_of) if found is None else found

    def compute(part: ImageSet, keep: bool) -> torch.Tensor:
        with evaluating(backbone.to(device)):
            first = _batch(image_set, 0, size, flip, crop, device, count=4)
            fast = "torch" if engine == "auto" and len(part) * size**2 < _WORTH_CONVERTING else engine
            program = _Codes(backbone, stage)
            run = _runner(program, first, fast, device, precision, (weights, stage, first.shape[1:], first.dtype))
            label = f"codes of {image_set.name} ({backbone.name}, {stage}, {size} px)"
            quiet = {} if progress and parallel.first() else {"disable": True}  # else as TQDM_DISABLE says
            count = _BATCH
            if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] > _BATCH_ON_GPU * size**2 * _BYTES:
                count = _BATCH_ON_GPU
            room = machine.room(f"{count} images of {size} x {size} pixels", "choose a smaller size=...")
            found = [] if len(part) else [torch.from_numpy(next(_in_turn(run, [first[:1]]))[:0])]
            with tqdm(total=len(part), desc=label, unit="image", leave=False, **quiet) as bar, room:
                for number, begin in enumerate(range(0, len(part), part_size)):
                    values = _read(files[number : number + 1]) if keep else None
                    if values is None:
                        starts = range(begin, min(begin + part_size, len(part)), count)
                        batches = (_batch(part, start, size, flip, crop, device, count) for start in starts)
                        rows = []
                        for codes in _in_turn(run, batches):
                            rows.append(codes)
                            bar.update(len(codes))
                        values = torch.from_numpy(np.concatenate(rows))
                        keep = keep and _write(files[number], values)
                    else:
                        bar.update(len(values))
                    found.append(values)
        for compiled in _converted.values():
            compiled.release_memory()  # of a batch's maps; the program stays
        machine.give_memory_back()
        return torch.cat(found)

    if parallel.count() > 1:
        if cache and (found := parallel.from_first(known)) is not None:
            return found
        places = torch.arange(len(image_set))[parallel.share(len(image_set))]
        found = parallel.gather(compute(image_set.subset(places), keep=False), len(image_set))
        if cache and parallel.first():
            all(map(_write, files, found.split(part_size)))
        return found
    if not cache:
        return compute(image_set, keep=False)
    if (found := known()) is not None:
        return found
    # A second process that wants the same codes waits for them; in a folder for all, it may be another user's.
    with FileLock(files[0].with_suffix(".lock"), mode=0o666):
        found = known()
        return compute(image_set, keep=True) if found is None else found


def _from_larger(image_set: ImageSet, files_of: Callable[[ImageSet], list[Path]]) -> torch.Tensor | None:
    """The codes of a subset, from those of a set that it is a part of; ``None`` when there are none."""
    larger, rows = image_set, torch.arange(len(image_set))
    while larger.part_of is not None and len(larger.part_of[1]) == len(larger):
        larger, rows = larger.part_of[0], larger.part_of[1][rows]
        if (found := _read(files_of(larger))) is not None:
            # Somebody may have put other images in the place of these (dataclasses.replace).
            pairs = zip(rows.split(256), image_set.images.split(256), strict=True)
            same = larger.images.dtype == image_set.images.dtype
            return found[rows] if same and all(torch.equal(larger.images[i], own) for i, own in pairs) else None
    return None


def _batch(
    image_set: ImageSet,
    start: int,
    size: int,
    flip: bool,
    crop: float,
    device: torch.device,
    count: int = _BATCH,
) -> torch.Tensor:
    """``count`` images from ``start`` on, uint8, (n, C, size, size); on a GPU if there is one."""
    images = image_set.images[start : start + count]
    if device.type == "cuda":  # page-locked memory travels without the processor
        images = images.contiguous().pin_memory().to(device, non_blocking=True)
    if crop < 1:
        edge = round(images.shape[-1] * (1 - crop) / 2)
        images = images[..., edge : images.shape[-2] - edge, edge : images.shape[-1] - edge]
    if images.shape[-1] != size:
        images = F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True, align_corners=False)
        images = images.round().clamp(0, 255).to(torch.uint8)
    return images.flip(-1) if flip else images


def _in_turn(
    run: Callable[[torch.Tensor], np.ndarray | torch.Tensor], batches: Iterable[torch.Tensor]
) -> Iterator[np.ndarray]:
    """The codes of each batch. A GPU computes a batch while those of the one before are written."""
    before = None
    for images in batches:
        now = run(images)
        if isinstance(now, np.ndarray):
            yield now
            continue
        now = now.to("cpu", non_blocking=True), torch.cuda.current_stream(now.device).record_event()
        if before is not None:
            yield _arrived(*before)
        before = now
    if before is not None:
        yield _arrived(*before)


def _arrived(values: torch.Tensor, copied: torch.cuda.Event) -> np.ndarray:
    copied.synchronize()
    return values.numpy()


class _Codes(nn.Module):
    """Pixels -> codes, as a module of its own: that is what is converted."""

    def __init__(self, backbone: Backbone, stage: str) -> None:
        super().__init__()
        self.backbone, self.stage = backbone, stage

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.backbone.codes(images, self.stage)


def _runner(
    program: _Codes, example: torch.Tensor, engine: str, device: torch.device, precision: str, what: tuple
) -> Callable[[torch.Tensor], np.ndarray | torch.Tensor]:
    """The function that turns a batch of pixels into codes, which on CUDA stay there.

    what: names the program, for the next set or view.
    """

    @torch.inference_mode()
    def with_torch(images: torch.Tensor) -> np.ndarray | torch.Tensor:
        pixels = images.to(device).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            values = program(pixels).float()
        return values if device.type == "cuda" else values.cpu().numpy()

    program.to(memory_format=torch.channels_last)  # 1.2 to 1.8x on this CPU path, for convolutions
    if device.type != "cpu" or engine == "torch":
        return with_torch
    what += (precision,)
    if what in _converted:
        return partial(_with_openvino, _converted[what])
    # OpenVINO fuses convolution, BatchNorm and activation: for Lite0 1.5 to 2 times as fast as PyTorch on a CPU,
    # 3.6 to 5.6 times where freed memory isn't kept (benchmarks/codes.py). It serves only if it returns the same.
    try:
        compiled = _openvino(program, example, precision)
        expected, got = with_torch(example[:4]), _with_openvino(compiled, example[:4])
        near = 1e-3 if precision == "float32" else 0.2  # two bf16 programs round at other places
        if np.linalg.norm(expected - got) <= near * np.linalg.norm(expected):
            _converted.clear()
            _converted[what] = compiled
            return partial(_with_openvino, compiled)
        reason = "its codes differ from PyTorch's"
    except Exception as error:  # not installed, or a layer that it can't convert: PyTorch serves
        reason = machine.reason(error)
    if engine == "openvino":
        raise RuntimeError(f"OpenVINO can't serve {program.backbone.name} here ({reason}): use engine='torch'.")
    print(f"Codes are computed with PyTorch, not OpenVINO ({reason}): right, but slower.")
    return with_torch


def _with_openvino(compiled: Any, images: torch.Tensor) -> np.ndarray:
    return compiled(np.ascontiguousarray(images.numpy()))[0].copy()


def _openvino(program: _Codes, example: torch.Tensor, precision: str) -> Any:
    """OpenVINO's compiled model of the program."""
    core, model = _convert(program, example)
    # By name: the default rounds to bfloat16 where the CPU has it, and then codes depend on the machine.
    options = {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bf16": "bf16"}[precision]}
    if "OMP_NUM_THREADS" in os.environ:  # several processes share the cores, and OpenVINO doesn't look
        options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    return core.compile_model(model, "CPU", options)


def _convert(program: _Codes, example: torch.Tensor) -> tuple:
    """(OpenVINO's core, the network as its model) for any number of images like ``example``."""
    sys.modules.setdefault("openvino_telemetry", None)  # nothing is reported to anyone
    import openvino

    # Traced: for OpenVINO, torch.export would write each layer out in simpler operations, which takes much
    # longer. Without gradients: weights that were moved in inference mode can't be traced with them.
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing's own: it is no longer developed
        traced = torch.jit.trace(program.eval(), (example[:2],), check_trace=False)
        shape = [-1, *example.shape[1:]]
        # Its own copy of the weights: these may be trained further while the program is kept.
        model = openvino.convert_model(traced, example_input=example[:2], input=shape, share_weights=False)
        return openvino.Core(), model


def _write(file: Path, values: torch.Tensor) -> bool:
    """Whole or not at all; False, and a line, where there is no room."""
    whole = io.BytesIO()
    np.savez(whole, codes=values.numpy())  # a zip file, which has checksums
    if why := machine.keep(file, whole.getbuffer()):
        print(f"Codes can't be kept in {file.parent} ({why}): they will be computed again.")
    return not why


def _read(files: list[Path]) -> torch.Tensor | None:
    """The cached codes, or ``None`` when some are missing or damaged."""
    found = []
    for file in files:
        if not file.exists():
            return None
        try:
            with zipfile.ZipFile(file) as archive:  # reads to the end, where the checksum is compared: np.load may not
                found.append(np.load(io.BytesIO(archive.read("codes.npy"))))
        except Exception:  # NumPy and zipfile raise many kinds
            print(f"The cached codes {file.name} are damaged: they are computed again.")
            file.unlink(missing_ok=True)
            return None
    return torch.from_numpy(np.concatenate(found))
