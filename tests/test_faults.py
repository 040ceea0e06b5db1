"""What must not cost a student's work: kills at random moments, no space, damaged files, no memory, odd models."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from killed import tiny
from made import SmallNet, stripes
from test_datasets import encoded, image_set, picture, put
from test_download import MD5, server  # noqa: F401 (a fixture)

from helpers import codes, datasets, machine, pictures, training, transfer

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(*arguments: str) -> dict:
    """What tests/killed.py found."""
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), *arguments]
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    return run("all", str(tmp_path_factory.mktemp("killed")))


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(machine, "cache_dir", lambda: folder)
    return folder


# ---------------------------------------------------------------- kill -9, and no space


@pytest.mark.fault(
    "Downloads",
    "kill -9 at twenty random moments",
    outcome="no half file under the whole one's name; the next call resumes; the right bytes",
)
@pytest.mark.fault(
    "Downloads", "a limit on the size of a file", outcome="one line; the next call, without it, succeeds"
)
@forks
def test_a_download_killed_at_twenty_moments(server, tmp_path):  # noqa: F811
    found = run("download", str(tmp_path), f"{server.address}/ok/{MD5}")
    assert found["kills"]["whole"]["digest"] == MD5
    assert sum(one["first"]["killed"] for one in found["kills"]["rounds"]) == 20
    for one in found["kills"]["rounds"]:
        assert one["again"]["digest"] == MD5, one
        assert [name for name in one["again"]["left"] if not name.endswith(".lock")] == ["file.zip"], one
    assert any(wanted for _, wanted, _ in server.seen)  # some of the second calls resumed
    assert "takes no file of this size: set DATA_DIR" in found["full"]["error"]
    assert "file.zip" not in found["full"]["left"]
    assert found["after"]["digest"] == MD5


@pytest.mark.fault(
    "Training",
    "kill -9 at twenty random moments of a run with a checkpoint",
    outcome="run again, the same bits as uninterrupted (CPU)",
    case="training",
)
@pytest.mark.fault(
    "Caches", "kill -9 at ten random moments while codes are computed", outcome="run again, the same bits", case="codes"
)
@pytest.mark.fault(
    "Caches",
    "kill -9 at ten random moments while images are decoded",
    outcome="run again, the same pixels",
    case="images",
)
@forks
@pytest.mark.parametrize("name", ["training", "codes", "images"])
def test_killed_at_random_moments_and_run_again_is_the_same_to_the_bit(found, name):
    rounds, whole = found[name]["rounds"], found[name]["whole"]
    assert sum(one["first"]["killed"] for one in rounds) >= len(rounds) / 2
    assert [one["again"].get("digest") for one in rounds] == [whole["digest"]] * len(rounds)
    assert [one["again"]["said"] for one in rounds] == [""] * len(rounds)  # nothing half was even looked at


@pytest.mark.fault(
    "Training", "no space for the checkpoint", outcome="one line; training goes on; no half file stays", case="training"
)
@pytest.mark.fault(
    "Caches", "no space for codes", outcome="one line; the right codes; no half file stays", case="codes"
)
@pytest.mark.fault(
    "Caches", "no space for a result", outcome="one line; the result is returned all the same", case="result"
)
@forks
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("training", "checkpoint .* can't be written .File too large.: training goes on"),
        ("codes", "Codes can't be kept .* computed again"),
        ("result", "result can't be kept .* measured again"),
    ],
)
def test_no_space_costs_the_file_and_not_the_work(found, name, words):
    full, after = (found[f"{name}, no space"][key] for key in ("full", "after"))
    assert len(full["said"].splitlines()) == 1
    assert re.search(words, full["said"])
    assert [file for file in full["left"] if not file.endswith(".lock")] == []  # not the space that was left, either
    assert after["said"] == ""
    assert full["digest"] == (after["digest"] if name != "result" else "not kept")


@pytest.mark.fault(
    "Caches", "no space for decoded images", outcome="one line that names COURSE_CACHE; no half file stays"
)
@forks
def test_no_space_for_images_is_said(found):
    full, after = found["images, no space"]["full"], found["images, no space"]["after"]
    assert "no space for" in full["error"] and "COURSE_CACHE" in full["error"]
    assert full["left"] == [] and after["digest"] == found["images"]["whole"]["digest"]


@pytest.mark.fault("Caches", "three processes want the same codes", outcome="one computes, two wait; the same bits")
@forks
def test_three_processes_that_want_the_same_codes_compute_them_once(found):
    assert found["writers"] == [found["codes"]["whole"]["digest"]] * 3
    assert found["batches"] == 1 + 3  # an example, and three batches: those of one process


nowhere = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that even root can't write to")


@nowhere
@pytest.mark.fault("Caches", "a cache folder that can't be written", outcome="one line; a temporary folder instead")
def test_a_cache_folder_that_can_not_be_written(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE", "/proc/self/cache")
    machine.cache_dir.cache_clear()
    try:
        folder = machine.cache_dir()
    finally:
        machine.cache_dir.cache_clear()
    (folder / "x").write_text("can be written")
    assert re.fullmatch(r"/proc/self/cache can't be written .*: caches go to .*\n", capsys.readouterr().out)


@nowhere
@pytest.mark.fault("Training", "a read-only folder for the checkpoint", outcome="one line; training goes on")
def test_a_checkpoint_that_can_not_be_written(capsys):
    history = training.fit(SmallNet(), stripes(32, size=16), epochs=3, checkpoint="/proc/self/run.pt")
    assert history.stopped == "finished" and len(history.epochs) == 3
    assert capsys.readouterr().out.count("can't be written") == 1


# ---------------------------------------------------------------- flipped bits


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def one_a_byte(size: int) -> list[int]:
    chosen = random.Random(0)
    return [8 * byte + chosen.randrange(8) for byte in range(size)]


@pytest.mark.fault(
    "Caches",
    "a flipped bit in each byte of the beginning and the end of cached codes, and in a hundred others",
    outcome="right codes, or computed again",
)
def test_any_flipped_bit_of_cached_codes_is_noticed(cache, capsys):
    """A bit of each byte of the file's headers and of its table of contents, and a hundred of the others."""
    good = codes.extract(tiny(), stripes(70, size=16), engine="torch")
    file = next((cache / "codes").glob("*.npz"))
    data = file.read_bytes()
    end = 8 * (len(data) - 160)
    others = random.Random(0).sample(range(8 * 200, end), 100)
    for bit in [*one_a_byte(200), *others, *(end + bit for bit in one_a_byte(160))]:
        file.write_bytes(flipped(data, bit))
        kept = codes._read([file])
        assert kept is None or torch.equal(kept, good), bit
        assert kept is not None or not file.exists()
    file.write_bytes(data)
    assert "damaged" in capsys.readouterr().out
    assert torch.equal(codes.extract(tiny(), stripes(70, size=16), engine="torch"), good)


@pytest.mark.fault(
    "Caches", "a flipped bit in each byte of the header of decoded images", outcome="right images, or decoded again"
)
def test_any_flipped_bit_in_the_head_of_cached_images_is_noticed(cache, tmp_path, capsys):
    folder = put(tmp_path / "x", {"cat/1.png": 1, "dog/1.png": 2})
    good = datasets.load(folder, size=8)
    images, print_ = good.images.clone(), good.fingerprint
    file = next((cache / "images").glob("*.npy"))
    data = file.read_bytes()
    for bit in one_a_byte(128):
        file.unlink()  # the set before it still maps the old file
        file.write_bytes(flipped(data, bit))
        again = datasets.load(folder, size=8)
        assert torch.equal(again.images, images) and again.fingerprint == print_, bit
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.fault(
    "Training",
    "a flipped bit in a checkpoint's weights (PyTorch itself loads them)",
    outcome="one line; training starts anew",
)
def test_a_flipped_bit_of_a_checkpoint_is_noticed(tmp_path, capsys):
    """PyTorch loads such a file without a word."""
    options = {"epochs": 2, "batch": 16, "checkpoint": tmp_path / "run.pt"}
    images = stripes(32, size=16)
    torch.manual_seed(0)
    training.fit(SmallNet(), images, **options)
    data = (tmp_path / "run.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "run.pt") as archive:
        tensors = [info for info in archive.infolist() if "/data/" in info.filename and info.file_size > 100]
    for number, info in enumerate(random.Random(0).sample(tensors, 6)):
        begin = data.index(info.filename.encode()) + len(info.filename)
        bit = 8 * (begin + 64 + info.file_size // 2) + number
        (tmp_path / "run.pt").write_bytes(flipped(data, bit))
        history = training.fit(SmallNet(), images, **options)
        assert len(history.epochs) == 2
        assert "is not used" in capsys.readouterr().out


@pytest.mark.fault("Caches", "any flipped bit in a kept result", outcome="measured again")
def test_a_flipped_bit_of_a_result_is_noticed(tmp_path, capsys):
    file = tmp_path / "result.json"
    transfer.write(file, '{"accuracy": 0.93}')
    data = file.read_bytes()
    for bit in range(8 * len(data)):
        file.write_bytes(flipped(data, bit))
        assert transfer.read(file) in (None, '{"accuracy": 0.93}'), bit
    assert "damaged: it is measured again" in capsys.readouterr().out
    file.write_bytes(data)
    assert transfer.read(file) == '{"accuracy": 0.93}'


@pytest.mark.fault(
    "Training",
    "a checkpoint of other images, augmentation or weight decay (a stale key)",
    outcome="one line; training starts anew",
)
def test_a_checkpoint_of_other_images_or_another_augmentation_is_not_used(tmp_path, capsys):
    options = {"epochs": 1, "batch": 16, "checkpoint": tmp_path / "run.pt"}
    training.fit(SmallNet(), stripes(32, size=16), **options)
    for change in ({"augment": lambda images, generator: images}, {"weight_decay": 0.5}, {"keep_best": False}):
        training.fit(SmallNet(), stripes(32, size=16), **options | change)
        assert "other settings" in capsys.readouterr().out
    training.fit(SmallNet(), stripes(32, size=16, seed=1), **options | change)
    assert "other settings" in capsys.readouterr().out
    training.fit(SmallNet(), stripes(32, size=16, seed=1), **options | change)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- models and memory


class Hungry(SmallNet):
    """Asks for a petabyte when it gets more than one image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:
            torch.empty(1 << 50)
        return super().forward(images)


@pytest.mark.fault("Training", "out of memory (CPU)", outcome="one line: the batch it was, and half of it to try")
def test_out_of_memory_says_how_large_the_batch_was():
    with pytest.raises(RuntimeError, match=r"not enough memory for a batch of 16 images of 32 x 32.*try batch=8"):
        training.fit(Hungry(), stripes(32), epochs=1, batch=16)
    with pytest.raises(RuntimeError, match=r"not enough memory for 128 images.*batch=64"):
        training.evaluate(Hungry(), stripes(32))
    net = tiny()
    net.codes = lambda *_: torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match=r"can't allocate|not enough memory"):
        codes.extract(net, stripes(70, size=16), engine="torch", cache=False)


@pytest.mark.fault("Training", "out of memory (CUDA's and NumPy's words)", outcome="the same line")
@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_each_device_runs_out_in_its_own_words(error):
    with pytest.raises(RuntimeError, match="not enough memory for it: take less"), machine.room("it", "take less"):
        raise error
    with pytest.raises(RuntimeError, match="a shape"), machine.room("it", "take less"):
        raise RuntimeError("a shape that doesn't fit")


@pytest.mark.fault("Training", "a model with NaN in its weights", outcome="refused: make it anew")
def test_a_model_that_diverged_is_not_trained_on(capsys):
    model = SmallNet()
    training.fit(model, stripes(32), epochs=2, rate=1e30, optimiser="sgd", schedule="constant")
    capsys.readouterr()
    with pytest.raises(ValueError, match="NaN or infinite scores before training: make it anew"):
        training.fit(model, stripes(32), epochs=1, rate=1e-3)


@pytest.mark.fault(
    "Training",
    "the loss becomes NaN after some epochs",
    outcome="training stops, says so, and returns the best epoch's weights",
)
def test_a_loss_of_nan_in_the_middle_keeps_the_best_epoch(capsys):
    """The augmentation turns bad: the curves end there, and the model is that of the best epoch."""
    calls = []

    def spoiled(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        calls.append(1)
        return images * (torch.nan if len(calls) > 6 else 1)

    model = SmallNet()
    history = training.fit(model, stripes(48), stripes(16, seed=1), epochs=4, batch=16, augment=spoiled)
    assert history.stopped == "diverged" and len(history.epochs) == 2
    assert "The loss is nan in epoch 3" in capsys.readouterr().out
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.fault(
    "Training",
    "parts of the model on two devices",
    outcome="`evaluate` refuses, with the call that moves them",
)
def test_parts_of_a_model_on_two_devices(monkeypatch):
    parts = [SimpleNamespace(device=torch.device(name)) for name in ("cpu", "cuda:0")]
    monkeypatch.setattr(SmallNet, "parameters", lambda self: iter(parts))
    with pytest.raises(ValueError, match=r"on cpu and cuda:0: move all of it with model.to\('cpu'\)"):
        training.evaluate(SmallNet(), stripes(16))


@pytest.mark.fault(
    "Training", "a class missing from most batches and from the test part", outcome="finite losses and metrics"
)
def test_a_class_without_images_and_batches_without_a_class():
    """Three classes, one of them with a single image: most batches lack it, and the test part does."""
    whole = stripes(33, size=16)
    labels = whole.labels.clone()
    labels[5] = 2
    three = datasets.replace(whole, labels=labels, classes=(*whole.classes, "rare"))
    model = SmallNet(classes=3)
    history = training.fit(model, three, epochs=2, batch=8)
    assert np.isfinite(history["train_loss"]).all()
    metrics = training.evaluate(model, three.subset(range(6, 20)))
    assert metrics.confusion.sum(1).tolist() == [7, 7, 0] and np.isfinite(metrics.balanced_accuracy)


@pytest.mark.fault("Training", "an empty test part", outcome="refused in one line")
def test_nothing_to_measure_is_said():
    with pytest.raises(ValueError, match="nothing to measure"):
        training.evaluate(SmallNet(), stripes(16).subset([]))


@pytest.mark.fault("Archives and images", "an image a class: too few to split", outcome="refused in one line")
def test_a_set_too_small_to_be_split_is_said():
    with pytest.raises(ValueError, match=r"too few images to test on \(2\)"):
        datasets.split(image_set([0, 1]))


# ---------------------------------------------------------------- archives


@pytest.mark.fault(
    "Archives and images", "a zip file with one name twice", outcome="one image, the last, as unpacking leaves it"
)
def test_a_zip_with_a_name_that_stands_twice(cache, tmp_path):
    """One image, not two: the last of that name, as unpacking would leave it."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, seed in (("cat/1.png", 1), ("dog/1.png", 2), ("cat/1.png", 3)):
            archive.writestr(name, encoded(picture(seed)))
    found = datasets.load(path, size=8)
    same = datasets.load(put(tmp_path / "y", {"cat/1.png": 3, "dog/1.png": 2}), size=8)
    assert torch.equal(found.images, same.images)


@pytest.mark.fault(
    "Archives and images", "class folders in any script; one accent encoded in two ways", outcome="read; one class"
)
def test_names_in_any_script(cache, tmp_path):
    """One class, however its accent is encoded; and the same from a zip file."""
    names = {"Élan/1.png": 1, "E\u0301lan/2.png": 2, "犬/三.png": 3, "кошка/4.png": 4}
    folder = put(tmp_path / "x", names)
    found = datasets.load(folder, size=8)
    assert found.classes == ("élan", "кошка", "犬") and found.labels.bincount().tolist() == [2, 1, 1]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, name)
    assert torch.equal(datasets.load(tmp_path / "x.zip", size=8).images, found.images)


@pytest.mark.fault("Archives and images", "a zip file with a password", outcome="one line")
def test_a_zip_with_a_password_is_said(cache, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, seed in (("cat/1.png", 1), ("dog/1.png", 2)):
            archive.writestr(name, encoded(picture(seed)))
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit that says "encrypted"
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 1)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"none of 2 images can be read.*password: unpack"):
        datasets.load(path, size=8)


# ---------------------------------------------------------------- the same numbers


@pytest.mark.fault("The same numbers", "1, 3 or 8 workers that decode", outcome="the same pixels in the same order")
def test_decoding_does_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    names = [encoded(picture(i)) for i in range(70)]
    listing = pictures.Listing("x", [str(i) for i in range(70)], [0] * 70, ["x"], names.__getitem__)
    digests = set()
    for cores in (1, 3, 8):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        digests.add(pictures.store(tmp_path / "x.npy", listing, 8).digest)
    assert len(digests) == 1


@pytest.mark.fault("The same numbers", "the same run in another process", outcome="the same bits")
@forks
def test_another_process_gets_the_same_bits(found, tmp_path):
    """With another hash seed: nothing hangs on the order of a set or on what this process did before."""
    from killed import training as task

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as there: with more, the last bits of a sum are others
    try:
        assert task(tmp_path) == found["training"]["whole"]["digest"]
    finally:
        torch.set_num_threads(threads)
