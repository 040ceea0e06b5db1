"""Image sets: what they hold, how they are split, and what happens to odd images, folders and caches."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made import stripes
from PIL import Image

from helpers import datasets, download, machine, pictures, sources

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def place(tmp_path_factory, monkeypatch):
    """An empty cache and an empty data folder, no memory of earlier failures, and no network."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("DATA_DIR", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setattr(sources, "SCENES_URL", "http://127.0.0.1:9/scene_categories.zip")  # nobody answers there
    monkeypatch.setattr(sources, "PETS_URL", "http://127.0.0.1:9/")
    machine.cache_dir.cache_clear()
    sources._failed.clear()
    datasets._said.clear()
    yield
    machine.cache_dir.cache_clear()


def picture(seed: int, size=(20, 16), gray: bool = False) -> Image.Image:
    shape = (size[1], size[0]) if gray else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def put(folder: Path, names: dict[str, int | bytes | None], gray: bool = False) -> Path:
    """Files below ``folder``: a picture by its seed, bytes as they are, or an empty folder (None)."""
    for name, what in names.items():
        path = folder / name
        if what is None:
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(what if isinstance(what, bytes) else encoded(picture(what, gray=gray)))
    return folder


def cats_and_dogs(folder: Path, each: int = 4, **options) -> Path:
    names = {f"{kind}/{i}.png": 100 * j + i for j, kind in enumerate(("cat", "dog")) for i in range(each)}
    return put(folder, names, **options)


# ---------------------------------------------------------------- the named sets


def test_solar_cells():
    cells = datasets.load("solar-cells", size=32)
    assert cells.images.shape == (2624, 1, 32, 32)
    assert cells.images.dtype == torch.uint8
    assert cells.classes == ("functional", "defective")
    assert cells.labels.bincount().tolist() == [1803, 821]  # p > 1/2: 31.3 %
    assert torch.allclose(cells.soft.sum(1), torch.ones(2624))
    assert torch.equal(cells.soft[:, 1] > 0.5, cells.labels == 1)
    assert cells.strata.bincount(minlength=8).min() > 0
    split = datasets.split(cells, seed=0)
    assert (len(split.train), len(split.test)) == (1968, 656)
    shares = cells.strata[split.test].bincount(minlength=8) / cells.strata.bincount(minlength=8)
    assert ((shares - 0.25).abs() <= 1 / cells.strata.bincount(minlength=8)).all()
    original = Image.open(sources._package("x", "elpv_dataset", "x") / "data" / cells.files[7])
    assert np.abs(np.asarray(original).mean() - cells.images[7].float().mean().item()) < 1


def test_digits():
    digits = datasets.load("digits")
    assert digits.images.shape == (5000, 1, 28, 28)
    assert digits.labels.bincount().tolist() == [500] * 10
    assert digits.images.float().mean() < 80  # white on black
    assert datasets.load("digits", size=14).images.shape == (5000, 1, 14, 14)


def test_photographs():
    photographs = datasets.load("photographs", size=40)
    assert photographs.images.shape == (len(datasets.PHOTOGRAPHS), 3, 40, 40)
    assert photographs.classes == tuple(datasets.PHOTOGRAPHS)
    for name in datasets.PHOTOGRAPHS:
        assert datasets.photograph(name).mode == "RGB"
    assert datasets.photograph("cat").size == (451, 300)


def test_a_photograph_of_ones_own(tmp_path):
    (tmp_path / "mine.png").write_bytes(encoded(picture(1)))
    assert np.array_equal(datasets.photograph(tmp_path / "mine.png"), picture(1))
    assert datasets.photograph("cat.jpg").size == (451, 300)
    with pytest.raises(FileNotFoundError, match=r"'unicorn'.*astronaut"):
        datasets.photograph("unicorn")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        datasets.photograph(tmp_path / "nowhere" / "cat.jpg")  # not ours


@pytest.mark.fault("Caches", "other images put into a loaded set", outcome="another fingerprint: other codes, too")
def test_other_images_have_another_fingerprint():
    loaded = datasets.load("photographs", size=32)
    turned = dataclasses.replace(loaded, images=loaded.images.flip(-1))
    assert turned.fingerprint != loaded.fingerprint
    assert dataclasses.replace(turned, images=loaded.images.clone()).fingerprint == loaded.fingerprint


def test_a_subset_by_a_mask():
    images = stripes(8)
    chosen = images.subset(images.labels == 1)
    assert chosen.labels.tolist() == [1] * 4 and torch.equal(chosen.images, images.images[1::2])


FOLDERS = """bedroom CALsuburb industrial kitchen livingroom MITcoast MITforest MIThighway MITinsidecity MITmountain
MITopencountry MITstreet MITtallbuilding PARoffice store"""
CLASSES = """bedroom coast forest highway industrial insidecity kitchen livingroom mountain office opencountry store
street suburb tallbuilding"""
SCENES, SCENE_CLASSES = FOLDERS.split(), CLASSES.split()


def scenes_zip(path: Path, each: int = 3) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(SCENES):
            for i in range(each):
                image = picture(1000 * number + i, gray=True)
                archive.writestr(f"scene_categories/{name}/image_{i + 1:04}.jpg", encoded(image, "JPEG"))
    return path


@pytest.mark.parametrize("form", ["zip", "scene_categories", "15-Scene"])
def test_scenes_that_are_there(form, capsys):
    path = scenes_zip(machine.data_dir() / "scene_categories.zip")
    if form != "zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(machine.data_dir())
        path.unlink()
        (machine.data_dir() / "scene_categories").rename(machine.data_dir() / form)
    scenes = datasets.load("15-scene", size=24)
    assert scenes.name == "15-scene"
    assert list(scenes.classes) == SCENE_CLASSES
    assert scenes.images.shape == (45, 1, 24, 24)
    for label, file in zip(scenes.labels.tolist(), scenes.files, strict=True):
        assert SCENE_CLASSES[label] in file
    said = capsys.readouterr().out
    assert ("has not the checksum" in said) == (form == "zip")
    assert "45 images in 15 classes are here, not 4485 in 15" in said
    with pytest.raises(ValueError, match=r"class 0 \(bedroom\) has 3 images, 100 were asked for"):
        datasets.split(scenes)


def test_the_real_scenes():
    """The copy beside the course, where there is one (or in the course's own data folder)."""
    real = next(
        (f for f in (ROOT.parent / "shared" / "data", ROOT / "data") if (f / "scene_categories.zip").exists()), None
    )
    if real is None:
        pytest.skip("no scene_categories.zip beside the course")
    os.environ["DATA_DIR"] = str(real)  # the fixture puts it back
    scenes = datasets.load("15-scene", size=8)
    assert scenes.images.shape == (4485, 1, 8, 8)
    assert list(scenes.classes) == SCENE_CLASSES
    split = datasets.split(scenes, seed=1)
    assert (len(split.train), len(split.test)) == (1500, 2985)
    assert scenes.labels[split.train].bincount().tolist() == [100] * 15
    assert len(set(split.train.tolist()) & set(split.test.tolist())) == 0


@pytest.mark.fault(
    "Downloads",
    "a set is asked for again and again without a network",
    outcome="said once, asked for once; a file put there by hand is taken",
)
def test_scenes_without_a_network(capsys, monkeypatch):
    asked, fetch = [], download.download
    monkeypatch.setattr(download, "download", lambda *a, **k: asked.append(a) or fetch(*a, **k))
    for _ in range(2):
        with pytest.raises(datasets.NotHere, match=r"15-scene is not here.*refused.*by hand.*DATA_DIR") as caught:
            datasets.load("15-scene")
    said = capsys.readouterr().out
    assert said == f"{caught.value}\n"  # one line, once
    assert len(asked) == 1  # and the network was not asked again
    scenes_zip(machine.data_dir() / "scene_categories.zip")  # the student has put it there meanwhile
    assert len(datasets.load("15-scene", size=8)) == 45


@pytest.mark.fault("Archives and images", "half a zip file", outcome="one line: delete it and try again")
def test_half_a_zip_of_scenes():
    path = scenes_zip(machine.data_dir() / "scene_categories.zip")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(datasets.NotHere, match=r"not a whole zip file.*Delete"):
        datasets.load("15-scene")


def test_a_missing_package(monkeypatch, capsys):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(datasets.NotHere, match="pip install elpv-dataset"):
        datasets.load("solar-cells")
    assert capsys.readouterr().out.count("\n") == 1


def pets_archives(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = {"trainval.txt": "Abyssinian_1 1 1 1\nbeagle_1 5 2 1\n", "test.txt": "Abyssinian_2 1 1 1\nbeagle_2 5 2 1\n"}
    contents = {"annotations.tar.gz": {f"annotations/{k}": v.encode() for k, v in rows.items()}}
    contents["images.tar.gz"] = {
        f"images/{name}_{i}.jpg": encoded(picture(10 * i + j), "JPEG")
        for i in (1, 2)
        for j, name in enumerate(("Abyssinian", "beagle"))
    }
    for archive, members in contents.items():
        with tarfile.open(folder / archive, "w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_pets_from_their_archives(monkeypatch):
    folder = machine.data_dir() / "oxford-iiit-pet"
    pets_archives(folder)
    sums = {name: hashlib.md5((folder / f"{name}.tar.gz").read_bytes()).hexdigest() for name in sources.PETS_MD5}
    monkeypatch.setattr(sources, "PETS_MD5", sums)
    pets = datasets.load("pets", size=16)
    assert pets.classes == ("cat", "dog")
    assert pets.labels.tolist() == [0, 1, 0, 1]
    assert [split.tolist() for split in datasets.split(pets)] == [[0, 1], [2, 3]]
    for name in sums:  # unpacked already: the archives aren't needed any more
        (folder / f"{name}.tar.gz").unlink()
    assert torch.equal(datasets.load("pets", size=16).images, pets.images)


def test_pets_without_a_network():
    with pytest.raises(datasets.NotHere, match=r"pets is not here.*refused.*by hand"):
        datasets.load("pets")


# ---------------------------------------------------------------- odd images


def animation() -> bytes:
    frames = [Image.new("RGB", (20, 16), colour) for colour in ("red", "blue", "green")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def turned() -> bytes:
    image = Image.new("RGB", (20, 10), "white")
    image.paste("black", (0, 0, 10, 10))  # dark on the left; turned clockwise, it is dark above
    exif = Image.Exif()
    exif[274] = 6
    return encoded(image, "JPEG", exif=exif, quality=95)


def sixteen_bit(top: int) -> bytes:
    return encoded(Image.fromarray(np.linspace(0, top, 320).reshape(16, 20).astype(np.uint16)))


def float_tiff(low: float, high: float) -> bytes:
    return encoded(Image.fromarray(np.linspace(low, high, 320, dtype=np.float32).reshape(16, 20)), "TIFF")


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (20, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])  # 0 is red, 1 blue
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


GOOD = {  # name: (file's bytes, channels, mean of each channel)
    "gray": (encoded(Image.new("L", (20, 16), 77)), 1, [77]),
    "gray saved as RGB": (encoded(Image.new("RGB", (20, 16), (9, 9, 9))), 1, [9]),
    "colour": (encoded(Image.new("RGB", (20, 16), (10, 20, 30))), 3, [10, 20, 30]),
    "one bit": (encoded(Image.new("1", (20, 16), 1)), 1, [255]),
    "palette": (palette(False), 3, [0, 0, 255]),
    "palette, transparent": (palette(True), 1, [255]),
    "alpha": (encoded(Image.new("RGBA", (20, 16), (200, 0, 0, 0))), 1, [255]),
    "half alpha": (encoded(Image.new("RGBA", (20, 16), (0, 0, 0, 128))), 1, [127]),
    "gray and alpha": (encoded(Image.new("LA", (20, 16), (50, 255))), 1, [50]),
    "colour key": (encoded(Image.new("RGB", (20, 16), (1, 2, 3)), transparency=(1, 2, 3)), 1, [255]),
    "CMYK": (encoded(Image.new("CMYK", (20, 16), (0, 255, 255, 0)), "JPEG", quality=100), 3, [254, 0, 0]),
    "animation": (animation(), 3, [255, 0, 0]),
    "16 bits": (sixteen_bit(65535), 1, [127.5]),
    "12 bits in 16": (sixteen_bit(4095), 1, [127.5]),
    "8 bits in 16": (sixteen_bit(255), 1, [127.5]),
    "32 bits": (encoded(Image.fromarray(np.full((16, 20), 257 * 100, np.int32)), "TIFF"), 1, [100]),
    "float to 1": (float_tiff(0, 1), 1, [127.5]),
    "float to 255": (float_tiff(0, 255), 1, [127.5]),
    "float, negative": (float_tiff(-5, 5), 1, [127.5]),
    "float, NaN": (encoded(Image.fromarray(np.full((16, 20), np.nan, np.float32)), "TIFF"), 1, [0]),
    "very long": (encoded(Image.new("L", (5000, 1), 60)), 1, [60]),
    "one pixel": (encoded(Image.new("L", (1, 1), 60)), 1, [60]),
    "turned": (turned(), 1, [127]),
}
BAD = {
    "empty": b"",
    "text": b"this is no image",
    "truncated": encoded(picture(1, (200, 200)), "JPEG")[:3000],
    "half a png": encoded(picture(1, (200, 200)))[:3000],
    "only a header": encoded(picture(1))[:20],
    "bomb": encoded(Image.new("1", (10_000, 9_000))),
    "a page": b"<!DOCTYPE html><html></html>",
}


@pytest.mark.fault(
    "Archives and images",
    "23 odd images (palettes, alpha, CMYK, 1 to 32 bits, float, NaN, animation, EXIF, 5000 x 1)",
    outcome="understood; the right pixels",
)
@pytest.mark.parametrize("name", GOOD)
def test_an_odd_image_is_understood(name):
    data, channels, means = GOOD[name]
    pixels = pictures.decode(data, 12)
    assert (pixels.shape, pixels.dtype) == ((channels, 12, 12), np.uint8)
    assert np.abs(pixels.mean((1, 2)) - means).max() <= 3
    assert pictures.decode(data, 12, channels=3).shape == (3, 12, 12)
    assert pictures.decode(data, 12, channels=1).shape == (1, 12, 12)


def test_exif_turns_the_image():
    pixels = pictures.decode(turned(), 12)[0].astype(int)
    assert pixels[:4].mean() < 10
    assert pixels[-4:].mean() > 245


def test_all_of_an_image_is_kept():
    image = Image.new("L", (40, 20), 0)
    image.paste(255, (10, 0, 30, 20))  # the centre square
    squashed = pictures.decode(encoded(image), 20)[0]
    assert squashed[:, :3].max() == 0
    assert squashed[:, 8:12].min() == 255


def test_a_shrunk_image_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    pixels = pictures.decode(encoded(Image.fromarray(stripes)), 8)
    assert pixels.min() > 100 and pixels.max() < 155


def test_a_large_jpeg_is_decoded_small_and_right():
    yy, xx = np.mgrid[0:900, 0:1200]
    image = Image.fromarray((xx / 1200 * 128 + yy / 900 * 127).astype(np.uint8))
    slow = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(pictures.decode(encoded(image, "JPEG", quality=95), 16)[0] - slow).max() <= 3


@pytest.mark.fault(
    "Archives and images",
    "7 broken images (empty, cut, text, a bomb of 90 million pixels, a web page)",
    outcome="left out and named in one line; the others are used",
)
def test_what_can_not_be_read_is_named_in_one_line(tmp_path, capsys, recwarn):
    cats_and_dogs(tmp_path / "pets")
    put(tmp_path / "pets", {f"dog/{name}.jpg": data for name, data in BAD.items()})
    pets = datasets.load(tmp_path / "pets", size=8)
    assert len(pets) == 8
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"pets: {len(BAD)} of {8 + len(BAD)} images can't be read and are left out: dog/")
    assert "and 4 more" in lines[0]
    assert not recwarn.list


def test_the_reason_is_said(tmp_path, capsys):
    cats_and_dogs(tmp_path / "pets")
    put(tmp_path / "pets", {"dog/broken.jpg": b"", "dog/big.png": BAD["bomb"]})
    datasets.load(tmp_path / "pets", size=8)
    said = capsys.readouterr().out
    assert "dog/broken.jpg (empty file)" in said
    assert "dog/big.png (10000 x 9000 pixels are more than 80 million)" in said
    # Said once in a process, but not forgotten.
    assert "broken" in datasets.load(tmp_path / "pets", size=8).notes[0]
    assert capsys.readouterr().out == ""


def test_a_gray_set_has_one_channel_until_a_colour_comes(tmp_path):
    cats_and_dogs(tmp_path / "gray", each=20, gray=True)
    gray = datasets.load(tmp_path / "gray", size=8)
    assert gray.images.shape == (40, 1, 8, 8)
    put(tmp_path / "gray", {"cat/5.png": 1})  # between the images that are looked at first
    mixed = datasets.load(tmp_path / "gray", size=8)
    assert mixed.images.shape == (40, 3, 8, 8)
    assert torch.equal(mixed.images[30], gray.images[30].expand(3, -1, -1))
    assert datasets.load(tmp_path / "gray", size=8, channels=1).images.shape == (40, 1, 8, 8)
    wide = datasets.load(tmp_path / "gray", size=8, channels=3)
    assert torch.equal(wide.images, mixed.images)


def test_three_channels_of_gray_cost_no_memory(tmp_path):
    wide = datasets.load(cats_and_dogs(tmp_path / "gray", gray=True), size=8, channels=3)
    assert wide.images.shape == (8, 3, 8, 8)
    assert wide.images.stride()[1] == 0
    assert wide.fingerprint == wide.subset(range(8)).fingerprint


# ---------------------------------------------------------------- folders and zip files


def test_class_folders(tmp_path, capsys):
    pets = datasets.load(cats_and_dogs(tmp_path / "pets"), size=16)
    assert (pets.name, pets.classes, pets.part) == ("pets", ("cat", "dog"), None)
    assert pets.labels.tolist() == [0] * 4 + [1] * 4
    assert pets.files[5] == "dog/1.png"
    expected = np.asarray(picture(101).resize((16, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(pets.images[5].numpy(), expected)
    assert capsys.readouterr().out == ""


def test_parts_are_kept(tmp_path, capsys):
    names = {f"{part}/{kind}/{i}.png": 10 * j + i for j, (part, kind) in enumerate(PARTS_AND_KINDS) for i in range(2)}
    pets = datasets.load(put(tmp_path / "pets", names), size=8)
    assert pets.classes == ("cat", "dog")
    assert pets.part.bincount().tolist() == [4, 4, 4]
    split = datasets.split(pets)
    assert {pets.files[i].split("/")[0] for i in split.train} == {"Train", "val"}
    assert {pets.files[i].split("/")[0] for i in split.test} == {"test"}
    assert capsys.readouterr().out == ""  # Dog/ and dog/ in different parts are nothing to talk about
    with pytest.raises(ValueError, match="only its test part"):
        datasets.split(pets.subset(split.test))


PARTS_AND_KINDS = [("Train", "Cat"), ("Train", "Dog"), ("val", "cat"), ("val", "dog"), ("test", "CAT"), ("test", "dog")]


def test_train_and_val_only(tmp_path):
    names = {f"{part}/{kind}/x.png": i for i, (part, kind) in enumerate(PARTS_AND_KINDS) if part != "test"}
    pets = datasets.load(put(tmp_path / "pets", names), size=8)
    assert [len(indices) for indices in datasets.split(pets)] == [2, 2]


def test_a_class_called_train_is_a_class(tmp_path):
    vehicles = datasets.load(put(tmp_path / "x", {"train/a.png": 1, "car/b.png": 2, "test/c.png": 3}), size=8)
    assert vehicles.classes == ("car", "test", "train")


@pytest.mark.fault(
    "Archives and images",
    "a class folder without images",
    outcome="left out and named",
    case="without images are left out: bird",
)
@pytest.mark.fault(
    "Archives and images",
    "a class all of whose images are broken",
    outcome="left out and named",
    case="no image can be read.*: bird",
)
@pytest.mark.fault(
    "Archives and images",
    "a class that the test part lacks",
    outcome="named",
    case="the test part has no images of dog",
)
@pytest.mark.fault(
    "Archives and images",
    "a class that only the validation part has",
    outcome="named",
    case="the train part has no images of emu",
)
@pytest.mark.fault(
    "Archives and images",
    "the same picture in the training and the test part",
    outcome="named: results flatter",
    case="in two parts at once.*1 .test/dog/4.png = train/dog/2.png",
)
@pytest.mark.fault(
    "Archives and images",
    "the same picture under two labels",
    outcome="named",
    case="two labels: 1 .cat/1.png = dog/2.png",
)
@pytest.mark.parametrize(
    ("names", "words", "classes"),
    [
        (
            {"Cat/1.png": 1, "cat/2.png": 2, "dog/3.png": 3},
            "one class: Cat, cat",
            ["cat", "dog"],
        ),
        ({"cat/1.png": 1, "dog/2.png": 2, "bird": None}, "without images are left out: bird", ["cat", "dog"]),
        ({"cat/1.png": 1, "dog/2.png": 2, "bird/notes.txt": b"x"}, "without images.*bird", ["cat", "dog"]),
        ({"cat/1.png": 1, "dog/2.png": 2, "bird/x.png": b""}, "no image can be read.*: bird", ["cat", "dog"]),
        (
            {"cat/1.png": 1, "dog/2.png": 2, "cover.png": 3},
            "1 images outside.*cover.png",
            ["cat", "dog"],
        ),
        ({"a/cat/1.png": 1, "a/dog/2.png": 2, "a/cover.png": 3}, "1 images outside", ["cat", "dog"]),
        (
            {"train/cat/1.png": 1, "train/dog/2.png": 2, "test/cat/3.png": 3},
            "the test part has no images of dog",
            ["cat", "dog"],
        ),
        (
            {"train/cat/1.png": 1, "train/dog/2.png": 2, "val/cat/3.png": 3, "val/dog/4.png": 4, "val/emu/5.png": 5},
            "the train part has no images of emu",
            ["cat", "dog", "emu"],
        ),
        ({"cat/1.png": 1, "cat/2.png": 1, "dog/3.png": 2}, "more than once: 1 .cat/1.png = cat/2.png", ["cat", "dog"]),
        ({"cat/1.png": 1, "dog/2.png": 1, "dog/3.png": 2}, "two labels: 1 .cat/1.png = dog/2.png", ["cat", "dog"]),
        (
            {"train/cat/1.png": 1, "train/dog/2.png": 2, "test/cat/3.png": 3, "test/dog/4.png": 2},
            "in two parts at once.*1 .test/dog/4.png = train/dog/2.png",
            ["cat", "dog"],
        ),
    ],
)
def test_a_folder_that_needs_a_word(tmp_path, capsys, names, words, classes):
    found = datasets.load(put(tmp_path / "x", names), size=8)
    assert list(found.classes) == classes
    assert sorted(found.labels.unique().tolist()) == list(range(len(classes)))
    lines = [line for line in capsys.readouterr().out.splitlines() if re.search(words, line)]
    assert len(lines) == 1


@pytest.mark.fault(
    "Archives and images",
    "a single image; a single class; no class folders; nothing that can be read",
    outcome="one line that says what is needed",
)
@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"empty": None}, "holds no images"),
        ({"cat/notes.txt": b"x"}, "holds no images"),
        ({"cat/1.png": 1}, "one class only .cat"),
        ({"outer/cat/1.png": 1, "outer/cat/2.png": 2}, "one class only .cat"),
        ({"1.png": 1, "2.png": 2}, "no class folders"),
        ({"cat/1.png": 1, "dog/2.png": b""}, "only one class has images that can be read.*dog/2.png"),
        ({"cat/1.png": b"", "dog/2.png": b""}, "none of 2 images can be read.*empty file"),
    ],
)
def test_a_folder_that_is_of_no_use(tmp_path, names, words):
    with pytest.raises(ValueError, match=words):
        datasets.load(put(tmp_path / "x", names), size=8)


def test_a_wrong_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'solar-panels' is neither a folder nor one of.*solar-cells"):
        datasets.load("solar-panels")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ValueError, match="not a whole zip file"):
        datasets.load(tmp_path / "x.txt")


@pytest.mark.parametrize("wrong", [{"channels": 2}, {"size": 0}])
def test_a_wrong_argument(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} "):
        datasets.load("digits", **wrong)


def test_what_systems_leave_behind_is_passed_over(tmp_path):
    cats_and_dogs(tmp_path / "x")
    put(tmp_path / "x", {"__MACOSX/cat/._0.png": 7, ".git/cat/x.png": 8, "cat/._0.png": 9, "cat/Thumbs.db": b"x"})
    assert len(datasets.load(tmp_path / "x", size=8)) == 8


def test_deeper_folders_belong_to_their_class(tmp_path):
    found = datasets.load(put(tmp_path / "x", {"cat/old/1.png": 1, "cat/2.png": 2, "dog/3.png": 3}), size=8)
    assert found.labels.tolist() == [0, 0, 1]


@pytest.mark.fault(
    "Archives and images", "links that lead round in a circle, or nowhere", outcome="followed once; named"
)
@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links(tmp_path):
    cats_and_dogs(tmp_path / "x")
    (tmp_path / "x" / "cat" / "back").symlink_to(tmp_path / "x")  # without an end, if one followed it
    (tmp_path / "x" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    put(tmp_path / "elsewhere", {"1.png": 900})
    (tmp_path / "x" / "emu").symlink_to(tmp_path / "elsewhere")
    found = datasets.load(tmp_path / "x", size=8)
    assert found.classes == ("cat", "dog", "emu")
    assert len(found) == 9


@pytest.mark.fault("Archives and images", "a file name that is no text", outcome="read; shown with ? in it")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems want file names to be text")
def test_names_that_are_not_text(tmp_path, capsys):
    cats_and_dogs(tmp_path / "x")
    with open(os.fsencode(tmp_path / "x" / "cat") + b"/\xff.png", "wb"):
        pass
    found = datasets.load(tmp_path / "x", size=8)
    assert len(found) == 8
    assert "cat/?.png (empty file)" in capsys.readouterr().out.encode("utf-8").decode()


def zipped(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return path


@pytest.mark.fault(
    "Archives and images", "a zip file with a path that climbs out", outcome="nothing is unpacked at all"
)
def test_a_zip_file_is_read_where_it_is(tmp_path):
    folder = cats_and_dogs(tmp_path / "pets")
    names = {f"my pets/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*.png")}
    names |= {"__MACOSX/my pets/cat/._0.png": b"x", "my pets/Élan/": b"", "../../climbs/1.png": encoded(picture(1))}
    path = zipped(tmp_path / "pets.zip", names)
    before = set(tmp_path.rglob("*"))
    found, same = datasets.load(path, size=8), datasets.load(folder, size=8)
    assert torch.equal(found.images, same.images)
    assert torch.equal(found.labels, same.labels)
    assert any("without images are left out: élan" in note for note in found.notes)
    assert set(tmp_path.rglob("*")) == before  # nothing was unpacked, let alone elsewhere


@pytest.mark.fault("Archives and images", "a zip bomb", outcome="the file is left out and named before it is unpacked")
def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.folders.LARGEST_FILE", 100_000)
    names = {f"{kind}/{i}.png": encoded(picture(i + len(kind))) for kind in ("cat", "mouse") for i in range(2)}
    found = datasets.load(zipped(tmp_path / "x.zip", names | {"cat/bomb.png": b"\0" * 1_000_000}), size=8)
    assert len(found) == 4
    assert "cat/bomb.png (more than 0 MB)" in found.notes[0]


@pytest.mark.fault("Archives and images", "a flipped byte in a zip file", outcome="that image is left out and named")
def test_a_zip_with_a_flipped_byte(tmp_path):
    names = {f"{kind}/{i}.png": encoded(picture(i + len(kind))) for kind in ("cat", "mouse") for i in range(2)}
    path = zipped(tmp_path / "x.zip", names)
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF  # inside the first image
    path.write_bytes(data)
    assert len(datasets.load(path, size=8)) == 3


# ---------------------------------------------------------------- the cache


def cache_files(suffix: str) -> list[Path]:
    return sorted((machine.cache_dir() / "images").glob(f"*{suffix}"))


def test_the_cache_is_used_and_left_alone(tmp_path, monkeypatch):
    cats_and_dogs(tmp_path / "x")
    first = datasets.load(tmp_path / "x", size=8)
    monkeypatch.setattr(pictures, "decode", None)  # decoding again would fail
    again = datasets.load(tmp_path / "x", size=8)
    assert torch.equal(first.images, again.images)
    assert first.fingerprint == again.fingerprint
    kept = again.images.clone()
    first.images[0] = 0  # changes this copy in memory only
    assert torch.equal(datasets.load(tmp_path / "x", size=8).images, kept)
    assert sorted(p.suffix for p in (machine.cache_dir() / "images").iterdir()) == [".json", ".npy"]


@pytest.mark.fault(
    "Caches", "decoded images, or their description, flipped, cut, empty or gone", outcome="noticed; decoded again"
)
@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "header"])
def test_a_damaged_cache_is_noticed_and_rebuilt(tmp_path, capsys, suffix, damage):
    good = datasets.load(cats_and_dogs(tmp_path / "x"), size=8)
    path = cache_files(suffix)[0]
    data = bytearray(path.read_bytes())
    images, labels = good.images.clone(), good.labels
    if damage == "gone":
        path.unlink()
    else:
        data[{"flip": len(data) // 2, "header": 70}.get(damage, 0)] ^= 0x01 if damage != "cut" else 0
        os.replace(path, path.with_suffix(".old"))  # the first set still maps the old file
        path.write_bytes({"cut": data[:-3], "empty": b""}.get(damage, data))
    again = datasets.load(tmp_path / "x", size=8)
    assert torch.equal(again.images, images)
    assert torch.equal(again.labels, labels)
    said = capsys.readouterr().out
    assert ("is damaged" in said) == ((suffix, damage) != (".json", "gone"))
    datasets.load(tmp_path / "x", size=8)
    assert capsys.readouterr().out == ""


@pytest.mark.fault(
    "Caches", "an image replaced, added, removed or moved (a stale key)", outcome="noticed; decoded again"
)
@pytest.mark.parametrize("change", ["replaced", "added", "removed", "moved"])
def test_a_change_of_the_folder_is_noticed(tmp_path, change):
    cats_and_dogs(tmp_path / "x")
    before = datasets.load(tmp_path / "x", size=8)
    if change == "replaced":
        put(tmp_path / "x", {"cat/0.png": 77})
    elif change == "added":
        put(tmp_path / "x", {"cat/9.png": 77})
    elif change == "removed":
        (tmp_path / "x" / "cat" / "0.png").unlink()
    else:
        (tmp_path / "x" / "cat" / "0.png").rename(tmp_path / "x" / "dog" / "9.png")
    after = datasets.load(tmp_path / "x", size=8)
    assert after.fingerprint != before.fingerprint
    assert len(after) == {"added": 9, "removed": 7}.get(change, 8)


def test_no_space_for_the_cache(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    cats_and_dogs(tmp_path / "x")
    monkeypatch.setattr(pictures, "_write", full)
    with pytest.raises(OSError, match=r"no space for 0 MB of decoded images.*COURSE_CACHE"):
        datasets.load(tmp_path / "x", size=8)
    assert list((machine.cache_dir() / "images").iterdir()) == []


LOAD = "import sys; from helpers import datasets; print(datasets.load(sys.argv[1], size=64).fingerprint)"


@pytest.mark.fault("Caches", "what a killed process left", outcome="deleted after an hour")
def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = machine.cache_dir() / "images"
    folder.mkdir()
    old, new = folder / ".old.part", folder / ".new.part"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    datasets.load(cats_and_dogs(tmp_path / "x"), size=8)
    assert not old.exists()
    assert new.exists()  # somebody may be at work on it


@pytest.mark.fault("Caches", "two processes decode one folder", outcome="both get the right images")
def test_two_processes_build_one_cache(tmp_path):
    cats_and_dogs(tmp_path / "x", each=30)
    command = [sys.executable, "-c", LOAD, str(tmp_path / "x")]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    prints = {process.communicate(timeout=120)[0].strip() for process in both}
    assert prints == {datasets.load(tmp_path / "x", size=64).fingerprint}


def test_the_fingerprint_is_of_the_content(tmp_path):
    one = datasets.load(cats_and_dogs(tmp_path / "one"), size=8)
    two = datasets.load(cats_and_dogs(tmp_path / "two"), size=8)
    assert one.fingerprint == two.fingerprint == one.subset(range(8)).fingerprint
    assert one.fingerprint != one.subset(range(7)).fingerprint
    assert one.fingerprint != one.subset([1, 0, *range(2, 8)]).fingerprint
    assert one.fingerprint != datasets.replace(one, labels=1 - one.labels).fingerprint
    assert one.fingerprint != datasets.load(tmp_path / "one", size=9).fingerprint


def test_the_description_can_be_read_by_people(tmp_path):
    datasets.load(cats_and_dogs(tmp_path / "x"), size=8)
    kept = json.loads(cache_files(".json")[0].read_text().partition("\n")[2])
    assert kept["classes"] == ["cat", "dog"]
    assert kept["labels"] == [0] * 4 + [1] * 4


# ---------------------------------------------------------------- splits


def image_set(labels, **more) -> datasets.ImageSet:
    labels = torch.as_tensor(labels)
    classes = tuple(f"c{i}" for i in range(int(labels.max()) + 1))
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return datasets.ImageSet("made", images, labels, classes, tuple(f"f{i}" for i in range(len(labels))), **more)


def test_subset_takes_all_that_belongs_to_an_image():
    whole = image_set([0, 1, 2, 0], soft=torch.eye(3)[[0, 1, 2, 0]], strata=torch.tensor([4, 5, 6, 7]))
    part = whole.subset(torch.tensor([2, 0]))
    assert len(part) == 2
    assert part.labels.tolist() == [2, 0]
    assert part.files == ("f2", "f0")
    assert part.images.flatten().tolist() == [2, 0]
    assert part.soft.argmax(1).tolist() == [2, 0]
    assert part.strata.tolist() == [6, 4]
    assert part.part is None
    assert part.classes == whole.classes


def test_a_set_of_ones_own_is_split_by_class():
    whole = image_set([0] * 40 + [1] * 20 + [2] * 8)
    train, test = datasets.split(whole, seed=3)
    assert whole.labels[test].bincount().tolist() == [10, 5, 2]
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(68))
    assert torch.equal(test, datasets.split(whole, seed=3).test)
    assert not torch.equal(test, datasets.split(whole, seed=4).test)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31),
)
def test_hold_out_gives_each_stratum_its_share(counts, fraction, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    train, held = datasets.hold_out(labels, fraction, seed)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    for label, count in enumerate(counts):
        taken = int((labels[held] == label).sum())
        assert taken < count
        assert abs(taken - fraction * count) <= 1
    if all(count > 20 for count in counts):
        assert len(held) == round(fraction * len(labels))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 75])
def test_hold_out_wants_a_fraction(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        datasets.hold_out(torch.tensor([0, 1]), fraction)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), few=st.integers(1, 5), many=st.integers(5, 10))
def test_few_shot_is_balanced_and_nested(seed, few, many):
    labels = torch.arange(60) % 4
    small, large = (datasets.few_shot(labels, n, seed) for n in (few, many))
    assert labels[small].bincount().tolist() == [few] * 4
    assert labels[large].bincount().tolist() == [many] * 4
    assert set(small.tolist()) <= set(large.tolist())
    assert torch.equal(small, datasets.few_shot(labels, few, seed))


def test_few_shot_differs_from_seed_to_seed():
    labels = torch.arange(200) % 2
    assert len({tuple(datasets.few_shot(labels, 5, seed).tolist()) for seed in range(5)}) == 5


def test_few_shot_of_too_few():
    with pytest.raises(ValueError, match=r"class 1 \(dog\) has 2 images, 3 were asked for"):
        datasets.few_shot(torch.tensor([0, 0, 0, 1, 1]), 3, classes=("cat", "dog"))
    with pytest.raises(ValueError, match="at least one"):
        datasets.few_shot(torch.tensor([0, 1]), 0)


def test_a_large_part_lies_in_a_file_as_the_whole_set_does(monkeypatch):
    whole, rows, mapped = stripes(600), torch.arange(599, -1, -2), []
    real = np.memmap
    monkeypatch.setattr(datasets.np, "memmap", lambda *a, **k: mapped.append(k["shape"]) or real(*a, **k))
    monkeypatch.setattr(datasets, "_LARGE", 100_000)
    part = whole.subset(rows)
    assert mapped == [(300, 1, 32, 32)]
    assert torch.equal(part.images, whole.images[rows]) and torch.equal(part.labels, whole.labels[rows])
    assert whole.subset(rows[:10]).labels.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1] and len(mapped) == 1


def test_a_folder_with_a_very_long_name_is_loaded(tmp_path):
    folder = put(tmp_path / ("x" * 240), {"cat/1.png": 1, "dog/1.png": 2})
    assert len(datasets.load(folder, size=8)) == 2


def test_a_folder_named_as_a_set_of_the_course_is_mentioned(tmp_path, monkeypatch, capsys):
    put(tmp_path / "digits", {"cat/1.png": 1, "dog/1.png": 2})
    monkeypatch.chdir(tmp_path)
    assert len(datasets.load("digits", size=8)) > 2
    assert "write './digits'" in capsys.readouterr().out
    assert len(datasets.load("./digits", size=8)) == 2
