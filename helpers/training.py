"""The training loop: ``fit``, ``evaluate`` and a ``History``.

The images are one uint8 tensor. It is put on the device when it fits, and each batch is cut out of it, augmented and
normalised there, all images of a batch at once: no worker processes, no copies, and on a GPU nothing in the loop waits
for the device, which gets a step's forward and backward pass in one call (``helpers.replay``). Under torchrun several
processes share each batch (``helpers.parallel``).
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import time
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from helpers import machine, parallel
from helpers.backbones import evaluating
from helpers.datasets import ImageSet, resized
from helpers.depthwise import quick_depthwise
from helpers.replay import Replay

_WORTH_RECORDING = 10  # steps: the first three are computed as ever, and to record costs about as much as one more

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""(images float (N, C, H, W) in 0-255, generator) -> images of the same kind, on the same device."""


@dataclass
class History:
    """What happened in each epoch: a dictionary of "epoch" (from 1), "train_loss", "train_accuracy", "rate", "seconds",
    and "validation_loss" and "validation_accuracy" where there is a validation set.

    ``best``: the place in ``epochs`` (from 0) whose weights the model has; -1 when none was finished. ``stopped`` is
    "finished", "interrupted" or "diverged".
    """

    epochs: list[dict] = field(default_factory=list)
    best: int = -1
    stopped: str = "finished"

    def __getitem__(self, key: str) -> list[float]:
        """One curve: ``history["validation_accuracy"]``, say."""
        return [epoch[key] for epoch in self.epochs if key in epoch]

    def __repr__(self) -> str:
        if not self.epochs:
            return f"History(no epoch, {self.stopped})"
        numbers = ", ".join(
            f"{k} {v:.3g}" for k, v in self.epochs[self.best].items() if k.endswith(("loss", "accuracy"))
        )
        return f"History({len(self.epochs)} epochs, {self.stopped}; kept epoch {self.best + 1}: {numbers})"


@dataclass(frozen=True)
class Metrics:
    """Each image counts once (not each batch). ``auc`` is for two classes only; ``weighted_accuracy`` counts an image
    by how sure its label is, where labels are soft (solar cells: 1 or 2/3)."""

    loss: float
    accuracy: float
    balanced_accuracy: float
    weighted_accuracy: float
    auc: float | None
    confusion: torch.Tensor  # (true class, predicted class) counts
    probabilities: torch.Tensor  # (N, classes)

    def __repr__(self) -> str:
        auc = "" if self.auc is None else f", AUC {self.auc:.1%}"
        return (
            f"Metrics(accuracy {self.accuracy:.1%}, balanced {self.balanced_accuracy:.1%}{auc}, loss {self.loss:.3f})"
        )


def fit(
    model: nn.Module,
    train: ImageSet,
    validation: ImageSet | None = None,
    *,
    epochs: int,
    rate: float = 1e-3,
    groups: list[dict] | None = None,
    optimiser: str = "adamw",
    weight_decay: float = 1e-4,
    schedule: str = "onecycle",
    batch: int = 64,
    size: int | None = None,
    augment: Augment | None = None,
    label_smoothing: float = 0.0,
    soft: bool = False,
    precision: str = "auto",
    seed: int = 0,
    keep_best: bool = True,
    checkpoint: str | Path | None = None,
    on_epoch: Callable[[nn.Module, History], None] | None = None,
    progress: bool = True,
) -> History:
    """Train ``model``, in place, on pixels 0-255; it returns with the weights of its best epoch.

    Args:
        train, validation: image sets. ``validation`` chooses the best epoch, so it must never be the test set; without
            one, the last finished epoch is kept.
        rate, groups: the highest learning rate, or an optimiser's groups (``backbones.parameter_groups``).
        optimiser: "adamw", or "sgd" (momentum 0.9, Nesterov).
        schedule: "onecycle" (Smith & Topin 2017; momentum falls to 0.85 while the rate is high) or "constant".
        weight_decay: of all weights (``backbones.parameter_groups`` spares biases and norms), where a group has none.
        size: train on images of this many pixels a side (the images' own when ``None``).
        soft: learn the set's soft labels (probabilities) in place of its hard ones.
        precision: "auto" (on CUDA bf16, or fp16 where the GPU has no bf16; else float32), "float32", "bf16", "fp16".
        checkpoint: a file, written after each epoch. When it is there already, training goes on from it, and ends with
            the same weights as if it had not been interrupted.
        on_epoch: called after each epoch with the model and the history so far. What it changes in the model stays.
        seed: of the order, the augmentation and dropout. Python's, NumPy's and PyTorch's random numbers start from it.

    On a GPU the forward and backward pass are recorded in the first steps and replayed (``helpers.replay``): what a
    model's ``forward`` does in Python beside its layers (it counts its calls, say) happens in those steps only.

    Raises:
        ValueError: the images, labels and model don't fit each other; the message says how.
    """
    device = machine.device()
    side = size or train.images.shape[-1]
    advice = f"try batch={max(1, batch // 2)}, a smaller size=..., or a smaller network"
    room = f"a batch of {batch} images of {side} x {side} pixels", advice
    model.to(device, memory_format=torch.channels_last)
    _check(model, train, validation, epochs, batch, size, soft)
    machine.seed_everything(seed)
    with machine.room(f"{len(train)} images of {side} x {side} pixels", "choose a smaller size=..., or fewer images"):
        images, labels = _resident(_resized(train, size).images, device), (train.soft if soft else train.labels)
        labels = labels.to(device)
    small = None if validation is None else _resized(validation, size)
    batches = _batches_an_epoch(len(train), batch)
    steps = epochs * batches
    stepper = _Stepper(
        model, groups, optimiser, rate, weight_decay, schedule, steps, precision, label_smoothing, device
    )
    unchanged = steps if on_epoch is None else batches  # steps; on_epoch may change the model
    own_gpu = device.type == "cuda" and device.index in (None, torch.cuda.current_device())  # no other's is recorded
    stepper.replay.possible = own_gpu and parallel.count() == 1 and unchanged >= _WORTH_RECORDING
    history, best_state = History(), None
    settings = ""
    if checkpoint is not None:
        rates = [(group.get("lr", rate), group.get("weight_decay", weight_decay)) for group in groups or ({},)]
        what = (epochs, batch, size, seed, optimiser, schedule, rates, soft, label_smoothing, precision, keep_best)
        sets = [images and images.fingerprint for images in (train, validation)]
        settings = f"{what} {_described(augment)} {sets}"
        if Path(checkpoint).exists():
            best_state = _resume(Path(checkpoint), settings, model, stepper, history)

    quiet = {} if progress and parallel.first() else {"disable": True}  # else as TQDM_DISABLE says
    bar = tqdm(total=steps, desc="training", leave=False, unit="batch", **quiet)
    bar.update(len(history.epochs) * batches)
    try:
        for epoch in range(len(history.epochs), epochs):
            start = time.perf_counter()
            # Everything random of an epoch hangs on (seed, epoch): an interrupted run goes on as if it hadn't been.
            machine.seed_everything(seed * 1000 + epoch)
            generator = torch.Generator(device).manual_seed(seed * 1000 + epoch)
            order = torch.randperm(len(train), generator=generator, device=device)
            places = order.to(images.device)
            model.train()
            loss_sum = torch.zeros((), device=device)
            correct = torch.zeros((), device=device)
            for i in range(batches):
                here = slice(i * batch, (i + 1) * batch)
                with machine.room(*room):
                    pixels, target = images[places[here]].to(device, non_blocking=True).float(), labels[order[here]]
                    if augment is not None:  # of all images, by all processes: the same random numbers as one alone
                        pixels = augment(pixels, generator)
                    pixels = pixels.contiguous(memory_format=torch.channels_last)
                    loss, right = stepper.step(pixels, target)
                loss_sum += loss * len(target)  # stays on the device: no waiting
                correct += right
                bar.update()
            seen = min(len(train), batches * batch)
            loss_sum, correct = parallel.total(loss_sum), parallel.total(correct)
            row = {"epoch": epoch + 1, "train_loss": loss_sum.item() / seen, "train_accuracy": correct.item() / seen}
            row |= {"rate": stepper.last_rate, "seconds": time.perf_counter() - start}
            if small is not None:
                metrics = evaluate(model, small, batch=max(batch, 128), precision=precision)
                row |= {"validation_loss": metrics.loss, "validation_accuracy": metrics.accuracy}
            if lost := [value for value in row.values() if not math.isfinite(value)]:
                history.stopped = "diverged"
                print(
                    f"The loss is {lost[0]} in epoch {epoch + 1}: training stops. The likely cause is a "
                    f"learning rate that is too high (it reached {max(g['lr'] for g in stepper.groups):g}): try a "
                    "tenth of it. (Or some image, or what augment makes of one, holds NaN.)"
                )
                break
            history.epochs.append(row)
            choose = small is not None and keep_best and history.best >= 0
            if better := not choose or _score(row) > _score(history.epochs[history.best]):
                history.best, best_state = epoch, _copied(model)
            if on_epoch is not None:
                on_epoch(model, history)
                stepper.replay.forget()
                best_state = _copied(model) if better else best_state  # it may have changed the model
            kept = (model, stepper, history, best_state)
            if checkpoint is not None and parallel.first() and not _save(Path(checkpoint), settings, *kept):
                checkpoint = None
    except KeyboardInterrupt:
        history.stopped = "interrupted"
        print(f"Interrupted: the history holds the {len(history.epochs)} finished epochs.")
    finally:
        bar.close()
        stepper.replay.forget()
        machine.give_memory_back()
    if best_state is not None:
        model.load_state_dict(best_state)
    model.eval()
    return history


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    image_set: ImageSet,
    *,
    size: int | None = None,
    batch: int = 128,
    flip: bool = False,
    precision: str = "auto",
) -> Metrics:
    """Loss, accuracies and probabilities of ``model`` on an image set; ``flip`` averages over mirrored copies too.

    size, precision: as in ``fit``.
    """
    if len(image_set) == 0:
        raise ValueError(f"{image_set.name} holds no image here: there is nothing to measure.")
    device = _where(model)
    image_set = _resized(image_set, size)
    found = []
    side = image_set.images.shape[-1]
    room = machine.room(f"{batch} images of {side} x {side} pixels", f"try evaluate(..., batch={max(1, batch // 2)})")
    mine = parallel.share(len(image_set))
    with evaluating(model), room:
        for start in range(mine.start, max(mine.stop, mine.start + 1), batch):  # a share may be empty
            pixels = image_set.images[start : min(start + batch, mine.stop)].to(device, non_blocking=True).float()
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            with _autocast(precision, device):
                probabilities = model(pixels).float().softmax(1)
                if flip:
                    probabilities = (probabilities + model(pixels.flip(-1)).float().softmax(1)) / 2
            found.append(probabilities)
    probabilities = parallel.gather(torch.cat(found), len(image_set))
    return metrics(probabilities.cpu(), image_set.labels, image_set.soft)


def metrics(probabilities: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None = None) -> Metrics:
    """Metrics of probabilities (N, K) against labels (N,), and soft labels (N, K) where there are some."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    confusion = torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
    present = confusion.sum(1) > 0
    correct = (predicted == labels).double()
    sure = soft.max(1).values.double() if soft is not None else torch.ones_like(correct)
    auc = None
    if classes == 2 and bool(present.all()) and bool(probabilities.isfinite().all()):
        from sklearn.metrics import roc_auc_score  # here: it takes seconds to import

        auc = float(roc_auc_score(labels.numpy(), probabilities[:, 1].numpy()))
    return Metrics(
        loss=float(F.nll_loss(probabilities.clamp_min(1e-12).log(), labels)),
        accuracy=float(correct.mean()),
        balanced_accuracy=float((confusion.diag()[present] / confusion.sum(1)[present]).double().mean()),
        weighted_accuracy=float((correct * sure).sum() / sure.sum()),
        auc=auc,
        confusion=confusion,
        probabilities=probabilities,
    )


class _Stepper:
    """One optimiser step, with its schedule and precision."""

    def __init__(
        self, model, groups, optimiser, rate, weight_decay, schedule, steps, precision, smoothing, device
    ) -> None:
        everything = [{"params": [p for p in model.parameters() if p.requires_grad]}]
        parameters = [dict(group) for group in groups or everything]  # copies: the schedule writes its rates into them
        if not any(len(group["params"]) for group in parameters):
            raise ValueError("Every weight of the model is frozen: there is nothing to learn.")
        self.model, self.device, self.precision, self.smoothing = model, device, precision, smoothing
        self.quicker = quick_depthwise if device.type == "cpu" else nullcontext
        self.replay = Replay(model)
        self.pieces = 1  # that a batch is cut into where it doesn't fit into the GPU's memory
        fused = device.type in ("cuda", "cpu")  # all of a weight's arithmetic in one kernel
        if optimiser == "adamw":
            self.optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay, fused=fused)
        elif optimiser == "sgd":
            more = {"momentum": 0.9, "nesterov": True, "weight_decay": weight_decay, "fused": fused}
            self.optimiser = torch.optim.SGD(parameters, lr=rate, **more)
        else:
            raise ValueError(f"optimiser is {optimiser!r}: it must be 'adamw' or 'sgd'.")
        self.groups = self.optimiser.param_groups
        highest = [group["lr"] for group in self.groups]
        if schedule == "onecycle":
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, highest, total_steps=max(2, steps))
        elif schedule == "constant":
            self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimiser, 1.0)
        else:
            raise ValueError(f"schedule is {schedule!r}: it must be 'onecycle' or 'constant'.")
        self.scaler = torch.amp.GradScaler(device.type, enabled=_half(precision, device) == torch.float16)
        self.last_rate = highest[-1]

    def step(self, pixels: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's part of the mean loss of a batch, and of its number of right answers."""
        while True:
            try:
                self.optimiser.zero_grad(set_to_none=True)
                loss, right = self.replay(self._gradients, pixels, target)
                break
            except torch.OutOfMemoryError:
                if self.replay.possible:  # what is recorded keeps a step's memory
                    self.replay.forget()
                    self.replay.possible = False
                    continue
                if len(pixels) < 4 * self.pieces or parallel.count() > 1:  # other processes would wait for this one
                    raise
            self.pieces *= 2
            print(f"A batch of {len(pixels)} doesn't fit into memory: it is computed in {self.pieces} pieces.")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.last_rate = self.groups[-1]["lr"]
        self.schedule.step()
        return loss, right

    def _gradients(self, pixels: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mine = parallel.share(len(pixels))
        loss_sum, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        pieces = min(self.pieces, max(1, len(pixels) // 2))  # two images in each, for BatchNorm
        for part, truth in zip(pixels[mine].tensor_split(pieces), target[mine].tensor_split(pieces), strict=True):
            with _autocast(self.precision, self.device), parallel.whole_batch(), self.quicker(self.model):
                scores = self.model(part)
                loss = F.cross_entropy(scores.float(), truth, label_smoothing=self.smoothing, reduction="sum")
                loss = loss / len(pixels)
            self.scaler.scale(loss).backward()
            loss_sum += loss.detach()
            right += (scores.detach().argmax(1) == (truth.argmax(1) if truth.dim() == 2 else truth)).sum()
        parallel.add_gradients(self.model)
        return loss_sum, right

    def state(self) -> dict:
        parts = {name: getattr(self, name).state_dict() for name in ("optimiser", "schedule", "scaler")}
        return parts | {"pieces": self.pieces}

    def load(self, state: dict) -> None:
        self.pieces = state["pieces"]
        for name in ("optimiser", "schedule", "scaler"):
            getattr(self, name).load_state_dict(state[name])


def _half(precision: str, device: torch.device) -> torch.dtype | None:
    known = {"auto": None, "float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in known:
        raise ValueError(f"precision is {precision!r}: it must be one of {', '.join(known)}.")
    if precision == "auto" and device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return known[precision]


def _autocast(precision: str, device: torch.device):
    half = _half(precision, device)
    return nullcontext() if half is None else torch.autocast(device.type, half)


def _where(model: nn.Module) -> torch.device:
    """The device of all weights. Raises ValueError when they lie on several."""
    places = {str(value.device): value.device for value in (*model.parameters(), *model.buffers())}
    if len(places) > 1:
        first = next(iter(places))
        raise ValueError(f"Parts of the model lie on {' and '.join(places)}: move all of it with model.to('{first}').")
    return next(iter(places.values()), torch.device("cpu"))


def _check(model, train, validation, epochs, batch, size, soft) -> None:
    if len(train) == 0:
        raise ValueError("The training set holds no image.")
    if epochs < 1 or batch < 1:
        raise ValueError(f"epochs and batch must be at least 1: they are {epochs} and {batch}.")
    if soft and train.soft is None:
        raise ValueError(f"{train.name} has no soft labels: leave out soft=True.")
    if validation is not None and validation.classes != train.classes:
        raise ValueError(f"The validation set's classes {validation.classes} are not the training set's.")
    has_norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    if has_norms and min(batch, len(train)) < 2:
        raise ValueError("BatchNorm needs at least two images in a batch: it has one.")
    with torch.inference_mode(), evaluating(model):
        scores = model(_resized(train.subset([0]), size).images.to(_where(model)).float())
    outputs = scores.shape[1]
    if not scores.isfinite().all():
        raise ValueError(
            "The model gives NaN or infinite scores before training: make it anew (did its last run diverge?)."
        )
    if outputs != len(train.classes):
        raise ValueError(
            f"The model gives {outputs} scores, but {train.name} has {len(train.classes)} classes: "
            f"replace its head (backbones.replace_head(model, {len(train.classes)}))."
        )


def _batches_an_epoch(n: int, batch: int) -> int:
    """A last batch of a single image is left out: BatchNorm can't normalise it."""
    whole, rest = divmod(n, batch)
    return whole + (rest > 1 or whole == 0)


def _resized(image_set: ImageSet, size: int | None) -> ImageSet:
    """The set with images of ``size`` x ``size``; itself when they are that already."""
    if size is None or image_set.images.shape[-1] == size:
        return image_set
    return dataclasses.replace(image_set, images=resized(image_set.images, size))


def _resident(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The images on the device; where they would take more than half of its free memory, they stay where they are."""
    if images.nbytes <= 0.5 * _free(device):
        return images.to(device)
    print(f"{len(images)} images ({images.nbytes / 1e9:.1f} GB) are too many for the GPU: it gets them batch by batch.")
    return images


def _free(device: torch.device) -> float:
    """Bytes. On a CPU the images are there already; MPS shares its memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _described(augment: Augment | None) -> str:
    """A text that changes with an augmentation, but not from process to process, as addresses do."""
    code = getattr(augment, "__code__", None)  # a function's: all lambdas have one name
    inside = code and (
        code.co_code,
        code.co_names,
        code.co_consts,
        [c.cell_contents for c in augment.__closure__ or ()],
    )
    return re.sub(" at 0x[0-9a-fA-F]+", "", f"{augment!r} {inside}")


def _score(row: dict) -> tuple[float, float]:
    return row["validation_accuracy"], -row["validation_loss"]


def _save(path: Path, settings: str, model: nn.Module, stepper: _Stepper, history: History, best: dict | None) -> bool:
    """Written aside, then moved: a kill at any moment leaves the old file or the new one. False where it can't be."""
    state = {"settings": settings, "model": model.state_dict(), "epochs": history.epochs, "best": history.best}
    best = None if history.best == len(history.epochs) - 1 else best  # else it would be there twice
    whole = io.BytesIO()  # torch's own writing to a file words "no space" in no way that a student could read
    torch.save(state | {"best_state": best} | stepper.state(), whole)
    if why := machine.keep(path, whole.getbuffer()):  # hours of training are worth more than their checkpoint
        print(f"The checkpoint {path} can't be written ({why}): training goes on without it.")
    return not why


def _resume(path: Path, settings: str, model: nn.Module, stepper: _Stepper, history: History) -> dict | None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with zipfile.ZipFile(path) as archive:  # torch doesn't look at the checksums in its files
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} in it is damaged")
        state = torch.load(path, map_location=stepper.device, weights_only=True)
        if state["settings"] != settings:
            raise ValueError("it was made with other settings")
        model.load_state_dict(state["model"])
        stepper.load(state)
    except Exception as error:  # damaged, or of another model: nothing of it is used
        print(f"The checkpoint {path.name} is not used ({machine.reason(error)}): training starts anew.")
        model.load_state_dict(before)
        return None
    history.epochs, history.best = state["epochs"], state["best"]
    return state["best_state"] or _copied(model)
