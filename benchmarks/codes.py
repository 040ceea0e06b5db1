"""Codes a second on this device: ``python benchmarks/codes.py``.

- eager, channels_last: the network in PyTorch, in evaluation mode, batches of 64, each in a process of its own whose
  freed memory is left to the system; "channels_last, memory kept" keeps it as ``helpers.machine`` does;
- ours: ``helpers.codes.extract`` without its cache, resizing and conversion of the network included;
- ours, again: the second view of the same set (the network is converted already);
- ours, bf16, and again: asked for with ``precision="bf16"``;
- OpenVINO's own, ONNX Runtime's own: the converted network alone on batches that are there already;
- on a GPU (batches of 256): PyTorch's network alone, and compiled (without the time that takes), on a batch that lies
  there already.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import time
from collections.abc import Callable
from functools import partial

import torch
from common import apart, keep, take_turns

from helpers import backbones, codes, datasets, machine

ON_GPU = machine.device().type == "cuda"
BATCH = 256 if ON_GPU else 64


def load(name: str) -> backbones.Backbone:
    return backbones.load(name, pretrained=name.startswith("efficientnet")).eval()


def speed(images: torch.Tensor, run: Callable[[torch.Tensor], object]) -> float:
    run(images[:BATCH])
    start = time.perf_counter()
    for part in images.split(BATCH):
        run(part)
    return len(images) / (time.perf_counter() - start)


def torch_alone(name: str, size: int, layout: torch.memory_format) -> float:
    images = datasets.load("solar-cells", size=size).images[: (8 if ON_GPU else 4) * BATCH]  # slow: needs no more
    device = machine.device()
    network = load(name).to(device, memory_format=layout)
    with torch.inference_mode():
        return speed(images, lambda part: network.codes(part.to(device).float().contiguous(memory_format=layout)).cpu())


def resident(name: str, size: int, count: int, compiled: bool) -> Callable[[], float]:
    device = machine.device()
    network = load(name)
    parent, _, child = network._head_name.rpartition(".")
    setattr(network.net.get_submodule(parent), child, torch.nn.Identity())  # what it returns are the codes
    network.to(device, memory_format=torch.channels_last)
    pixels = torch.rand(BATCH, 3, size, size, device=device).mul(255).contiguous(memory_format=torch.channels_last)
    run = torch.compile(network) if compiled else network

    @torch.inference_mode()
    def measure() -> float:
        run(pixels).sum().item()  # waits
        start = time.perf_counter()
        for _ in range(count // BATCH):
            last = run(pixels)
        last.sum().item()
        return count / (time.perf_counter() - start)

    return measure


def ours(network: backbones.Backbone, image_set: datasets.ImageSet, fresh: bool, **options: str) -> float:
    if fresh:
        codes._converted.clear()
    start = time.perf_counter()
    codes.extract(network, image_set, cache=False, progress=False, flip=not fresh, **options)
    return len(image_set) / (time.perf_counter() - start)


def onnx_arm(network: backbones.Backbone, images: torch.Tensor) -> Callable[[], float]:
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(codes._Codes(network, "penultimate").eval(), (images[:BATCH].float(),), file, dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: speed(images, lambda part: session.run(None, {name: part.float().numpy()}))


def openvino_arm(network: backbones.Backbone, images: torch.Tensor, precision: str) -> Callable[[], float]:
    """Several batches at once, as its documentation advises for throughput."""
    core, model = codes._convert(codes._Codes(network, "penultimate"), images[:BATCH])
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = core.compile_model(model, "CPU", hints)
    from openvino import AsyncInferQueue

    def measure() -> float:
        compiled(images[:BATCH].numpy())
        queue, start = AsyncInferQueue(compiled), time.perf_counter()
        for part in images.split(BATCH):
            queue.start_async({0: part.numpy()})
        queue.wait_all()
        return len(images) / (time.perf_counter() - start)

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks = ["efficientnet_lite0", "resnet18", *(["vgg16"] if ON_GPU else [])]
    parser.add_argument("--networks", nargs="*", default=networks)
    parser.add_argument("--images", type=int, default=8192 if ON_GPU else 1024)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    whole = datasets.load("solar-cells", size=options.size)
    image_set = whole.subset(torch.arange(max(1, options.images // BATCH) * BATCH) % len(whole))
    figures = {}
    for name in options.networks:
        network = load(name)
        eager, last = torch.contiguous_format, torch.channels_last
        alone = partial(torch_alone, name, options.size) if ON_GPU else partial(apart, torch_alone, name, options.size)
        system = {} if ON_GPU else {"memory": "system"}
        arms = {"eager": partial(alone, eager, **system), "channels_last": partial(alone, last, **system)}
        if not ON_GPU:
            arms["channels_last, memory kept"] = partial(alone, last, memory="kept")
        arms |= {
            "ours": lambda n=network: ours(n, image_set, fresh=True),
            "ours, again": lambda n=network: ours(n, image_set, fresh=False),
            "ours, bf16": lambda n=network: ours(n, image_set, fresh=True, precision="bf16"),
            "ours, bf16, again": lambda n=network: ours(n, image_set, fresh=False, precision="bf16"),
        }
        if ON_GPU:
            arms["PyTorch alone"] = resident(name, options.size, len(image_set), compiled=False)
            arms["PyTorch alone, compiled"] = resident(name, options.size, len(image_set), compiled=True)
        if not ON_GPU and importlib.util.find_spec("openvino"):
            for precision in ("f32", "bf16"):
                arms[f"OpenVINO's own, {precision}"] = openvino_arm(network, image_set.images, precision)
        if not ON_GPU and importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
            arms["ONNX Runtime's own"] = onnx_arm(network, image_set.images)
        print(f"{name}, {options.size} pixels")
        figures[name] = take_turns(arms, options.rounds)
        keep(f"codes-{machine.device().type}", figures, "images/s", settings=vars(options))


if __name__ == "__main__":
    main()
